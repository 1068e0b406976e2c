# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Tests of ktap.py: what must count, and above all what must not pass."""

import textwrap
import unittest

import ktap


def results(text):
    """[(name, result)] of a KTAP text."""
    return [(c.name, c.result) for c in ktap.parse(textwrap.dedent(text).splitlines())]


def failures(text):
    """Why the failed cases of a KTAP text failed."""
    cases = ktap.parse(textwrap.dedent(text).splitlines())
    return [c.detail for c in cases if c.result == ktap.FAILED]


class Flat(unittest.TestCase):
    def test_all_pass(self):
        self.assertEqual(
            results("TAP version 13\n1..2\nok 1 - first\nok 2 second"),
            [("first", "passed"), ("second", "passed")],
        )

    def test_not_ok_fails_with_what_was_said_before(self):
        text = "KTAP version 1\n1..1\n# expected 1, got 2\nnot ok 1 sum"
        self.assertEqual(results(text), [("sum", "failed")])
        self.assertEqual(failures(text), ["expected 1, got 2"])

    def test_not_ok_without_a_number_fails(self):
        self.assertIn(("sum", "failed"), results("TAP version 13\n1..1\nnot ok - sum"))

    def test_skip_is_neither_passed_nor_failed(self):
        cases = ktap.parse(["TAP version 13", "1..2", "ok 1 a # SKIP no hardware", "ok 2 b"])
        self.assertEqual([c.result for c in cases], ["skipped", "passed"])
        self.assertEqual(cases[0].detail, "no hardware")

    def test_expected_failure_is_no_failure(self):
        self.assertEqual(results("TAP version 13\n1..1\nnot ok 1 a # TODO later"), [("a", "skipped")])

    def test_timeout_directive_fails(self):
        self.assertEqual(results("TAP version 13\n1..1\nok 1 a # TIMEOUT 30 s"), [("a", "failed")])

    def test_whole_file_skipped(self):
        self.assertEqual(failures("TAP version 13\n1..0 # SKIP no device"), ["no results at all"])

    def test_plan_at_the_end(self):
        self.assertEqual(failures("TAP version 14\nok 1 a\n1..1"), [])

    def test_prose_that_says_ok_is_no_result(self):
        self.assertEqual(results("TAP version 13\n1..1\nok then, off we go\nok 1 a"), [("a", "passed")])

    def test_colours_and_carriage_returns_are_ignored(self):
        self.assertEqual(results("TAP version 13\r\n1..1\r\n\x1b[32mok 1 a\x1b[0m\r"), [("a", "passed")])


class Missing(unittest.TestCase):
    def test_nothing_at_all(self):
        self.assertEqual(failures(""), ["no results at all"])

    def test_fewer_than_planned(self):
        self.assertEqual(failures("KTAP version 1\n1..3\nok 1 a\nok 2 b"), ["3 results were planned, 2 came"])

    def test_more_than_planned(self):
        self.assertEqual(failures("KTAP version 1\n1..1\nok 1 a\nok 2 b"), ["1 results were planned, 2 came"])

    def test_gap_in_the_numbers(self):
        self.assertIn("is number 3, but 2 was due", failures("KTAP version 1\n1..3\nok 1 a\nok 3 c\nok 4 d"))

    def test_no_plan(self):
        self.assertEqual(failures("KTAP version 1\nok 1 a"), ["no plan was printed"])

    def test_bail_out(self):
        self.assertIn("Bail out! no memory", failures("TAP version 13\n1..1\nok 1 a\nBail out! no memory"))

    def test_plan_of_nothing(self):
        self.assertEqual(failures("KTAP version 1\n1..0"), ["a suite without cases"])


class Nested(unittest.TestCase):
    SUITE = """\
        KTAP version 1
        1..1
            KTAP version 1
            # Subtest: va
            1..3
            ok 1 insert
                KTAP version 1
                # Subtest: split
                ok 1 left
                ok 2 right
            # split: pass:2 fail:0 skip:0 total:2
            ok 2 split
            ok 3 merge # SKIP later
        # va: pass:2 fail:0 skip:1 total:3
        ok 1 va
        """

    def test_leaves_are_the_cases(self):
        self.assertEqual(
            results(self.SUITE),
            [
                ("va/insert", "passed"),
                ("va/split/left", "passed"),
                ("va/split/right", "passed"),
                ("va/merge", "skipped"),
            ],
        )

    def test_failing_leaf(self):
        text = self.SUITE.replace("ok 2 right", "not ok 2 right")
        self.assertIn(("va/split/right", "failed"), results(text))

    def test_every_truncation_fails(self):
        lines = textwrap.dedent(self.SUITE).splitlines()
        for end in range(len(lines)):
            cases = ktap.parse(lines[:end])
            self.assertTrue(any(c.result == ktap.FAILED for c in cases), f"cut after line {end}")

    def test_every_lost_result_fails(self):
        lines = textwrap.dedent(self.SUITE).splitlines()
        for i, line in enumerate(lines):
            # A subtest without a plan cannot know that its last result is gone.
            if "ok " not in line or "right" in line:
                continue
            cases = ktap.parse(lines[:i] + lines[i + 1 :])
            self.assertTrue(any(c.result == ktap.FAILED for c in cases), f"without {line!r}")

    def test_suite_line_without_cases_fails(self):
        # What debugfs shows of a suite that was registered but not run.
        text = """\
            KTAP version 1
            1..1
                KTAP version 1
                # Subtest: va
                1..2
            ok 1 va
            """
        self.assertEqual(failures(text), ["2 results were planned, 0 came"])

    def test_empty_subtest_fails(self):
        text = "KTAP version 1\n1..1\n    KTAP version 1\n    1..0\nok 1 va"
        self.assertEqual(failures(text), ["a suite without cases"])

    def test_parameters_in_the_debugfs_log_of_6_1(self):
        text = """\
            KTAP version 1
            1..1
                KTAP version 1
                # Subtest: va
                1..1
                    ok 3 huge
                # split: pass:3 fail:0 skip:0 total:3
                ok 1 split
            ok 1 va
            """
        self.assertEqual(results(text), [("va/split/huge", "passed")])
        self.assertEqual(
            results(text.replace("ok 1 ", "not ok 1 ")),
            [("va/split/huge", "passed"), ("va/split", "failed")],
        )

    def test_suite_that_fails_after_its_cases_passed(self):
        text = "KTAP version 1\n1..1\n    KTAP version 1\n    1..1\n    ok 1 a\nnot ok 1 va"
        self.assertEqual(results(text), [("va/a", "passed"), ("va", "failed")])

    def test_failing_case_in_a_suite_that_says_ok(self):
        text = "KTAP version 1\n1..1\n    KTAP version 1\n    1..1\n    not ok 1 a\nok 1 va"
        self.assertEqual(results(text), [("va/a", "failed")])


class Several(unittest.TestCase):
    def test_documents_one_after_the_other(self):
        text = "TAP version 13\n1..1\nok 1 a\nTAP version 13\n1..1\nok 1 b"
        self.assertEqual(results(text), [("a", "passed"), ("b", "passed")])

    def test_first_document_is_checked_too(self):
        text = "TAP version 13\n1..2\nok 1 a\nTAP version 13\n1..1\nok 1 b"
        self.assertEqual(failures(text), ["2 results were planned, 1 came"])

    def test_documents_without_headers(self):
        self.assertEqual(results("1..1\nok 1 a\n1..1\nok 1 b"), [("a", "passed"), ("b", "passed")])

    def test_summary_counts(self):
        result = ktap.summary(ktap.parse("1..3\nok 1 a\nnot ok 2 b\nok 3 c # SKIP".splitlines()))
        self.assertEqual((result["passed"], result["failed"], result["skipped"]), (1, 1, 1))

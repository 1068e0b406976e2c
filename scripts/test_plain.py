# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Tests of plain.py: what must not get by."""

import unittest

import ktap
import plain

PROGRAMS = {"test_a": 3}
LIST = """
# What the list is.

# Mainline does not.
fails test_a: two
"""


def results(**cases):
    """Of the one program: PASSED, FAILED or SKIPPED by case."""
    return {"test_a": {name: ktap.Case(name, result, "why") for name, result in cases.items()}}


def judged(kernel, ours, lines=LIST, strict=True):
    comparison = plain.Comparison(plain.read_list(lines.splitlines()), PROGRAMS, kernel, ours, strict)
    return comparison.run()


def failures(kernel, ours, lines=LIST, strict=True):
    """What is wrong, as `what: why`."""
    return [f"{what}: {why}" for passed, what, why in judged(kernel, ours, lines, strict) if not passed]


GOOD = results(one="passed", two="failed", three="skipped")


class Compare(unittest.TestCase):
    def test_as_expected(self):
        self.assertEqual(failures(GOOD, results(one="passed", two="passed", three="passed")), [])
        self.assertEqual(failures(GOOD, results(one="passed", two="failed", three="skipped")), [])

    def test_what_passes_there_has_to_pass_here(self):
        for result in ("failed", "skipped"):
            found = failures(GOOD, results(one=result, two="passed", three="passed"))
            self.assertEqual(len(found), 1)
            self.assertIn("test_a: one: over the kernel's library it passes, over ours", found[0])

    def test_what_is_skipped_there_may_not_fail_here(self):
        found = failures(GOOD, results(one="passed", two="passed", three="failed"))
        self.assertEqual(found, ["test_a: three: over ours: why"])

    def test_a_case_that_is_missing(self):
        found = failures(GOOD, results(one="passed", two="passed"))
        self.assertEqual(found, ["test_a: 3 cases over ours: there are 2"])

    def test_a_program_that_is_missing(self):
        self.assertEqual(len(failures({}, {})), 3)

    def test_both_libraries_are_judged_by_the_plan(self):
        found = failures(results(one="passed", two="failed"), GOOD)
        self.assertIn("test_a: 3 cases over the kernel's library: there are 2", found)


class List(unittest.TestCase):
    def test_a_failure_that_is_not_on_it(self):
        found = failures(results(one="failed", two="failed", three="skipped"), GOOD)
        self.assertEqual(len(found), 1)
        self.assertIn("test_a: one: over the kernel's library, and it is not on the list", found[0])

    def test_a_case_on_it_that_passes(self):
        both = results(one="passed", two="passed", three="skipped")
        found = failures(both, both)
        self.assertEqual(len(found), 1)
        self.assertIn("test_a: two passed over the kernel's library", found[0])

    def test_what_the_kernels_library_does_is_told_at_least(self):
        for kernel in (results(one="failed", two="failed", three="skipped"),
                       results(one="passed", two="passed", three="skipped")):
            ours = results(one="passed", two="passed", three="skipped")
            self.assertEqual(failures(kernel, ours, strict=False), [])
            told = [why for _, _, why in judged(kernel, ours, strict=False) if why]
            self.assertEqual(len(told), 1)
            self.assertIn("over the kernel's library", told[0])
        self.assertEqual(len(failures(GOOD, GOOD, LIST + "fails test_a: four\n", strict=False)), 1)

    def test_one_that_passes_sometimes(self):
        lines = LIST.replace("fails", "sometimes")
        for result in ("passed", "failed"):
            kernel = results(one="passed", two=result, three="skipped")
            ours = results(one="passed", two="passed", three="skipped")
            self.assertEqual(failures(kernel, ours, lines), [])

    def test_a_case_on_it_that_there_is_not(self):
        found = failures(GOOD, GOOD, LIST + "fails test_a: four\n")
        self.assertEqual(len(found), 1)
        self.assertIn("there is no test_a: four", found[0])
        found = failures(GOOD, GOOD, LIST + "whole test_b\n")
        self.assertIn("there is no test_b", found[0])

    def test_a_case_that_is_never_run(self):
        lines = LIST + "never test_a: three\n"
        short = results(one="passed", two="failed")
        self.assertEqual(failures(short, short, lines), [])
        found = failures(GOOD, GOOD, lines)
        self.assertTrue(any("test_a: three was run" in line for line in found))

    def test_programs_to_run(self):
        groups = plain.read_list((LIST + "whole test_b\n").splitlines())
        self.assertEqual(plain.to_run(groups, {"test_a": 3, "test_b": 1}), ["test_a"])

    def test_bad_lists(self):
        for bad in (
            "fails test_a: two",
            "# Why.\nfail test_a: two",
            "# Why.\nfails test_a",
            "# Why.\nwhole test_a: two",
            "# Why.\nfails test_a: two\n# Why not.\nfails test_a: one",
            "# Why.\nfails test_a: two\nnever test_a: two",
        ):
            with self.subTest(bad), self.assertRaises(ValueError):
                plain.read_list(bad.splitlines())

    def test_the_programs(self):
        self.assertEqual(plain.read_programs(["# Programs.", "guest/test_a 3", ""]), PROGRAMS)


if __name__ == "__main__":
    unittest.main()

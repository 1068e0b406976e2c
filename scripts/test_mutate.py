# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Tests of mutate: what it must not call caught, and above all what must fail its run.

They run it on a small tree of their own, where the core is a shell script, `building` it
copies it, and the killer of a mutant is that script: it prints KTAP by what it was told.
"""

import hashlib
import importlib.machinery
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

import ktap

SCRIPTS = os.path.dirname(os.path.abspath(__file__))

MAKEFILE = """\
.PHONY: plain cases sim
plain: $(out)/plain/cases
cases: $(out)/cases
sim: $(out)/sim
$(out)/plain/cases $(out)/cases $(out)/sim: src/core/core.cc
	@bash -n $<
	@mkdir -p $(@D)
	@cp $< $@
	@chmod +x $@
"""

# Two suites, one line of code each.
CORE = """\
#!/bin/bash
result=ok
other=ok
unused=1
race=0
if [[ $0 == */sim ]]; then
	echo 'KTAP version 1'
	((race == 0)) && echo 'ok 1 no_race' || { echo 'FAILED seed 0x1: a race'; exit 1; }
	echo 1..1
	exit
fi
[[ $* == *--list* ]] && { echo one_first; echo two_second; exit; }
[[ $1 != two ]] || result=ok
[[ $1 == two ]] || printf '    KTAP version 1\\n    1..1\\n    %s 1 dsvm_one_first\\n' "$result"
printf 'ok 1 dsvm_one\\n'
printf '    KTAP version 1\\n    1..1\\n    %s 1 dsvm_two_second\\n' "$other"
printf '%s 2 dsvm_two\\n' "$other"
echo 1..2
[[ $result$other == okok ]]
"""


def mutant(name, hunk, *fields):
    return "\n".join([f"[{name}]", "why: it is wrong", "file: src/core/core.cc", *fields, hunk, ""])


CAUGHT = mutant("caught", "-result=ok\n+result='not ok'")
SURVIVES = mutant("survives", "-unused=1\n+unused=2")
EQUIVALENT = mutant("harmless", "-unused=1\n+unused=2", "equivalent: nobody reads it")


class Tree(unittest.TestCase):
    """A tree with a core, and what a run on it comes to."""

    def setUp(self):
        self._place = tempfile.TemporaryDirectory()
        self.addCleanup(self._place.cleanup)
        self.tree = self._place.name
        self.write("src/core/core.cc", CORE)
        self.write("tests/host/Makefile", MAKEFILE)
        for empty in ("include/a.h", "src/abi/a.cc", "kunit/a.h", "tests/scenarios/a.scn"):
            self.write(empty, "")

    def write(self, name, text):
        path = os.path.join(self.tree, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, mutants, *options):
        self.write("scripts/mutants/list.txt", mutants)
        command = [os.path.join(SCRIPTS, "mutate"), "--tree", self.tree, *options]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
        )

    def run_on(self, mutants, *options):
        """(exit status, {name of the mutant: (passed, note)}, all that was printed)."""
        program = self.start(mutants, *options)
        out, err = program.communicate(timeout=120)
        results = {}
        for line in out.splitlines():
            word, found, rest = line.partition(" mutant ")
            if found:
                name, _, note = rest.partition(" # ")
                results[name] = (not word.startswith("not ok"), note)
        return program.returncode, results, out + err

    def digest(self):
        """Of every file of the tree that is not built."""
        digest = hashlib.sha256()
        for place, folders, names in os.walk(self.tree):
            if "build" in folders:
                folders.remove("build")
            for name in sorted(names):
                path = os.path.join(place, name)
                with open(path, "rb") as file:
                    digest.update(f"{path} {os.stat(path).st_mtime_ns}".encode() + file.read())
        return digest.hexdigest()


class Verdicts(Tree):
    def check(self, mutants, name, passed, note):
        status, results, output = self.run_on(mutants)
        self.assertIn(name, results, output)
        self.assertEqual(results[name][0], passed, output)
        self.assertIn(note, results[name][1])
        self.assertEqual(status, 0 if passed else 1, output)
        cases = ktap.parse(output.splitlines())
        self.assertEqual(any(c.result == ktap.FAILED for c in cases), not passed)

    def test_caught(self):
        self.check(CAUGHT, "caught", True, "caught by one_first [plain]")

    def test_survivor_fails_the_run(self):
        self.check(SURVIVES, "survives", False, "survived")

    def test_one_survivor_among_many_fails_the_run(self):
        self.check(CAUGHT + SURVIVES + EQUIVALENT, "survives", False, "survived")

    def test_equivalent_may_survive(self):
        self.check(EQUIVALENT, "harmless", True, "equivalent")

    def test_equivalent_must_survive(self):
        text = mutant("m", "-result=ok\n+result='not ok'", "equivalent: so I thought")
        self.check(text, "m", False, "said to be equivalent, but caught by one_first")

    def test_stale(self):
        self.check(mutant("m", "-result=no\n+result=yes"), "m", False, "stale")

    def test_fits_twice(self):
        self.write("src/core/core.cc", CORE + "result=ok\n")
        self.check(mutant("m", "-result=ok\n+result=no"), "m", False, "stale")

    def test_part_of_a_line_does_not_fit(self):
        self.check(mutant("m", "-result=o\n+result=n"), "m", False, "stale")

    def test_file_that_has_gone(self):
        text = CAUGHT.replace("core.cc", "gone.cc")
        self.check(text, "caught", False, "stale")

    def test_does_not_compile(self):
        self.check(mutant("m", "-unused=1\n+if"), "m", False, "does not compile")

    def test_crash(self):
        text = mutant("m", "-echo 1..2\n+kill -SEGV $$")
        self.check(text, "m", True, "caught by the end of the run (SIGSEGV)")

    def test_crash_names_the_case(self):
        crash = " printf 'ok 1 dsvm_one\\n'\n+kill -SEGV $$"
        self.check(mutant("m", crash), "m", True, "caught by two_second (SIGSEGV)")

    def test_silent_end(self):
        text = mutant("m", " printf 'ok 1 dsvm_one\\n'\n+exit 0")
        self.check(text, "m", True, "caught by")

    def test_hang(self):
        text = mutant("m", "-unused=1\n+[[ $* == *--list* ]] || sleep 1000")
        self.check(text, "m", True, "caught by one_first (does not end)")

    def test_other_suites_are_run_as_well(self):
        text = mutant("m", "-result=ok\n+result='not ok'", "suites: two")
        self.check(text, "m", True, "caught by one_first")

    def test_suites_named_are_run_first(self):
        hunk = "-result=ok\n-other=ok\n+result='not ok'\n+other='not ok'"
        self.check(mutant("m", hunk, "suites: two"), "m", True, "caught by two_second")

    def test_killers_named_have_to_catch_it(self):
        wrong = "-result=ok\n+result='not ok'"
        self.check(mutant("m", wrong, "killers: sanitized"), "m", True, "one_first [sanitized]")
        text = mutant("m", wrong, "killers: plain sanitized")
        self.check(text, "m", True, "one_first [plain] and one_first [sanitized]")
        self.check(mutant("m", wrong, "killers: plain races"), "m", False, "survived races")

    def test_race(self):
        self.check(mutant("m", "-race=0\n+race=1"), "m", True, "seed 0x1: a race) [scenarios]")
        text = mutant("m", "-race=0\n+race=1", "killers: races")
        self.check(text, "m", True, "caught by races (seed 0x1: a race) [races]")


class Runs(Tree):
    def test_nothing_can_be_said_if_tests_fail_anyway(self):
        self.write("src/core/core.cc", CORE.replace("other=ok", "other='not ok'"))
        status, results, output = self.run_on(CAUGHT)
        self.assertEqual((status, results), (1, {}))
        self.assertIn("Bail out!", output)

    def test_nothing_can_be_said_if_no_test_runs(self):
        self.write("src/core/core.cc", "#!/bin/bash\n")
        status, results, output = self.run_on(CAUGHT)
        self.assertEqual((status, results), (1, {}))
        self.assertIn("Bail out!", output)

    def test_nothing_can_be_said_if_it_does_not_build(self):
        self.write("src/core/core.cc", "if\n")
        status, results, output = self.run_on(CAUGHT)
        self.assertEqual((status, results), (1, {}))
        self.assertIn("Bail out!", output)

    def test_the_tree_is_left_alone(self):
        program = self.start(CAUGHT + SURVIVES)
        before = self.digest()
        program.communicate(timeout=60)
        self.assertEqual(program.returncode, 1)
        self.assertEqual(self.digest(), before)

    def test_an_interrupted_run_leaves_nothing(self):
        hangs = mutant("hangs", "-unused=1\n+[[ $* == *--list* ]] || sleep 1000")
        for number in (signal.SIGINT, signal.SIGTERM):
            program = self.start(hangs + CAUGHT)
            before = self.digest()
            place = os.path.join(self.tree, "build/mutate/hangs/plain.tap")
            deadline = time.monotonic() + 60
            while not os.path.exists(place) and time.monotonic() < deadline:
                time.sleep(0.02)
            program.send_signal(number)
            out, _ = program.communicate(timeout=60)
            self.assertEqual(program.returncode, 130)
            self.assertIn("Bail out!", out)
            self.assertFalse(os.path.exists(os.path.dirname(place)))
            self.assertEqual(self.digest(), before)

    def test_two_runs_do_not_share_a_directory(self):
        hangs = mutant("hangs", "-unused=1\n+[[ $* == *--list* ]] || sleep 1000")
        first = self.start(hangs)
        while not os.path.exists(os.path.join(self.tree, "build/mutate/lock")):
            time.sleep(0.02)
        time.sleep(0.2)
        status, _, output = self.run_on(hangs)
        first.terminate()
        first.communicate(timeout=60)
        self.assertEqual(status, 1)
        self.assertIn("another run", output)

    def test_filter(self):
        for pattern in ("caught", "c*", "list"):
            self.assertIn("caught", self.run_on(CAUGHT, pattern)[1])
        status, results, output = self.run_on(CAUGHT, "nobody")
        self.assertEqual((status, results), (1, {}))
        self.assertIn("no mutant", output)

    def test_an_empty_list_fails(self):
        self.assertEqual(self.run_on("# nothing\n")[0], 1)

    def test_list(self):
        status, results, output = self.run_on(CAUGHT + SURVIVES, "--list")
        self.assertEqual((status, results), (0, {}))
        self.assertEqual([line.split()[0] for line in output.splitlines()], ["caught", "survives"])
        self.assertFalse(os.path.exists(os.path.join(self.tree, "build")))

    def test_keep(self):
        self.run_on(CAUGHT, "--keep")
        with open(os.path.join(self.tree, "build/mutate/caught/src/core/core.cc")) as file:
            self.assertIn("result='not ok'", file.read())


class Lists(Tree):
    def refused(self, text, why):
        status, results, output = self.run_on(text)
        self.assertEqual((status, results), (1, {}))
        self.assertIn(why, output)

    def test_mistakes(self):
        hunk = "-unused=1\n+unused=2"
        self.refused(CAUGHT + CAUGHT, "caught is at")
        self.refused(mutant("m", hunk, "kiler: plain"), "neither a field nor")
        self.refused(mutant("m", hunk, "killers: plain nobody"), "killer nobody")
        self.refused(mutant("m", hunk, "killers: plain", "equivalent: yes"), "has killers")
        self.refused(mutant("m", hunk, "why: twice"), "said twice")
        self.refused(mutant("m", hunk + "\nsuites: late"), "after the hunk")
        self.refused(mutant("m", " unused=1"), "changes nothing")
        self.refused(mutant("m", "+unused=1"), "no line to be found by")
        self.refused(f"[m]\nfile: src/core/core.cc\n{hunk}\n", "no `why`")
        self.refused("why: of nothing\n", "belongs to no mutant")

    def test_fields_go_on_and_hunks_have_empty_lines(self):
        self.write("src/core/core.cc", CORE.replace("other=ok", "\nother=ok"))
        text = textwrap.dedent(
            """\
            # A comment.

            [m]
            why: it
            \tis wrong
            file: src/core/core.cc
            -result=ok

            +result='not ok'
             other=ok

            # The end.
            """
        )
        self.assertTrue(self.run_on(text)[1]["m"][0])


def load_mutate():
    """The program as a module, which its name does not let it be."""
    loader = importlib.machinery.SourceFileLoader("mutate", os.path.join(SCRIPTS, "mutate"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("mutate", loader))
    sys.modules["mutate"] = module
    loader.exec_module(module)
    return module


class CheckedIn(unittest.TestCase):
    def test_the_lists_fit_the_sources(self):
        """Builds nothing: who changes the core sees at once which mutants have to follow."""
        mutate = load_mutate()
        top = os.path.dirname(SCRIPTS)
        mutants = mutate.choose(mutate.read_lists(top), [])
        self.assertGreaterEqual(len(mutants), 45)
        for mutant in mutants:
            with self.subTest(mutant.name):
                text = mutate.read_text(os.path.join(top, mutant.file))
                self.assertNotEqual(mutant.planted(text), text)

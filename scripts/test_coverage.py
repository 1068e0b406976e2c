# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Tests of coverage.py, on a program of a few lines."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = os.path.dirname(os.path.abspath(__file__))

HEADER = """\
template <int n> int both(int x)
{
	return n ? x : -x;
}
"""

SOURCE = """\
#include "part/header.h"

int sign(int x)
{
	if (x > 0)
		return 1;

	return -1;
}

int never(int x)
{
	return x;
}

int main(int argc, char **)
{
	return sign(argc) + both<0>(argc) + (argc > 1 ? both<1>(argc) : 0);
}
"""


@unittest.skipUnless(shutil.which("g++") and shutil.which("gcov"), "g++ and gcov are needed")
class CoverageTest(unittest.TestCase):
    def setUp(self):
        self.top = os.path.realpath(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.top)
        self.objects = os.path.join(self.top, "objects")
        os.mkdir(self.objects)
        os.mkdir(os.path.join(self.top, "part"))
        self.write("part/header.h", HEADER)
        self.write("part/source.cc", SOURCE)
        self.write("other.cc", "int other() { return 0; }\n")
        for source in ("part/source.cc", "other.cc"):
            target = os.path.join(self.objects, os.path.basename(source) + ".o")
            self.run_command(
                "g++", "--coverage", f"-I{self.top}", "-c", "-o", target,
                os.path.join(self.top, source),
            )
        self.program = os.path.join(self.top, "program")
        self.run_command(
            "g++", "--coverage", "-o", self.program,
            *(os.path.join(self.objects, f"{name}.cc.o") for name in ("source", "other")),
        )

    def write(self, path, text):
        with open(os.path.join(self.top, path), "w", encoding="utf-8") as file:
            file.write(text)

    def run_command(self, *command):
        subprocess.run(command, check=True, cwd=self.top)

    def coverage(self, *directories):
        return subprocess.run(
            [sys.executable, os.path.join(SCRIPTS, "coverage.py"), self.objects, self.top,
             *directories],
            capture_output=True, text=True, check=False,
        )

    def test_lists_what_was_not_reached(self):
        subprocess.run([self.program], check=False)
        result = self.coverage("part")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("never reached: part/source.cc:8: return -1;", result.stdout)
        self.assertIn("never reached: part/source.cc:11-13: int never(int x)", result.stdout)
        # One copy of the template was run, which is enough.
        self.assertNotIn("header.h", result.stdout)
        self.assertNotIn("other.cc", result.stdout)

    def test_counts_of_several_runs_add_up(self):
        subprocess.run([self.program], check=False)
        before = self.coverage("part").stdout
        subprocess.run([self.program, "more"], check=False)
        after = self.coverage("part").stdout
        self.assertNotEqual(before.splitlines()[0], after.splitlines()[0])

    def test_nothing_was_run(self):
        result = self.coverage("part")
        self.assertIn("coverage of part: 0.0% of ", result.stdout)

    def test_nothing_was_compiled(self):
        shutil.rmtree(self.objects)
        self.assertNotEqual(self.coverage("part").returncode, 0)

    def test_no_such_directory(self):
        subprocess.run([self.program], check=False)
        self.assertNotEqual(self.coverage("elsewhere").returncode, 0)


if __name__ == "__main__":
    unittest.main()

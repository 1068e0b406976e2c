# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Tests of guest/profile.py, on counts that are made up."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

PROFILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest", "profile.py")

KALLSYMS = """ffffffff81000000 T in_kernel
ffffffff81000100 T behind_it
ffffffff82000000 D no_code
ffffffffc0000000 t theirs\t[drm_gpusvm_helper]
ffffffffc0001000 t ours\t[drm_svm]
ffffffffc0002000 t driver\t[drm_svm_plain]
"""
BLOCKS = """section 1
ffffffff81000010 100
ffffffffc0000008 300
section 2
ffffffff81000010 100
ffffffff810000ff 100
ffffffffc0001000 600
400000 200
section 3
ffffffff81000010 300
ffffffffc0001000 600
ffffffffc0002000 400
"""


def sample(side, section, cost, workload="fault"):
    return {"run_name": f"{workload}/{side}/4", "run_type": "iteration", "section": section,
            "cost": cost}


class Profile(unittest.TestCase):
    def profile(self, runs, *arguments):
        with tempfile.TemporaryDirectory() as directory:
            for name, text in (("kallsyms", KALLSYMS), ("blocks", BLOCKS),
                               ("core_mm", "in_kernel\n"),
                               ("compare.json", json.dumps({"benchmarks": runs}))):
                with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                    file.write(text)
            return subprocess.run([sys.executable, PROFILE, directory, *arguments],
                                  capture_output=True, text=True, check=False)

    def test_modules(self):
        result = self.profile([sample("kernel", 1, 40), sample("ours", 2, 100)])
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("40: drm_gpusvm_helper 30, kernel 10", result.stdout)
        self.assertIn("100: drm_svm 60, kernel 40", result.stdout)
        self.assertIn("outside core mm: kernel 30.0, ours 60.0, 2.00 of it", result.stdout)

    def test_without_the_driver(self):
        runs = [sample("kernel", 1, 40), sample("ours", 3, 130)]
        result = self.profile(runs)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("outside core mm: kernel 30.0, ours 100.0, 3.33 of it", result.stdout)
        self.assertIn("and the driver: kernel 30.0, ours 60.0, 2.00 of it", result.stdout)

    def test_functions(self):
        result = self.profile([sample("kernel", 1, 40), sample("ours", 2, 100)], "fault/4")
        lines = [line.split() for line in result.stdout.splitlines()]
        self.assertEqual(lines[2], ["0.0", "60.0", "60.0", "ours", "[drm_svm]"])
        self.assertIn(["10.0", "20.0", "10.0", "in_kernel"], lines)
        self.assertIn(["0.0", "20.0", "20.0", "user", "space"], lines)
        self.assertEqual(lines[-1], ["40.0", "100.0", "60.0", "in", "all"])

    def test_functions_outside_of_core_mm(self):
        result = self.profile([sample("kernel", 1, 40), sample("ours", 2, 100)], "fault/4",
                              "--items", "10", "--outside")
        lines = [line.split() for line in result.stdout.splitlines()]
        self.assertEqual(lines[2], ["0.0", "600.0", "600.0", "ours", "[drm_svm]"])
        self.assertEqual(lines[-1], ["300.0", "600.0", "300.0", "in", "all"])
        self.assertEqual(len(lines), 5)

    def test_parts_of_others_are_left_out(self):
        runs = [sample(side, 1, 40, "fault_but_copy") for side in ("kernel", "ours")]
        self.assertEqual(self.profile(runs).stdout, "")

    def test_ratios(self):
        runs = [sample("kernel", 1, 40), sample("ours", 3, 130)]
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "ratios.json")
            result = self.profile(runs, "--ratios", path)
            self.assertEqual(result.returncode, 0, result.stderr)
            with open(path, encoding="utf-8") as file:
                row, = json.load(file)["rows"]
        self.assertEqual((row["workload"], row["size"]), ("fault", 4))
        self.assertAlmostEqual(row["ratio"], 30 / 100)
        self.assertAlmostEqual(row["library_ratio"], 30 / 60)
        self.assertIn("| fault | 4 | 30.0 | 100.0 | 0.30 | 30.0 | 60.0 | 0.50 |", result.stdout)

    def test_unknown_workload(self):
        result = self.profile([sample("kernel", 1, 40), sample("ours", 2, 100)], "walk/4")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("there is no walk/4", result.stderr)


if __name__ == "__main__":
    unittest.main()

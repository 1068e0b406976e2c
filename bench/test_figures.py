# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Tests of figures.py."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

FIGURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "figures.py")


class Figures(unittest.TestCase):
    def test_all_that_is_there(self):
        with tempfile.TemporaryDirectory() as directory:
            for name, what in (("va-ratios", {"rows": [1]}), ("va-growth", {"rows": [2]}),
                               ("guest-count-ratios", {"rows": [3]}), ("va", {"raw": 4}),
                               ("figures", {"of": "another run"})):
                with open(os.path.join(directory, f"{name}.json"), "w", encoding="utf-8") as file:
                    json.dump(what, file)
            subprocess.run([sys.executable, FIGURES, directory, "7.3.4-1"], check=True)
            with open(os.path.join(directory, "figures.json"), encoding="utf-8") as file:
                whole = json.load(file)
            self.assertEqual(whole["figures"], {
                "va": {"ratios": {"rows": [1]}, "growth": {"rows": [2]}},
                "guest-count": {"ratios": {"rows": [3]}}})
            self.assertEqual(whole["kernel"], "7.3.4-1")
            self.assertRegex(whole["date"], r"^20\d\d-\d\d-\d\dT")


if __name__ == "__main__":
    unittest.main()

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
            subprocess.run([sys.executable, FIGURES, directory], check=True)
            with open(os.path.join(directory, "figures.json"), encoding="utf-8") as file:
                self.assertEqual(json.load(file), {
                    "va": {"ratios": {"rows": [1]}, "growth": {"rows": [2]}},
                    "guest-count": {"ratios": {"rows": [3]}}})


if __name__ == "__main__":
    unittest.main()

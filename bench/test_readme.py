# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Tests of readme.py."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import readme  # noqa: E402  pylint: disable=wrong-import-position

TEXT = """`make bench-full` of 2020-01-01, against Debian's 1.2-3, on two cores.

<!-- bench/readme.py: va -->
| old |
|---|
| 1 |

Between them.

<!-- bench/readme.py: svm -->

<!-- bench/readme.py: guest -->
| old |

<!-- bench/readme.py: workers -->
| old |
The end.
"""


def figures():
    """All that is asked for, each ratio another one."""
    found = {name: {"ratios": {"rows": []}}
             for name in ("va", "latency", "svm", "guest-count", "outside", "guest-time")}

    def add(file, workload, size, **more):
        rows = found[file]["ratios"]["rows"]
        rows.append({"workload": workload, "size": size, "ratio": 1 + len(rows) / 100, **more})

    for _, sizes, rows in readme.BY_SIZE.values():
        for file, workload in {(file, workload) for _, file, workload, _ in rows}:
            for size in sizes:
                for percentile in (50, readme.SLOWEST) if file == "latency" else (None,):
                    add(file, workload, size, maple_ratio=7.125, kernel_bytes=48.0,
                        ours_bytes=53.4, **({"percentile": percentile} if percentile else {}))
    for _, workload, size, is_told in readme.GUEST:
        add("guest-count", workload, size, kernel=200.4, ours=100.2)
        if is_told:
            add("outside", workload, size, library_ratio=236.4)
    found["guest-time"]["ratios"]["scaling"] = [
        {"workload": workload, "workers": count, "kernel": 1.0, "ours": 1.01, "extended": 1.9}
        for _, workload in readme.WORKERS for count in (2, 4)]
    return found


class Readme(unittest.TestCase):
    def write(self, found, text=TEXT):
        with tempfile.TemporaryDirectory() as directory:
            of_figures, page = (pathlib.Path(directory, name) for name in ("f.json", "README.md"))
            of_figures.write_text(json.dumps(
                {"date": "2026-11-23T01:02:03+00:00", "kernel": "7.3.4-1~bpo13+1",
                 "figures": found}), encoding="utf-8")
            page.write_text(text, encoding="utf-8")
            result = subprocess.run([sys.executable, os.path.join(HERE, "readme.py"),
                                     str(of_figures), str(page)],
                                    capture_output=True, text=True, check=False)
            return result, page.read_text(encoding="utf-8")

    def test_all_tables(self):
        result, text = self.write(figures())
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertNotIn("old", text)
        self.assertIn("of 2026-11-23, against Debian's 7.3.4-1~bpo13+1, on two cores.", text)
        self.assertIn("| GPU VA manager, by mappings | 100 | 10 000 | 1 000 000 |\n"
                      "|---|---:|---:|---:|\n| find |", text)
        self.assertIn("kernel's / ours | 48 / 53 | 48 / 53 | 48 / 53 |", text)
        self.assertIn("| find, against the kernel's maple tree | 7.12 |", text)
        self.assertIn("| invalidation of one of 10 000 ranges | 200 | 100 | 1.12 |  |  |", text)
        self.assertIn("| 236 |", text)
        self.assertIn("| the same, ranges are there | 1.00 | 1.01 | 1.90 |", text)
        for sentence in ("\n\nBetween them.\n\n", "\nThe end.\n"):
            self.assertIn(sentence, text)

    def test_again_is_the_same(self):
        _, once = self.write(figures())
        _, twice = self.write(figures(), once)
        self.assertEqual(once, twice)

    def test_only_the_slowest(self):
        found = figures()
        for row in found["latency"]["ratios"]["rows"]:
            row["ratio"] = 3.0 if row["percentile"] == readme.SLOWEST else 9.0
        _, text = self.write(found)
        self.assertIn("| insert, slowest of 1000 | 3.00 | 3.00 | 3.00 |", text)

    def test_figures_that_are_missing(self):
        found = figures()
        found["svm"]["ratios"]["rows"].pop()
        result, text = self.write(found)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("make bench-full", result.stderr)
        self.assertEqual(text, TEXT)

    def test_a_table_that_is_missing(self):
        result, _ = self.write(figures(), TEXT.replace(": guest", ": guests"))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("no line <!-- bench/readme.py: guest -->", result.stderr)


if __name__ == "__main__":
    unittest.main()

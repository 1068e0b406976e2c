# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Tests of plot.py, on results that are made up, with something else in the place of gnuplot."""

import json
import math
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
GNUPLOT = "#!/bin/sh\ncat\n"


def runs(workload, side, cost_of, sizes=(100, 1000, 10000, 100000)):
    return [{"run_name": f"{workload}/{side}/{size}", "run_type": "iteration",
             "cost": cost_of(size) * factor}
            for size in sizes for factor in (0.9, 1, 1.1)]


class Plot(unittest.TestCase):
    def plot(self, results, *options, gnuplot=GNUPLOT):
        with tempfile.TemporaryDirectory() as directory:
            def path(name):
                return os.path.join(directory, name)

            with open(path("results.json"), "w", encoding="utf-8") as file:
                json.dump({"context": {}, "benchmarks": results}, file)
            with open(path("gnuplot"), "w", encoding="utf-8") as file:
                file.write(gnuplot)
            os.chmod(path("gnuplot"), 0o755)
            result = subprocess.run(
                [sys.executable, os.path.join(HERE, "plot.py"), path("results.json"),
                 path("plots.svg"), "--json", path("growth.json"), *options],
                env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"},
                capture_output=True, text=True, check=False)
            if result.returncode:
                return result, None, None
            with open(path("growth.json"), encoding="utf-8") as growth, \
                    open(path("plots.svg"), encoding="utf-8") as plots:
                return result, json.load(growth), plots.read()

    def rows(self, results):
        result, growth, _ = self.plot(results)
        self.assertEqual(result.returncode, 0, result.stderr)
        return {(row["workload"], row["side"]): row for row in growth["rows"]}

    def test_flat_and_linear(self):
        rows = self.rows(runs("find", "ours", lambda size: 7) +
                         runs("find", "kernel", lambda size: size / 3))
        self.assertAlmostEqual(rows["find", "ours"]["tenfold"], 1)
        self.assertAlmostEqual(rows["find", "ours"]["most"], 1)
        self.assertAlmostEqual(rows["find", "kernel"]["tenfold"], 10)
        self.assertAlmostEqual(rows["find", "kernel"]["most"], 10)

    def test_logarithm_grows_less_and_less(self):
        row = self.rows(runs("find", "ours", math.log10))["find", "ours"]
        self.assertAlmostEqual(row["most"], 1.5)
        self.assertEqual((row["most_from"], row["most_to"]), (100, 1000))
        self.assertLess(row["tenfold"], 1.5)
        self.assertGreater(row["tenfold"], 1.25)

    def test_what_is_linear_at_last_shows_where(self):
        row = self.rows(runs("find", "ours", lambda size: 10000 + size))["find", "ours"]
        self.assertLess(row["tenfold"], 3)
        self.assertAlmostEqual(row["most"], 5.5)
        self.assertEqual((row["most_from"], row["most_to"]), (10000, 100000))

    def test_steps_are_ten_times(self):
        # It would be 100 times as much, were the step from 4000 to 8000 ten times as long.
        cost = {100: 1, 4000: 2, 8000: 8, 40000: 9}
        row = self.rows(runs("find", "ours", cost.get, list(cost)))["find", "ours"]
        self.assertEqual((row["most_from"], row["most_to"]), (4000, 40000))
        self.assertAlmostEqual(row["most"], 4.5)
        row = self.rows(runs("find", "ours", cost.get, [4000, 8000]))["find", "ours"]
        self.assertEqual((row["most_from"], row["most_to"]), (4000, 8000))

    def test_points_and_what_is_around_them(self):
        row = self.rows(runs("find", "ours", lambda size: 20))["find", "ours"]
        self.assertEqual([at["size"] for at in row["points"]], [100, 1000, 10000, 100000])
        for at in row["points"]:
            self.assertEqual((at["low"], at["cost"], at["high"]), (18, 20, 22))

    def test_one_size_is_no_curve(self):
        result, growth, plots = self.plot(
            runs("find", "ours", lambda size: 7) + runs("once", "ours", lambda size: 7, [4]))
        self.assertEqual([row["workload"] for row in growth["rows"]], ["find"])
        self.assertNotIn("once", plots)
        self.assertNotIn("once", result.stdout)

    def test_nothing_to_draw(self):
        result, _, _ = self.plot(runs("once", "ours", lambda size: 7, [4]))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("no workload of several sizes", result.stderr)

    def test_failures_and_nothing_are_no_points(self):
        results = runs("evict", "ours", lambda size: 7)
        results += runs("evict", "kernel", lambda size: 7)
        results += runs("evict", "ours", lambda size: 0, [5])
        results.append({"run_name": "evict/kernel/100", "run_type": "failure", "error": "EBUSY"})
        rows = self.rows(results)
        self.assertEqual(rows["evict", "ours"]["points"][0]["size"], 100)
        self.assertEqual(rows["evict", "kernel"]["points"][0]["size"], 1000)

    def test_what_gnuplot_is_told(self):
        results = runs("find", "ours", lambda size: 7) + runs("find", "kernel", lambda size: size)
        _, growth, plots = self.plot(results, "--unit", "instructions", "--size", "ranges")
        self.assertEqual((growth["unit"], growth["size"]), ("instructions", "ranges"))
        self.assertIn("instructions an operation, by ranges", plots)
        self.assertIn("set title 'find'", plots)
        self.assertIn("$ours0 << END\n100 7 6.3 7.7\n1000 7 6.3 7.7\n", plots)
        self.assertIn("title 'kernel, x 10.00'", plots)
        # What would grow with the size begins where ours does.
        self.assertIn("$linear0 << END\n100 7\n100000 7000\nEND\n", plots)

    def test_floor(self):
        results = runs("find", "ours", lambda size: 7) + runs("touch", "ours", lambda size: 3)
        _, _, plots = self.plot(results)
        self.assertNotIn("memory alone", plots)
        _, _, plots = self.plot(results, "--floor", "touch")
        self.assertIn("$floor0 << END\n100 3\n1000 3\n", plots)
        self.assertIn("title 'memory alone'", plots)

    def test_table(self):
        result, _, _ = self.plot(runs("find", "ours", lambda size: 7) +
                                 runs("find", "kernel", lambda size: size))
        self.assertIn("| find | 100 | 100000 | 10.00 | 1.00 | 1.00, from 100 to 1000 |",
                      result.stdout)

    def test_maple_beside_them(self):
        result, growth, plots = self.plot(runs("find", "ours", lambda size: 7) +
                                          runs("find", "maple", math.sqrt))
        self.assertEqual([row["side"] for row in growth["rows"]], ["ours", "maple"])
        self.assertIn("| ours, times as much | maple, times as much |", result.stdout)
        self.assertIn("$maple0 << END\n100 10 9 11\n", plots)

    def test_gnuplot_that_fails(self):
        result, _, _ = self.plot(runs("find", "ours", lambda size: 7),
                                 gnuplot="#!/bin/sh\ncat >/dev/null\nexit 1\n")
        self.assertNotEqual(result.returncode, 0)


if __name__ == "__main__":
    unittest.main()

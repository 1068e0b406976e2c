# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Tests of ratios.py, on results that are made up."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


def run(name, ns, allocs=0, kind="iteration"):
    return {"run_name": name, "run_type": kind, "items_per_second": 1e9 / ns, "allocs": allocs}


def guest(name, kind="iteration", **fields):
    return {"run_name": name, "run_type": kind, **fields}


class Ratios(unittest.TestCase):
    def ratios(self, runs, *options):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "results.json")
            out = os.path.join(directory, "out.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump({"context": {"date": "today"}, "benchmarks": runs}, file)
            result = subprocess.run(
                [sys.executable, os.path.join(HERE, "ratios.py"), path, "--json", out,
                 *options],
                capture_output=True, text=True, check=False)
            if result.returncode:
                return result, None
            with open(out, encoding="utf-8") as file:
                return result, json.load(file)

    def test_ratio_of_medians(self):
        runs = [run("find/kernel/100", ns) for ns in (10, 12, 900)]
        runs += [run("find/ours/100", ns) for ns in (6, 1, 7)]
        result, out = self.ratios(runs)
        self.assertEqual(result.returncode, 0, result.stderr)
        row, = out["rows"]
        self.assertAlmostEqual(row["ratio"], 2)
        self.assertLessEqual(row["low"], 2)
        self.assertGreater(row["high"], 2)
        self.assertIn("| find | 100 | 12.0 | 6.0 | 2.00 |", result.stdout)

    def test_aggregates_do_not_count(self):
        runs = [run("find/kernel/100", 10), run("find/ours/100", 5),
                run("find/ours/100", 1, kind="aggregate")]
        _, out = self.ratios(runs)
        self.assertAlmostEqual(out["rows"][0]["ratio"], 2)

    def test_order_and_allocations(self):
        runs = []
        for side in ("ours", "kernel"):
            for mappings in (10000, 100):
                runs.append(run(f"walk/{side}/{mappings}", 5, 6 if side == "kernel" else 2))
        result, out = self.ratios(runs)
        self.assertEqual([row["size"] for row in out["rows"]], [100, 10000])
        self.assertIn("| 6 / 2 |", result.stdout)

    def test_of_what_there_is_a_number(self):
        result, out = self.ratios([run("svm_find/ours/512", 5), run("svm_find/kernel/512", 15)],
                                  "--size", "ranges")
        self.assertIn("| workload | ranges | kernel, ns |", result.stdout)
        self.assertEqual(out["rows"][0]["size"], 512)

    def test_one_side_is_not_enough(self):
        result, _ = self.ratios([run("find/ours/100", 5)])
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("one side only", result.stderr)

    def test_unknown_side(self):
        result, _ = self.ratios([run("find/theirs/100", 5)])
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("theirs", result.stderr)

    def test_guest_samples(self):
        runs = [guest("fault/kernel/4", cost=cost) for cost in (300, 320, 310)]
        runs += [guest("fault/ours/4", cost=cost) for cost in (155, 150, 160)]
        runs += [guest("fault/kernel/4", "count", allocs=3, bytes=96),
                 guest("fault/ours/4", "count", allocs=2, bytes=64)]
        result, out = self.ratios(runs, "--unit", "instructions", "--size", "KiB")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(out["unit"], "instructions")
        self.assertIn("| workload | KiB | kernel, instructions |", result.stdout)
        self.assertIn("| fault | 4 | 310.0 | 155.0 | 2.00 |", result.stdout)
        self.assertIn("| 3 / 2 | 96 / 64 |", result.stdout)

    def test_bytes_are_a_counter(self):
        runs = [{**run("find/kernel/100", 9), "allocs": 0, "bytes": 48.0},
                {**run("find/ours/100", 5), "allocs": 0, "bytes": 62.72}]
        result, _ = self.ratios(runs)
        self.assertIn("| 0 / 0 | 48 / 62.72 |", result.stdout)

    def test_rates(self):
        runs = []
        for workload, kernel, ours in (("to_device", 4096, 2048), ("refault_huge", 2000, 1000),
                                       ("to_device_but_copy", 5, 5), ("va_find", 5, 5)):
            runs += [guest(f"{workload}/kernel/64", cost=kernel),
                     guest(f"{workload}/ours/64", cost=ours)]
        result, out = self.ratios(runs)
        self.assertIn("| to_device | 64 | 1.00 GB/s | 2.00 GB/s |  |", result.stdout)
        self.assertIn("| refault_huge | 64 | 500000 faults/s | 1000000 faults/s |  |",
                      result.stdout)
        self.assertEqual([row["workload"] for row in out["rates"]], ["refault_huge", "to_device"])
        result, out = self.ratios(runs, "--unit", "instructions")
        self.assertNotIn("GB/s", result.stdout)

    def test_failure_is_no_number(self):
        runs = [guest("pinned/kernel/4", "failure", error="EBUSY"),
                guest("pinned/kernel/4", "moved", moved=0, of=512),
                guest("pinned/ours/4", cost=5), guest("pinned/ours/4", "moved", moved=511, of=512)]
        result, out = self.ratios(runs)
        row, = out["rows"]
        self.assertNotIn("ratio", row)
        self.assertIsNone(row["kernel"])
        self.assertIn("| fails: EBUSY | 5.0 |", result.stdout)
        self.assertIn("of 512 pages there moved: the kernel's 0, ours 511.", result.stdout)

    def test_a_single_failure_counts(self):
        runs = [guest("f/kernel/4", cost=5), guest("f/ours/4", cost=5),
                guest("f/ours/4", "failure", error="EIO")]
        _, out = self.ratios(runs)
        self.assertNotIn("ratio", out["rows"][0])

    def test_nothing_left_is_no_ratio(self):
        runs = [guest("f/kernel/4", cost=-1), guest("f/ours/4", cost=5)]
        result, out = self.ratios(runs)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertNotIn("ratio", out["rows"][0])
        self.assertIn("| -1.0 | 5.0 |  |  |  |", result.stdout)

    def test_one_lost_difference_is_outvoted(self):
        runs = [guest("f/kernel/4", cost=cost) for cost in (10, 11, -5, 10, 12, 9, 10, 11, 10)]
        runs += [guest("f/ours/4", cost=5) for _ in range(9)]
        _, out = self.ratios(runs)
        self.assertAlmostEqual(out["rows"][0]["ratio"], 2)

    def test_maple_beside_them(self):
        runs = [run("find/kernel/100", 30), run("find/ours/100", 10), run("find/maple/100", 15),
                run("replace/kernel/100", 30), run("replace/ours/100", 10)]
        result, out = self.ratios(runs)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertAlmostEqual(out["rows"][0]["maple_ratio"], 1.5)
        self.assertNotIn("maple_ratio", out["rows"][1])
        self.assertIn("| maple tree, ns |", result.stdout)
        self.assertIn("| 3.00 | 3.00 to 3.00 | 0 / 0 | 15.0 | 1.50 | 1.50 to 1.50 |",
                      result.stdout)
        self.assertIn("| 0 / 0 |  |  |  |", result.stdout)

    def test_percentiles(self):
        # A thousand items: one in a hundred, and one in a thousand, take longer.
        runs = [guest("insert/kernel/100", "latency", ns=[300, 40, 90], counts=[2, 989, 9]),
                guest("insert/ours/100", "latency", ns=[20, 30, 60], counts=[989, 9, 2])]
        result, out = self.ratios(runs)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([(row["percentile"], row["kernel"], row["ours"]) for row in out["rows"]],
                         [(50, 40, 20), (99, 90, 30), (99.9, 300, 60)])
        middle, high, highest = out["rows"]
        self.assertEqual((middle["low"], middle["ratio"], middle["high"]), (2, 2, 2))
        # Six items more or less: the 984th, and the 996th.
        self.assertAlmostEqual(high["low"], 40 / 30)
        self.assertAlmostEqual(high["high"], 90 / 20)
        self.assertAlmostEqual(highest["ratio"], 5)
        self.assertIn("| insert | 100 | 99.9 | 300.0 | 60.0 | 5.00 |", result.stdout)

    def test_latencies_of_one_side(self):
        result, _ = self.ratios([guest("insert/ours/100", "latency", ns=[20], counts=[9])])
        self.assertIn("one side only", result.stderr)
    def test_two_sides_have_no_third_column(self):
        result, out = self.ratios([run("find/kernel/100", 10), run("find/ours/100", 5)])
        self.assertNotIn("extended", result.stdout)
        self.assertNotIn("extended", out["rows"][0])

    def test_third_side(self):
        runs = [guest("f/kernel/4", cost=10), guest("f/ours/4", cost=5),
                guest("f/extended/4", cost=2), guest("g/kernel/4", cost=3),
                guest("g/ours/4", cost=3)]
        for side, allocs in (("kernel", 6), ("ours", 3), ("extended", 1)):
            runs.append(guest(f"f/{side}/4", "count", allocs=allocs, bytes=64))
        result, out = self.ratios(runs)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("| extended, ns | times as fast | 95 % |", result.stdout)
        self.assertIn("| f | 4 | 10.0 | 5.0 | 2.00 | 2.00 to 2.00 | 2.0 | 5.00 | 5.00 to 5.00 | "
                      "6 / 3 / 1 | 64 / 64 / 64 |", result.stdout)
        self.assertIn("| g | 4 | 3.0 | 3.0 | 1.00 | 1.00 to 1.00 |  |  |  |  |  |", result.stdout)
        self.assertAlmostEqual(out["rows"][0]["extended_ratio"], 5)

    def test_third_side_alone_succeeds(self):
        runs = [guest("pinned/kernel/4", "failure", error="EBUSY"),
                guest("pinned/ours/4", "failure", error="EBUSY"),
                guest("pinned/extended/4", cost=7)]
        runs += [guest(f"pinned/{side}/4", "moved", moved=moved, of=512)
                 for side, moved in (("kernel", 0), ("ours", 0), ("extended", 511))]
        result, out = self.ratios(runs)
        self.assertIn("| fails: EBUSY | fails: EBUSY |  |  | 7.0 |  |  |", result.stdout)
        self.assertIn("of 512 pages there moved: the kernel's 0, ours 0, extended 511.",
                      result.stdout)
        self.assertNotIn("extended_ratio", out["rows"][0])

    def test_third_side_needs_the_other_two(self):
        result, _ = self.ratios([run("find/extended/100", 5), run("find/kernel/100", 5)])
        self.assertNotEqual(result.returncode, 0)

    def test_scaling(self):
        runs = []
        for side, costs in (("kernel", (10, 10, 11)), ("ours", (20, 18, 18)),
                            ("extended", (20, 10, 5))):
            runs += [guest(f"workers_f/{side}/{workers}", cost=cost)
                     for workers, cost in zip((1, 2, 4), costs)]
        result, out = self.ratios(runs)
        self.assertIn("| workers_f | 2 | 1.00 | 1.11 | 2.00 |", result.stdout)
        self.assertIn("| workers_f | 4 | 0.91 | 1.11 | 4.00 |", result.stdout)
        self.assertAlmostEqual(out["scaling"][0]["extended"], 2)

    def test_scaling_without_one_is_none(self):
        runs = [guest("workers_f/kernel/2", cost=5), guest("workers_f/ours/2", cost=5)]
        result, out = self.ratios(runs)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(out["scaling"], [])

    def test_scaling_of_what_failed_is_none(self):
        runs = [guest("workers_f/kernel/1", cost=5), guest("workers_f/kernel/2", cost=5),
                guest("workers_f/ours/1", cost=5),
                guest("workers_f/ours/2", "failure", error="EIO")]
        result, out = self.ratios(runs)
        self.assertIn("| workers_f | 2 | 1.00 |  |  |", result.stdout)
        self.assertNotIn("ours", out["scaling"][0])

    def test_copies(self):
        runs = [guest("saxpy/kernel/32", cost=5), guest("saxpy/ours/32", cost=5),
                guest("saxpy/kernel/32", "copied", copied=900, of=512),
                guest("saxpy/ours/32", "copied", copied=800, of=512)]
        result, out = self.ratios(runs)
        self.assertIn("for 512 pages there were copied: the kernel's 900, ours 800.",
                      result.stdout)
        self.assertEqual(out["rows"][0]["ours_copied"], 800)


if __name__ == "__main__":
    unittest.main()

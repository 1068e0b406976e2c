#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""ratios.py RESULTS.json [--json FILE] [--unit NAME] [--size NAME]

What was measured of both sides, as ratios: how many times as fast ours is. RESULTS.json is of
Google Benchmark, or has its form (bench/guest/compare.c): each workload of both sides several
times, in random order or in turn; names are WORKLOAD/SIDE/SIZE, sides `kernel` and `ours`, and
where the kernel's maple tree can do the same, `maple`.

A cost is the median over the repetitions, a ratio that of the medians, and what stands behind it
the middle 95 % of the ratios that come of drawing repetitions again (bootstrap, B. Efron).

An entry has items_per_second, or the `cost` of an item in units of which a clock has told
(--unit). Its run_type may also be `count`, with allocations and their bytes; `failure`, with the
`error` of a workload that could not be done; `moved`, with how many pages `of` how many did move;
and `latency`, with `counts` of how many items took how many `ns` (bench/host/latency.cc).

Latencies become percentiles, and make a table of their own. Where a percentile is uncertain because
items are few, that is told by the binomial distribution; what stands behind a ratio is what it is
when both sides are as far out as that, the one up and the other down.
"""
import argparse
import json
import math
import random
import statistics
import sys

SIDES = ("kernel", "ours")
# Stands beside them where it can do the same.
MAPLE = "maple"
DRAWS = 2000
PERCENTILES = (50, 99, 99.9)


class Side:
    """What one side has done in one workload."""

    def __init__(self):
        self.costs = []
        self.allocs = []
        self.bytes = []
        self.errors = []
        self.moved = []
        self.latencies = []

    def add(self, run):
        if run["run_type"] == "failure":
            self.errors.append(run["error"])
        elif run["run_type"] == "moved":
            self.moved.append((run["moved"], run["of"]))
        elif run["run_type"] == "latency":
            self.latencies = sorted(zip(run["ns"], run["counts"]))
        elif run["run_type"] == "count":
            self.allocs.append(run["allocs"])
            self.bytes.append(run["bytes"])
        elif run["run_type"] == "iteration":
            self.costs.append(run["cost"] if "cost" in run else 1e9 / run["items_per_second"])
            if "allocs" in run:
                self.allocs.append(run["allocs"])

    def cost(self):
        """The median; None if it has failed, even once."""
        return statistics.median(self.costs) if self.costs and not self.errors else None


def median_or_none(values):
    return statistics.median(values) if values else None


def read(path):
    """{(workload, size): {side: Side}}"""
    with open(path, encoding="utf-8") as file:
        results = json.load(file)
    found = {}
    for run in results["benchmarks"]:
        workload, side, size = run["run_name"].split("/")[:3]
        if side not in (*SIDES, MAPLE):
            sys.exit(f"ratios.py: {path}: {side} is no side")
        found.setdefault((workload, int(size)), {}).setdefault(side, Side()).add(run)
    return results["context"], found


def want_both(found):
    for (workload, size), sides in found.items():
        if not set(SIDES) <= set(sides):
            sys.exit(f"ratios.py: {workload} of {size} has one side only")


def ratio_of(theirs, mine):
    """Of the medians. A difference of two measurements may come out as nothing, or as less."""
    theirs, mine = max(statistics.median(theirs), 0), max(statistics.median(mine), 0)
    return theirs / mine if mine else math.inf


def middle(draws):
    """What the middle 95 % of DRAWS values are between."""
    draws = sorted(draws)
    return draws[DRAWS * 25 // 1000], draws[DRAWS * 975 // 1000]


def interval(theirs, mine):
    draw = random.Random(1)
    return middle(ratio_of(draw.choices(theirs, k=len(theirs)), draw.choices(mine, k=len(mine)))
                  for _ in range(DRAWS))


def at_rank(latencies, rank):
    """What so many items took, or less."""
    for ns, count in latencies:
        rank -= count
        if rank <= 0:
            return ns
    return latencies[-1][0]


def percentile(latencies, percent):
    """It, and between what it is in 95 % of all cases."""
    items = sum(count for _, count in latencies)
    rank = items * percent / 100
    off = 1.96 * math.sqrt(rank * (1 - percent / 100))
    return tuple(at_rank(latencies, max(math.ceil(at), 1)) for at in (rank, rank - off, rank + off))


def judge_latencies(found):
    for (workload, size), sides in sorted(found.items()):
        if not all(side.latencies for side in sides.values()):
            continue
        for percent in PERCENTILES:
            row = {"workload": workload, "size": size, "percentile": percent}
            theirs, mine = (percentile(sides[name].latencies, percent) for name in SIDES)
            yield {**row, "kernel": theirs[0], "ours": mine[0], "ratio": theirs[0] / mine[0],
                   "low": theirs[1] / mine[2], "high": theirs[2] / mine[1]}


def compared(row, sides, other, prefix):
    """The fields that tell how many times as fast as the other ours is."""
    if row.get(other) is None or row["ours"] is None:
        return {}
    low, high = interval(sides[other].costs, sides["ours"].costs)
    if low <= 0 or high == math.inf:
        return {}
    return {f"{prefix}ratio": row[other] / row["ours"], f"{prefix}low": low, f"{prefix}high": high}


def judge(found):
    for (workload, size), sides in sorted(found.items()):
        row = {"workload": workload, "size": size}
        for name, side in sides.items():
            row[name] = side.cost()
            row[f"{name}_allocs"] = median_or_none(side.allocs)
            row[f"{name}_bytes"] = median_or_none(side.bytes)
            if side.errors:
                row[f"{name}_error"] = side.errors[0]
            if side.moved:
                row[f"{name}_moved"], row["of"] = side.moved[-1]
        row.update(compared(row, sides, "kernel", ""))
        row.update(compared(row, sides, MAPLE, "maple_"))
        yield row


def cell(row, side):
    if f"{side}_error" in row:
        return f"fails: {row[f'{side}_error']}"
    return "" if row.get(side) is None else f"{row[side]:.1f}"


def pair(row, what):
    values = [row.get(f"{side}_{what}") for side in SIDES]
    return "" if None in values else " / ".join(f"{value:.4g}" for value in values)


def ratio_cells(row, prefix=""):
    if f"{prefix}ratio" not in row:
        return " | "
    return "{:.2f} | {:.2f} to {:.2f}".format(
        *(row[prefix + field] for field in ("ratio", "low", "high")))


def table(rows, unit, size):
    # Google Benchmark's counters know of allocations only.
    has_bytes = any(row["ours_bytes"] is not None for row in rows)
    has_maple = any(MAPLE in row for row in rows)
    yield (f"| workload | {size} | kernel, {unit} | ours, {unit} | times as fast | 95 % | "
           "allocations |" + (" bytes |" if has_bytes else "") +
           (f" maple tree, {unit} | ours is so many times as fast | 95 % |" if has_maple else ""))
    yield ("|---|---:|---:|---:|---:|---|---|" + ("---|" if has_bytes else "") +
           ("---:|---:|---|" if has_maple else ""))
    for row in rows:
        yield (f"| {row['workload']} | {row['size']} | {cell(row, 'kernel')} | "
               f"{cell(row, 'ours')} | {ratio_cells(row)} | {pair(row, 'allocs')} |" +
               (f" {pair(row, 'bytes')} |" if has_bytes else "") +
               (f" {cell(row, MAPLE)} | {ratio_cells(row, 'maple_')} |" if has_maple else ""))
    for row in rows:
        if "of" in row:
            yield ""
            yield (f"{row['workload']}: of {row['of']} pages the kernel's moved "
                   f"{row['kernel_moved']}, ours {row['ours_moved']}.")


def latency_table(rows, unit, size):
    yield (f"| workload | {size} | percentile | kernel, {unit} | ours, {unit} | times as fast | "
           "95 % |")
    yield "|---|---:|---:|---:|---:|---:|---|"
    for row in rows:
        yield (f"| {row['workload']} | {row['size']} | {row['percentile']} | "
               f"{cell(row, 'kernel')} | {cell(row, 'ours')} | {ratio_cells(row)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("results")
    parser.add_argument("--json")
    parser.add_argument("--unit", default="ns")
    parser.add_argument("--size", default="mappings", help="what the sizes are")
    arguments = parser.parse_args()
    context, found = read(arguments.results)
    want_both(found)
    rows = list(judge_latencies(found))
    if rows:
        lines = latency_table(rows, arguments.unit, arguments.size)
    else:
        rows = list(judge(found))
        lines = table(rows, arguments.unit, arguments.size)
    print("\n".join(lines))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"context": context, "unit": arguments.unit, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""ratios.py RESULTS.json [--json FILE] [--unit NAME] [--size NAME]

What was measured of both sides, as ratios: how many times as fast ours is. RESULTS.json is of
Google Benchmark, or has its form (bench/guest/compare.c): each workload of both sides several
times, in random order or in turn; names are WORKLOAD/SIDE/SIZE, sides `kernel` and `ours`. Some
workloads have a third side: `extended` is ours with what only ours can do, and `maple` the kernel's
maple tree, where that can do the same. It gets columns beside them, with the ratio of extended to
the kernel's, and of ours to the maple tree's.

A cost is the median over the repetitions, a ratio that of the medians, and what stands behind it
the middle 95 % of the ratios that come of drawing repetitions again (bootstrap, B. Efron).

An entry has items_per_second, or the `cost` of an item in units of which a clock has told
(--unit); it may have `allocs`, allocations of an item, and `bytes`, what the index takes for each
mapping. Its run_type may also be `count`, with allocations and their bytes; `failure`, with the
`error` of a workload that could not be done; `moved`, with how many pages `of` how many did move;
`copied`, with how many were copied for as many that were worked on, there and back; and `latency`,
with `counts` of how many items took how many `ns` (bench/host/latency.cc).

In ns, what pages that move and faults come to in a second is another table.

Of a workload workers_* the sizes are workers, and how many times the throughput of one they have
is another table.

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

BOTH = ("kernel", "ours")
THIRD = "extended"
# Stands beside them where it can do the same.
MAPLE = "maple"
LIBRARIES = (*BOTH, THIRD)
SIDES = (*LIBRARIES, MAPLE)
WHOSE = {"kernel": "the kernel's", "ours": "ours", THIRD: THIRD}
# Workloads whose items are pages that move, and those whose items are faults (bench/guest).
PAGES = ("to_device", "fault_moves", "evict", "cpu_return", "workers_prefetch", "workers_move")
FAULTS = ("fault_", "refault", "workers_fault_4k", "workers_refault_4k")
PAGE_BYTES = 4096
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
        self.copied = []
        self.latencies = []

    def add(self, run):
        if run["run_type"] == "failure":
            self.errors.append(run["error"])
        elif run["run_type"] == "moved":
            self.moved.append((run["moved"], run["of"]))
        elif run["run_type"] == "copied":
            self.copied.append((run["copied"], run["of"]))
        elif run["run_type"] == "latency":
            self.latencies = sorted(zip(run["ns"], run["counts"]))
        elif run["run_type"] == "count":
            self.allocs.append(run["allocs"])
            self.bytes.append(run["bytes"])
        elif run["run_type"] == "iteration":
            self.costs.append(run["cost"] if "cost" in run else 1e9 / run["items_per_second"])
            if "allocs" in run:
                self.allocs.append(run["allocs"])
            if "bytes" in run:
                self.bytes.append(run["bytes"])

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
        if side not in SIDES:
            sys.exit(f"ratios.py: {path}: {side} is no side")
        found.setdefault((workload, int(size)), {}).setdefault(side, Side()).add(run)
    return results["context"], found


def want_both(found):
    for (workload, size), sides in found.items():
        if not set(BOTH) <= set(sides):
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
            theirs, mine = (percentile(sides[name].latencies, percent) for name in BOTH)
            yield {**row, "kernel": theirs[0], "ours": mine[0], "ratio": theirs[0] / mine[0],
                   "low": theirs[1] / mine[2], "high": theirs[2] / mine[1]}


def about(name, side):
    """What a row says of one side."""
    yield name, side.cost()
    if side.costs:
        yield f"{name}_best", min(side.costs)
    yield f"{name}_allocs", median_or_none(side.allocs)
    yield f"{name}_bytes", median_or_none(side.bytes)
    if side.errors:
        yield f"{name}_error", side.errors[0]
    for what in ("moved", "copied"):
        if getattr(side, what):
            number, of = getattr(side, what)[-1]
            yield f"{name}_{what}", number
            yield f"{what}_of", of


def compared(slow, fast, prefix=""):
    """The fields of a row that say how many times as fast the one is; none if nobody can tell."""
    if slow.cost() is None or fast.cost() is None:
        return {}
    low, high = interval(slow.costs, fast.costs)
    if low <= 0 or high == math.inf:
        return {}
    return {f"{prefix}ratio": slow.cost() / fast.cost(), f"{prefix}low": low,
            f"{prefix}high": high}


def judge(found):
    for (workload, size), sides in sorted(found.items()):
        row = {"workload": workload, "size": size}
        for name, side in sides.items():
            row.update(about(name, side))
        row.update(compared(sides["kernel"], sides["ours"]))
        if THIRD in sides:
            row.update(compared(sides["kernel"], sides[THIRD], f"{THIRD}_"))
        if MAPLE in sides:
            row.update(compared(sides[MAPLE], sides["ours"], f"{MAPLE}_"))
        yield row


def cell(row, side):
    if f"{side}_error" in row:
        return f"fails: {row[f'{side}_error']}"
    return "" if row.get(side) is None else f"{row[side]:.1f}"


def ratio_cells(row, prefix=""):
    if f"{prefix}ratio" not in row:
        return " | "
    return f"{row[f'{prefix}ratio']:.2f} | {row[f'{prefix}low']:.2f} to {row[f'{prefix}high']:.2f}"


def counts(row, what):
    """Of the sides that there are; nothing if it was not counted on both."""
    values = [row.get(f"{side}_{what}") for side in LIBRARIES if side in row]
    if None in values[:len(BOTH)]:
        return ""
    return " / ".join(f"{value:.4g}" for value in values if value is not None)


def columns(rows, unit, size):
    """(head, alignment, what is in it of a row) of each column."""
    yield "workload", "---", lambda row: row["workload"]
    yield size, "---:", lambda row: str(row["size"])
    yield f"kernel, {unit}", "---:", lambda row: cell(row, "kernel")
    yield f"ours, {unit}", "---:", lambda row: cell(row, "ours")
    yield "times as fast | 95 %", "---:|---", ratio_cells
    if any(THIRD in row for row in rows):
        yield f"extended, {unit}", "---:", lambda row: cell(row, THIRD)
        yield "times as fast | 95 %", "---:|---", lambda row: ratio_cells(row, f"{THIRD}_")
    yield "allocations", "---", lambda row: counts(row, "allocs")
    if any(row["ours_bytes"] is not None for row in rows):
        yield "bytes", "---", lambda row: counts(row, "bytes")
    if any(MAPLE in row for row in rows):
        yield f"maple tree, {unit}", "---:", lambda row: cell(row, MAPLE)
        yield ("ours is so many times as fast | 95 %", "---:|---",
               lambda row: ratio_cells(row, f"{MAPLE}_"))


def table(rows, unit, size):
    heads, alignments, cells = zip(*columns(rows, unit, size))
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join(alignments)}|"
    for row in rows:
        yield f"| {' | '.join(cell_of(row) for cell_of in cells)} |"
    for row in rows:
        yield from sentences(row)


def sentences(row):
    name = f"{row['workload']} of {row['size']}"
    of_each = {what: ", ".join(f"{WHOSE[side]} {row[f'{side}_{what}']}" for side in LIBRARIES
                               if f"{side}_{what}" in row)
               for what in ("moved", "copied")}
    if of_each["moved"]:
        yield f"\n{name}: of {row['moved_of']} pages there moved: {of_each['moved']}."
    if of_each["copied"]:
        yield f"\n{name}: for {row['copied_of']} pages there were copied: {of_each['copied']}."


def rates(rows):
    """How much that is in a second, of what is counted in that: pages that move, and faults."""
    for row in rows:
        workload = row["workload"]
        if workload.endswith("_but_copy"):
            continue
        if workload.startswith(PAGES):
            unit, amount = "GB/s", PAGE_BYTES
        elif workload.startswith(FAULTS):
            unit, amount = "faults/s", 1e9
        else:
            continue
        yield {"workload": workload, "size": row["size"], "unit": unit,
               **{side: amount / row[side] for side in LIBRARIES if row.get(side)}}


def rates_table(rows, size):
    if not rows:
        return
    yield f"\n| in a second | {size} | kernel | ours | extended |"
    yield "|---|---:|---:|---:|---:|"
    for row in rows:
        precision = ".2f" if row["unit"] == "GB/s" else ".0f"
        values = (f"{row[side]:{precision}} {row['unit']}" if side in row else ""
                  for side in LIBRARIES)
        yield f"| {row['workload']} | {row['size']} | {' | '.join(values)} |"


def scaling(rows):
    """How many times the throughput of one worker several have, of each side, at their best: what
    takes a CPU away from them for a while makes them slower, and nothing makes them faster."""
    costs = {(row["workload"], row["size"]): row for row in rows
             if row["workload"].startswith("workers_")}
    for (workload, size), row in costs.items():
        one = costs.get((workload, 1))
        if size == 1 or not one:
            continue
        yield {"workload": workload, "workers": size,
               **{side: one[f"{side}_best"] / row[f"{side}_best"] for side in LIBRARIES
                  if None not in (one.get(side), row.get(side))}}


def scaling_table(rows):
    if not rows:
        return
    yield "\n| times the throughput of one worker | workers | kernel | ours | extended |"
    yield "|---|---:|---:|---:|---:|"
    for row in rows:
        values = (f"{row[side]:.2f}" if side in row else "" for side in LIBRARIES)
        yield f"| {row['workload']} | {row['workers']} | {' | '.join(values)} |"


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
    scaled, rated = [], []
    if rows:
        lines = [*latency_table(rows, arguments.unit, arguments.size)]
    else:
        rows = list(judge(found))
        scaled = list(scaling(rows))
        rated = list(rates(rows)) if arguments.unit == "ns" else []
        lines = [*table(rows, arguments.unit, arguments.size),
                 *rates_table(rated, arguments.size), *scaling_table(scaled)]
    print("\n".join(lines))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"context": context, "unit": arguments.unit, "rows": rows,
                       "rates": rated, "scaling": scaled}, file, indent=1)


if __name__ == "__main__":
    main()

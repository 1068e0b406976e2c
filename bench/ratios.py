#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""ratios.py RESULTS.json [--json FILE]

What Google Benchmark has measured of both sides, as ratios: how many times as fast ours is.
RESULTS.json has each workload of both sides several times, in random order; names are
WORKLOAD/SIDE/MAPPINGS, sides `kernel` and `ours`.

A time is the median over the repetitions, a ratio that of the medians, and what stands behind it
the middle 95 % of the ratios that come of drawing repetitions again (bootstrap, B. Efron).
"""
import argparse
import json
import random
import statistics
import sys

SIDES = ("kernel", "ours")
DRAWS = 2000


def read(path):
    """{(workload, mappings): {side: ([ns an op], allocations an op)}}"""
    with open(path, encoding="utf-8") as file:
        results = json.load(file)
    found = {}
    for run in results["benchmarks"]:
        if run["run_type"] != "iteration":
            continue
        workload, side, mappings = run["run_name"].split("/")[:3]
        if side not in SIDES:
            sys.exit(f"ratios.py: {path}: {side} is no side")
        times, _ = found.setdefault((workload, int(mappings)), {}).setdefault(side, ([], []))
        times.append(1e9 / run["items_per_second"])
        found[workload, int(mappings)][side][1].append(run["allocs"])
    return results["context"], found


def interval(theirs, mine):
    draw = random.Random(1)
    ratios = sorted(
        statistics.median(draw.choices(theirs, k=len(theirs))) /
        statistics.median(draw.choices(mine, k=len(mine)))
        for _ in range(DRAWS))
    return ratios[DRAWS * 25 // 1000], ratios[DRAWS * 975 // 1000]


def judge(found):
    for (workload, mappings), sides in sorted(found.items()):
        if set(sides) != set(SIDES):
            sys.exit(f"ratios.py: {workload} with {mappings} mappings has one side only")
        theirs, mine = (sides[side][0] for side in SIDES)
        low, high = interval(theirs, mine)
        yield {
            "workload": workload,
            "mappings": mappings,
            "kernel_ns": statistics.median(theirs),
            "ours_ns": statistics.median(mine),
            "ratio": statistics.median(theirs) / statistics.median(mine),
            "low": low,
            "high": high,
            "kernel_allocs": statistics.median(sides["kernel"][1]),
            "ours_allocs": statistics.median(sides["ours"][1]),
        }


def table(rows):
    yield "| workload | mappings | kernel, ns | ours, ns | times as fast | 95 % | allocations |"
    yield "|---|---:|---:|---:|---:|---|---|"
    for row in rows:
        allocs = f"{row['kernel_allocs']:.3g} / {row['ours_allocs']:.3g}"
        yield (f"| {row['workload']} | {row['mappings']} | {row['kernel_ns']:.1f} | "
               f"{row['ours_ns']:.1f} | {row['ratio']:.2f} | {row['low']:.2f} to "
               f"{row['high']:.2f} | {allocs} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    context, found = read(arguments.results)
    rows = list(judge(found))
    print("\n".join(table(rows)))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"date": context["date"], "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()

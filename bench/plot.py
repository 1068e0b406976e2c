#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""plot.py RESULTS.json PLOTS.svg [--json FILE] [--unit NAME] [--size NAME] [--floor WORKLOAD]

How what an operation costs grows with the size of what it is done to: a panel for each workload of
RESULTS.json (ratios.py says what is in it) that was measured at several sizes, drawn by gnuplot.
Both scales are logarithmic: a cost that stays the same is a level line, one that grows with the
logarithm rises less and less, and one that grows with the size is parallel to the dotted line. What
does not fit into a cache any more rises as well: how much is told by a workload that does nothing
but read what it knows already, and is the dashed line of all panels (--floor).

A point is the median over the repetitions, and the band around it the middle 95 % of those that
come of drawing repetitions again. Prints, and writes to FILE, by how much a cost is multiplied when
a size is, by ten: 1 is flat, 10 is as the size. That is told by the straight line through the
logarithms that fits best (least squares), and for where it is most between sizes that are ten times
apart, or more.
"""
import argparse
import json
import math
import random
import statistics
import subprocess
import sys

# Running what is in the checkout leaves nothing behind in it.
sys.dont_write_bytecode = True

from ratios import BOTH, DRAWS, MAPLE, THIRD, middle, read  # noqa: E402

COLOURS = {**dict(zip(BOTH, ("#b03a2e", "#1f618d"))), THIRD: "#7d3c98", MAPLE: "#3d8b40"}
COLUMNS = 4
PANEL = (330, 260)


def point(size, costs):
    draw = random.Random(1)
    low, high = middle(statistics.median(draw.choices(costs, k=len(costs)))
                       for _ in range(DRAWS))
    return {"size": size, "cost": statistics.median(costs), "low": low, "high": high}


def curves(found):
    """{workload: {side: points}}, of what was measured at two sizes at least."""
    drawn = {}
    for (workload, size), sides in sorted(found.items()):
        for name, side in sides.items():
            # What has failed is no point, nor is a difference that came out as nothing.
            if (side.cost() or 0) > 0:
                drawn.setdefault(workload, {}).setdefault(name, []).append(point(size, side.costs))
    for sides in drawn.values():
        for name in [name for name, points in sides.items() if len(points) < 2]:
            del sides[name]
    return {workload: sides for workload, sides in drawn.items() if sides}


def steps(points):
    """Pairs that are ten times apart, or a little more; the ends, if there are none."""
    sizes = [at["size"] for at in points]
    for i, size in enumerate(sizes):
        far = [j for j in range(i + 1, len(sizes)) if sizes[j] >= 10 * size]
        if far:
            yield points[i], points[far[0]]
    if sizes[-1] < 10 * sizes[0]:
        yield points[0], points[-1]


def growth(points):
    """What ten times the size multiplies the cost by: on the whole, and where it is most."""
    def slope(step):
        less, more = step
        return math.log(more["cost"] / less["cost"]) / math.log(more["size"] / less["size"])

    steepest = max(steps(points), key=slope)
    line = statistics.linear_regression([math.log(at["size"]) for at in points],
                                        [math.log(at["cost"]) for at in points])
    return {"tenfold": 10 ** line.slope, "most": 10 ** slope(steepest),
            "most_from": steepest[0]["size"], "most_to": steepest[1]["size"]}


def rows_of(drawn):
    for workload, sides in drawn.items():
        for name in COLOURS:
            if name in sides:
                yield {"workload": workload, "side": name, "points": sides[name],
                       **growth(sides[name])}


def table(rows, size):
    names = [name for name in COLOURS if any(row["side"] == name for row in rows)]
    yield (f"| ten times the {size} cost | from | to | " +
           " | ".join(f"{name}, times as much" for name in names) + " | ours, at the most |")
    yield "|---|---:|---:|" + "---:|" * len(names) + "---|"
    by_workload = {}
    for row in rows:
        by_workload.setdefault(row["workload"], {})[row["side"]] = row
    for workload, sides in by_workload.items():
        points = next(iter(sides.values()))["points"]
        tenfold = [f"{sides[name]['tenfold']:.2f}" if name in sides else "" for name in names]
        most = ""
        if "ours" in sides:
            mine = sides["ours"]
            most = f"{mine['most']:.2f}, from {mine['most_from']} to {mine['most_to']}"
        yield (f"| {workload} | {points[0]['size']} | {points[-1]['size']} | " +
               " | ".join(tenfold) + f" | {most} |")


def panel(number, workload, sides, floor):
    """The commands of gnuplot for one workload."""
    every = [at for points in sides.values() for at in points]
    low = min(at["low"] if at["low"] > 0 else at["cost"] for at in every)
    bottom, high = low / 2, max(at["high"] for at in every)
    # What the curves mean is written above them.
    top = high * (high / bottom) ** 0.8
    first = sides.get("ours", next(iter(sides.values())))[0]
    left, right = (bound(at["size"] for at in every) for bound in (min, max))
    blocks = [(f"$linear{number}",
               [(first["size"], first["cost"]),
                (right, first["cost"] * right / first["size"])])]
    lines = [f"$linear{number} using 1:2 with lines dashtype 3 linecolor '#808080' "
             "title 'as the size'"]
    if floor:
        blocks.append((f"$floor{number}", [(at["size"], at["cost"]) for at in floor]))
        lines.append(f"$floor{number} using 1:2 with lines dashtype 2 linecolor '#808080' "
                     "title 'memory alone'")
    for name in COLOURS:
        if name not in sides:
            continue
        block = f"${name}{number}"
        # What is below nothing cannot be drawn.
        blocks.append((block, [(at["size"], at["cost"], max(at["low"], bottom), at["high"])
                               for at in sides[name]]))
        colour = f"linecolor '{COLOURS[name]}'"
        lines.append(f"{block} using 1:3:4 with filledcurves {colour} fillstyle transparent "
                     "solid 0.25 notitle")
        lines.append(f"{block} using 1:2 with linespoints {colour} pointtype 7 pointsize 0.4 "
                     f"title '{name}, x {growth(sides[name])['tenfold']:.2f}'")
    for block, rows in blocks:
        yield f"{block} << END"
        yield from (" ".join(f"{value:.6g}" for value in row) for row in rows)
        yield "END"
    yield f"set title '{workload}'"
    yield f"set xrange [{left}:{right}]"
    yield f"set yrange [{bottom:.6g}:{top:.6g}]"
    yield "plot " + ", \\\n  ".join(lines)


def script(drawn, unit, size, floor):
    floor = drawn[floor]["ours"] if floor else []
    rows = math.ceil(len(drawn) / COLUMNS)
    width, height = PANEL[0] * min(COLUMNS, len(drawn)), PANEL[1] * rows + 40
    yield (f"set terminal svg size {width},{height} font 'sans-serif,11' "
           "background '#ffffff' noenhanced")
    yield (f"set multiplot layout {rows},{min(COLUMNS, len(drawn))} "
           f"title '{unit} an operation, by {size}; beside a name, what ten times as many cost'")
    yield "set logscale xy\nset format '%.0s%c'\nset key left top samplen 2\nset grid"
    for number, (workload, sides) in enumerate(drawn.items()):
        yield from panel(number, workload, sides, floor)
    yield "unset multiplot"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("results")
    parser.add_argument("plots")
    parser.add_argument("--json")
    parser.add_argument("--unit", default="ns")
    parser.add_argument("--size", default="mappings", help="what the sizes are")
    parser.add_argument("--floor", help="the workload that shows what memory alone costs")
    arguments = parser.parse_args()
    drawn = curves(read(arguments.results)[1])
    if not drawn:
        sys.exit(f"plot.py: {arguments.results} has no workload of several sizes")
    commands = "\n".join(script(drawn, arguments.unit, arguments.size, arguments.floor)) + "\n"
    with open(arguments.plots, "wb") as file:
        subprocess.run(["gnuplot"], input=commands.encode(), stdout=file, check=True)
    rows = list(rows_of(drawn))
    print("\n".join(table(rows, arguments.size)))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"unit": arguments.unit, "size": arguments.size, "rows": rows}, file,
                      indent=1)


if __name__ == "__main__":
    main()

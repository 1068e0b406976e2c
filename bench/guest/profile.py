#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""profile.py DIRECTORY [WORKLOAD/SIZE...] [--top N] [--items N] [--outside] [--ratios FILE]

Which functions the instructions of a workload are spent in, on both sides, for one item, or for so
many as 512, which are the pages of a huge one. DIRECTORY is what bench/guest.sh profile left:
compare.json, blocks (of profile_plugin.c), kallsyms, and core_mm, a list of functions. Without a
workload, says of each how much of it is spent in which module, and outside core mm: what
hmm_range_fault(), migrate_vma_setup(), the copying of pages and the program that touches them take
is the same on both sides and nobody's merit. --outside leaves that out of the functions as well.
--ratios makes one table of that, and writes it in the form of bench/ratios.py.

A block counts for the function that it begins in.
"""
import argparse
import bisect
import collections
import json
import os
import re
import sys

SIDES = ("kernel", "ours")
# Where user space ends.
KERNEL = 1 << 63
USER_SPACE = ("user space", "")
# The plain driver's modules, which is the same over both libraries, but for how often it is called.
DRIVER = "[drm_svm_plain"


class Symbols:
    def __init__(self, path):
        self.symbols = []
        with open(path, encoding="utf-8") as file:
            for line in file:
                address, kind, name, *module = line.split()
                if kind in "tTwW":
                    self.symbols.append((int(address, 16), name, module[0] if module else ""))
        self.symbols.sort()
        self.starts = [address for address, _, _ in self.symbols]

    def find(self, address):
        """(function, module) of an address."""
        if address < KERNEL:
            return USER_SPACE
        index = bisect.bisect_right(self.starts, address) - 1
        return self.symbols[index][1:] if index >= 0 else ("?", "")


def read_sections(path, symbols):
    """{number: Counter of (function, module)}"""
    sections = {}
    blocks = collections.Counter()
    names = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            first, second = line.split()
            if first == "section":
                blocks = sections[int(second)] = collections.Counter()
                continue
            address = int(first, 16)
            if address not in names:
                names[address] = symbols.find(address)
            blocks[names[address]] += int(second)
    return sections


def read_workloads(path):
    """{workload/size: {side: (section, cost of an item)}}, of what is no part of another one."""
    with open(path, encoding="utf-8") as file:
        runs = json.load(file)["benchmarks"]
    workloads = {}
    for run in runs:
        workload, side, size = run["run_name"].split("/")
        # Without the copying it is the same section, and a difference is of two of them.
        if run["run_type"] == "iteration" and not re.search("_but_copy$|^invalidate", workload):
            workloads.setdefault(f"{workload}/{size}", {})[side] = run["section"], run["cost"]
    return workloads


def per_item(sections, section, cost):
    """What an item took, by function: the whole is what the clock said of it."""
    blocks = sections[section]
    total = sum(blocks.values())
    return {name: count * cost / total for name, count in blocks.items()}


def read_core_mm(path):
    with open(path, encoding="utf-8") as file:
        return set(file.read().split())


def outside_of(functions, core_mm):
    """What is neither core mm's nor the program's."""
    return {(name, module): count for (name, module), count in functions.items()
            if module or (name not in core_mm and (name, module) != USER_SPACE)}


def without_driver(functions):
    return {key: count for key, count in functions.items() if not key[1].startswith(DRIVER)}


def print_ratio(what, theirs, mine):
    theirs, mine = sum(theirs.values()), sum(mine.values())
    digits = 0 if theirs >= 200 else 1
    print(f"  {what}: kernel {theirs:.{digits}f}, ours {mine:.{digits}f}, "
          f"{mine / theirs:.2f} of it")


def print_outside(theirs, mine, core_mm):
    sides = [outside_of(side, core_mm) for side in (theirs, mine)]
    print_ratio("outside core mm", *sides)
    print_ratio("and the driver", *map(without_driver, sides))


def judge(sections, workloads, core_mm):
    """What is outside core mm, and the part of it that is not the driver's either."""
    for name, sides in workloads.items():
        workload, size = name.split("/")
        row = {"workload": workload, "size": int(size)}
        for side in SIDES:
            outside = outside_of(per_item(sections, *sides[side]), core_mm)
            row[side] = sum(outside.values())
            row[f"{side}_library"] = sum(without_driver(outside).values())
        row["ratio"] = row["kernel"] / row["ours"]
        row["library_ratio"] = row["kernel_library"] / row["ours_library"]
        yield row


def print_table(rows):
    print("| outside core mm, instructions | size | kernel | ours | times as few | "
          "without the driver | ours | times as few |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        counts = [f"{row[f'{prefix}{suffix}']:.{0 if row['kernel'] >= 200 else 1}f}"
                  for suffix in ("", "_library") for prefix in SIDES]
        print(f"| {row['workload']} | {row['size']} | {counts[0]} | {counts[1]} | "
              f"{row['ratio']:.2f} | {counts[2]} | {counts[3]} | {row['library_ratio']:.2f} |")


def modules_of(functions):
    sums = collections.Counter()
    for (_, module), count in functions.items():
        sums[module.strip("[]") or "kernel"] += count
    return sums


def print_modules(sections, workloads, core_mm):
    for name, sides in workloads.items():
        print(name)
        functions = [per_item(sections, *sides[side]) for side in SIDES]
        for side, of_side in zip(SIDES, functions):
            sums = modules_of(of_side)
            parts = ", ".join(f"{module} {count:.0f}" for module, count in sums.most_common(5))
            print(f"  {side:6}  {sum(sums.values()):9.0f}: {parts}")
        print_outside(*functions, core_mm)


def print_functions(name, functions, items, top):
    names = set(functions["kernel"]) | set(functions["ours"])
    difference = {name: functions["ours"].get(name, 0) - functions["kernel"].get(name, 0)
                  for name in names}
    what = "an item" if items == 1 else f"{items} items"
    print(f"{name}: instructions {what}, largest differences first")
    print(f"{'kernel':>9} {'ours':>9} {'more':>9}")
    for key in sorted(names, key=lambda key: -abs(difference[key]))[:top]:
        print(f"{functions['kernel'].get(key, 0):9.1f} {functions['ours'].get(key, 0):9.1f} "
              f"{difference[key]:9.1f}  {key[0]} {key[1]}")
    print(f"{sum(functions['kernel'].values()):9.1f} {sum(functions['ours'].values()):9.1f} "
          f"{sum(difference.values()):9.1f}  in all")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("directory")
    parser.add_argument("workload", nargs="*")
    parser.add_argument("--top", type=int, default=30)
    parser.add_argument("--items", type=int, default=1)
    parser.add_argument("--outside", action="store_true")
    parser.add_argument("--ratios")
    arguments = parser.parse_intermixed_args()
    path = lambda name: os.path.join(arguments.directory, name)  # noqa: E731
    workloads = read_workloads(path("compare.json"))
    sections = read_sections(path("blocks"), Symbols(path("kallsyms")))
    core_mm = read_core_mm(path("core_mm"))
    if arguments.ratios:
        rows = list(judge(sections, workloads, core_mm))
        print_table(rows)
        with open(arguments.ratios, "w", encoding="utf-8") as file:
            json.dump({"unit": "instructions outside core mm", "rows": rows}, file, indent=1)
    elif not arguments.workload:
        print_modules(sections, workloads, core_mm)
    for name in arguments.workload:
        if name not in workloads:
            sys.exit(f"profile.py: there is no {name}; known are: {', '.join(workloads)}")
        functions = {}
        for side in SIDES:
            section, cost = workloads[name][side]
            functions[side] = per_item(sections, section, cost * arguments.items)
            if arguments.outside:
                functions[side] = outside_of(functions[side], core_mm)
        print_functions(name, functions, arguments.items, arguments.top)


if __name__ == "__main__":
    main()

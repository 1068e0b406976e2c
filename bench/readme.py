#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""readme.py FIGURES.json README.md

Puts what `make bench-full` has measured (build/bench/figures.json) into the tables of the README,
each of which stands below a line `<!-- bench/readme.py: NAME -->`, and the day and the version of
the kernel into the sentence that begins with "`make bench-full` of". What the text around them says
of figures is the author's to look through.
"""
import argparse
import json
import pathlib
import re
import sys

MARK = "<!-- bench/readme.py: {} -->"
SLOWEST = 99.9

# What is measured in user space: (label, file, workload, field). A field of (kernel's, ours) is two
# numbers, and any other a ratio.
BYTES = ("kernel_bytes", "ours_bytes")
BY_SIZE = {
    "va": ("GPU VA manager, by mappings", (100, 10_000, 1_000_000), (
        ("find", "va", "find", "ratio"),
        ("see that nothing is there", "va", "find_hole", "ratio"),
        ("insert", "va", "insert", "ratio"),
        ("remove", "va", "remove", "ratio"),
        ("replace at random, by callbacks", "va", "replace", "ratio"),
        ("replace at random: `drm_svm_gpuva_replace()` against callbacks", "va", "replace_whole",
         "ratio"),
        ("replace 64 KiB in order, by callbacks", "va", "replace_sparse", "ratio"),
        ("the same with `drm_svm_gpuva_replace()`", "va", "replace_whole_sparse", "ratio"),
        ("a list of steps that split (1 allocation; 6 there)", "va", "split_list", "ratio"),
        ("walk", "va", "walk", "ratio"),
        ("find, in ascending order", "va", "find_ascending", "ratio"),
        ("bytes of index for a mapping, kernel's / ours", "va", "insert", BYTES),
        ("find, against the kernel's maple tree", "va", "find", "maple_ratio"),
        ("see that nothing is there, against the kernel's maple tree", "va", "find_hole",
         "maple_ratio"),
        ("find, in ascending order, against the kernel's maple tree", "va", "find_ascending",
         "maple_ratio"),
        ("insert, against the kernel's maple tree", "va", "insert", "maple_ratio"),
        ("remove, against the kernel's maple tree", "va", "remove", "maple_ratio"),
        ("walk, against the kernel's maple tree", "va", "walk", "maple_ratio"),
        ("insert, slowest of 1000", "latency", "insert", "ratio"),
        ("replace by callbacks, slowest of 1000", "latency", "replace", "ratio"),
        ("`drm_svm_gpuva_replace()`, slowest of 1000", "latency", "replace_whole", "ratio"),
    )),
    "svm": ("GPU SVM, by ranges", (512, 16_384, 131_072, 1_048_576), (
        ("window and range of an address", "svm", "svm_find", "ratio"),
        ("the same in ascending order", "svm", "svm_find_ascending", "ratio"),
        ("find or insert, the range is there", "svm", "svm_fault", "ratio"),
        ("insert", "svm", "svm_insert", "ratio"),
        ("remove", "svm", "svm_remove", "ratio"),
    )),
}

# Instructions in the guest: (label, workload, size, whether what is outside of core mm is told).
GUEST = (
    ("GPU fault in 4 KiB that nobody has touched", "fault_absent", 4, True),
    ("the same in 2 MiB", "fault_absent", 2048, True),
    ("GPU fault in 4 KiB that the CPU has", "fault_present", 4, True),
    ("the same in 64 KiB", "fault_present", 64, True),
    ("the same in 2 MiB of 4 KiB pages", "fault_present", 2048, True),
    ("the same in a huge page", "fault_present_huge", 2048, True),
    ("GPU fault in 4 KiB after an invalidation", "refault", 4, True),
    ("the same in 64 KiB", "refault", 64, True),
    ("the same in 2 MiB of 4 KiB pages", "refault", 2048, True),
    ("the same in a huge page", "refault_huge", 2048, True),
    ("GPU fault in 2 MiB of scattered 4 KiB pages that the CPU has", "fault_present_scattered",
     2048, True),
    ("the same after an invalidation", "refault_scattered", 2048, True),
    ("invalidation of one of 10 000 ranges", "invalidate_one", 10_000, False),
    ("to VRAM, a 4 KiB page of 2 MiB", "to_device", 2048, True),
    ("evicted, the same", "evict", 2048, True),
    ("back for the CPU, the same", "cpu_return", 2048, True),
    ("to VRAM, a 4 KiB page of 2 MiB, scattered", "to_device_scattered", 2048, True),
    ("evicted, the same", "evict_scattered", 2048, True),
    ("back for the CPU, the same", "cpu_return_scattered", 2048, True),
    ("to VRAM, a 4 KiB page of 64 KiB", "to_device", 64, True),
    ("evicted, the same", "evict", 64, True),
    ("back for the CPU, the same", "cpu_return", 64, True),
    ("to VRAM, a 4 KiB page of 256 MiB", "to_device", 262_144, False),
    ("evicted, the same", "evict", 262_144, False),
    ("back for the CPU, the same", "cpu_return", 262_144, False),
    ("to VRAM, a page of a huge one of 2 MiB", "to_device_huge", 2048, True),
    ("evicted, the same", "evict_huge", 2048, True),
    ("back for the CPU, the same", "cpu_return_huge", 2048, True),
    ("to VRAM, a page of huge ones of 16 MiB", "to_device_huge", 16_384, True),
    ("evicted, the same", "evict_huge", 16_384, True),
    ("back for the CPU, the same", "cpu_return_huge", 16_384, True),
    ("a CPU access to 64 KiB in VRAM", "cpu_first_access", 64, True),
    ("the same to 16 MiB", "cpu_first_access", 16_384, True),
    ("a list of steps that split a mapping, 100 there", "va_split_list", 100, True),
    ("the same, 1 000 000 there", "va_split_list", 1_000_000, False),
    ("replace a mapping by callbacks, 10 000 there", "va_replace", 10_000, True),
    ("the same, 1 000 000 there", "va_replace", 1_000_000, False),
)

WORKERS = (
    ("GPU faults in 4 KiB, new ranges", "workers_fault_4k"),
    ("the same, ranges are there", "workers_refault_4k"),
    ("GPU faults in 2 MiB, new ranges", "workers_fault_2m"),
    ("2 MiB to VRAM before the GPU asks", "workers_prefetch_huge"),
    ("GPU faults that take 2 MiB to VRAM", "workers_move_huge"),
)


class Figures:
    """Rows by what they are of."""

    def __init__(self, path):
        whole = json.loads(path.read_text(encoding="utf-8"))
        self.date, self.kernel = whole["date"][:10], whole["kernel"]
        self.rows, self.scaling = {}, {}
        for name, figure in whole["figures"].items():
            for row in figure.get("ratios", {}).get("rows", []):
                if row.get("percentile", SLOWEST) == SLOWEST:
                    self.rows[name, row["workload"], row["size"]] = row
            for row in figure.get("ratios", {}).get("scaling", []):
                self.scaling[row["workload"], row["workers"]] = row

    def row(self, *key):
        if key not in self.rows:
            sys.exit(f"readme.py: there is no {'/'.join(map(str, key))}; are these the figures of "
                     "`make bench-full`?")
        return self.rows[key]

    def worker(self, workload):
        if (workload, 2) not in self.scaling:
            sys.exit(f"readme.py: there are no two workers of {workload}")
        return self.scaling[workload, 2]


def ratio(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def number(value):
    return f"{value:,}".replace(",", " ")


def lines(heads, rows):
    """A table whose first column is of words."""
    yield f"| {' | '.join(heads)} |"
    yield "|---" + "|---:" * (len(heads) - 1) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def by_size(figures, name):
    head, sizes, rows = BY_SIZE[name]

    def cell(file, workload, size, field):
        row = figures.row(file, workload, size)
        if field is BYTES:
            return " / ".join(f"{row[side]:.0f}" for side in BYTES)
        return ratio(row[field])

    return lines((head, *map(number, sizes)),
                 ((label, *(cell(file, workload, size, field) for size in sizes))
                  for label, file, workload, field in rows))


def guest(figures):
    def cells(workload, size, is_told):
        row = figures.row("guest-count", workload, size)
        outside = figures.row("outside", workload, size) if is_told else None
        return (f"{row['kernel']:.0f}", f"{row['ours']:.0f}", ratio(row["ratio"]),
                ratio(outside["ratio"]) if outside else "",
                ratio(outside["library_ratio"]) if outside else "")

    return lines(("in the guest, instructions", "kernel's", "ours", "times as few",
                  "outside core mm", "and the driver"),
                 ((label, *cells(*what)) for label, *what in GUEST))


def workers(figures):
    sides = ("kernel", "ours", "extended")
    return lines(("two workers", "kernel's", "ours, the same driver", "extended"),
                 ((label, *(f"{figures.worker(workload)[side]:.2f}" for side in sides))
                  for label, workload in WORKERS))


def replace_table(text, name, table):
    """The table below the mark is exchanged; without a mark it is an error."""
    mark = MARK.format(name)
    if mark not in text:
        sys.exit(f"readme.py: the README has no line {mark}")
    head, tail = text.split(mark + "\n", 1)
    rest = re.sub(r"\A\n*(\|.*\n)*", "", tail)
    return f"{head}{mark}\n" + "".join(f"{line}\n" for line in table) + rest


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("figures", type=pathlib.Path)
    parser.add_argument("readme", type=pathlib.Path)
    arguments = parser.parse_args()
    figures = Figures(arguments.figures)
    text = arguments.readme.read_text(encoding="utf-8")
    for name in BY_SIZE:
        text = replace_table(text, name, by_size(figures, name))
    text = replace_table(text, "guest", guest(figures))
    text = replace_table(text, "workers", workers(figures))
    text = re.sub(r"(?<=`make bench-full` of )\S+(?=, against Debian's )", figures.date, text)
    text = re.sub(r"(?<=, against Debian's )\S+(?=,)", figures.kernel, text)
    arguments.readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

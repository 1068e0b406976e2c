#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Compare what the guest's tests say over the kernel's own library and over ours.

  plain.py [--strict] LIST PROGRAMS KERNEL OURS
                                judge two directories of KTAP, one file a program
  plain.py --run LIST PROGRAMS  print the programs that are to be run

KERNEL and OURS are what scripts/guest/job-plain left of the same driver over each library.
PROGRAMS is tests/guest/programs.txt. Prints TAP. What passes over the kernel's has to pass over
ours. What does not is beyond mainline, and LIST has it with the reason:

  # The reason, above the cases that it is about; an empty line ends a group.
  fails PROGRAM: CASE       it fails over the kernel's library
  sometimes PROGRAM: CASE   it may fail there: a race decides
  never PROGRAM: CASE       it is not run, over either: the machine would not survive it
  whole PROGRAM             is not run at all

A list that is wrong is a failure too: a case on it that there is not or, with --strict, that passes,
and with --strict a case that fails over the kernel's library and is not on it. Without, these are
told: what another library does on a slow machine is no fault of ours.
"""

import argparse
import os
import sys
from dataclasses import dataclass, field

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ktap  # noqa: E402

WORDS = ("fails", "sometimes", "never", "whole")


@dataclass
class Group:
    """Entries with one reason: (word, program, case)."""

    reason: str = ""
    entries: list = field(default_factory=list)


def read_list(lines):
    """The groups of a list. A comment without entries below it is about the list itself."""
    groups, group, seen = [], Group(), set()
    for number, line in enumerate([*lines, ""], 1):
        line = line.strip()
        if not line:
            if group.entries:
                groups.append(group)
            group = Group()
        elif line.startswith("#"):
            if group.entries:
                raise ValueError(f"line {number}: a reason comes before its entries")
            group.reason = f"{group.reason} {line.lstrip('# ')}".strip()
        else:
            word, _, rest = line.partition(" ")
            program, _, case = rest.partition(": ")
            if word not in WORDS or not program or bool(case) == (word == "whole"):
                raise ValueError(f"line {number}: {line}: is no entry")
            if not group.reason:
                raise ValueError(f"line {number}: {line}: has no reason")
            if (program, case) in seen:
                raise ValueError(f"line {number}: {line}: is there twice")
            seen.add((program, case))
            group.entries.append((word, program, case))
    return groups


def read_programs(lines):
    """Programs and how many cases each has."""
    entries = (line.split() for line in lines if line.strip() and not line.startswith("#"))
    return {name.removeprefix("guest/"): int(count) for name, count in entries}


def to_run(groups, programs):
    whole = {program for g in groups for word, program, _ in g.entries if word == "whole"}
    return [program for program in programs if program not in whole]


class Comparison:
    """Results over both libraries: {program: {case: ktap.Case}}."""

    def __init__(self, groups, programs, kernel, ours, strict=False):
        self.strict = strict
        self.groups = groups
        self.programs = programs
        self.kernel = kernel
        self.ours = ours
        self.results = []  # (passed, what, why)
        self.listed = {(p, c): word for g in groups for word, p, c in g.entries}

    def _say(self, passed, what, why=""):
        self.results.append((passed, what, why))

    def run(self):
        for program in to_run(self.groups, self.programs):
            self._compare_program(program)
        for group in self.groups:
            self._check_group(group)
        return self.results

    def _compare_program(self, program):
        kernel, ours = self.kernel.get(program, {}), self.ours.get(program, {})
        never = sum(word == "never" and p == program for (p, _), word in self.listed.items())
        expected = self.programs[program] - never
        for where, results in (("the kernel's library", kernel), ("ours", ours)):
            if len(results) != expected:
                self._say(False, f"{program}: {expected} cases over {where}",
                          f"there are {len(results)}")
        for case in kernel:
            self._compare_case(program, case, kernel[case], ours.get(case))

    def _compare_case(self, program, case, kernel, ours):
        word = self.listed.get((program, case))
        name = f"{program}: {case}"
        if kernel.result == ktap.PASSED:
            passed = ours is not None and ours.result == ktap.PASSED
            why = "" if passed else "over the kernel's library it passes, over ours: " + (
                ours.detail or ours.result if ours else "no result")
            self._say(passed, name, why)
        elif kernel.result == ktap.SKIPPED:
            if ours and ours.result == ktap.FAILED:
                self._say(False, name, f"over ours: {ours.detail}")
        elif word is None:
            self._say(not self.strict, name,
                      "over the kernel's library, and it is not on the list: " + kernel.detail)

    def _check_group(self, group):
        wrong, passing = [], []
        count = better = 0
        for word, program, case in group.entries:
            if program not in self.programs:
                wrong.append(f"there is no {program}")
            elif word in ("fails", "sometimes"):
                count += 1
                kernel = self.kernel.get(program, {}).get(case)
                ours = self.ours.get(program, {}).get(case)
                better += ours is not None and ours.result == ktap.PASSED
                if kernel is None:
                    wrong.append(f"there is no {program}: {case}")
                elif word == "fails" and kernel.result != ktap.FAILED:
                    passing.append(f"{program}: {case} {kernel.result} over the kernel's library")
            elif word == "never" and case in self.kernel.get(program, {}):
                wrong.append(f"{program}: {case} was run")
        what = f"beyond mainline: {group.reason}"
        if count:
            what += f" ({count} cases, of which {better} pass over ours)"
        self._say(not wrong and not (passing and self.strict), what, "; ".join(wrong + passing))


def read_results(directory):
    """What is in a directory of KTAP; a line that fits no case becomes one that failed."""
    results = {}
    for file in sorted(os.listdir(directory)):
        program = file.removesuffix(".ktap")
        with open(os.path.join(directory, file), encoding="utf-8", errors="replace") as lines:
            cases = ktap.parse(lines.read().splitlines(), program)
        results[program] = {c.name.removeprefix(program + "/"): c for c in cases}
    return results


def print_tap(results):
    print("TAP version 13")
    print(f"1..{len(results)}")
    for number, (passed, what, why) in enumerate(results, 1):
        if why:
            print(f"# {why}")
        # A number sign would begin a directive.
        print(f"{'ok' if passed else 'not ok'} {number} - {what.replace('#', '')}")
    return 0 if results and all(passed for passed, _, _ in results) else 1


def main():
    parser = argparse.ArgumentParser(description="Compare test results over two libraries.")
    parser.add_argument("--run", action="store_true", help="print the programs to be run")
    parser.add_argument("--strict", action="store_true", help="the list has to be right to a case")
    parser.add_argument("list")
    parser.add_argument("programs")
    parser.add_argument("directory", nargs="*", help="results over the kernel's, and over ours")
    args = parser.parse_args()

    with open(args.list, encoding="utf-8") as file:
        groups = read_list(file.read().splitlines())
    with open(args.programs, encoding="utf-8") as file:
        programs = read_programs(file.read().splitlines())
    if args.run:
        print("\n".join(to_run(groups, programs)))
        return 0
    kernel, ours = (read_results(directory) for directory in args.directory)
    return print_tap(Comparison(groups, programs, kernel, ours, args.strict).run())


if __name__ == "__main__":
    sys.exit(main())

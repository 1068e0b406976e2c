#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Read KTAP (the kernel's Test Anything Protocol) and count its cases.

Nested results are understood as Documentation/dev-tools/ktap.rst describes
them: the lines of a subtest are indented and stand before the result line of
the test they belong to. Plain TAP 13 and 14 are a subset for our purposes.

What counts as a case is a result without results below it. What is missing is
a failure just as what failed: a plan with fewer results, a number out of
sequence, a suite without cases, subtests whose own result line never came (a
truncated log), and "Bail out!".

As a program:

  ktap.py read [--name NAME] [--status N] [--json FILE] [FILE]   count one stream
  ktap.py sum FILE...                                            add up JSON files
"""

import argparse
import json
import re
import sys
from dataclasses import dataclass, field

VERSION = re.compile(r"^(?:KTAP version|TAP version) \d+$")
PLAN = re.compile(r"^1\.\.(\d+)(?:\s+#\s*SKIP\b.*)?$", re.IGNORECASE)
RESULT = re.compile(r"^(ok|not ok)\b(?: (\d+))?(?: (?:- ?)?(.*?))?$")
DIRECTIVE = re.compile(r"(?:^|\s)#\s*(SKIP|TODO|XFAIL|TIMEOUT|ERROR)\b:?\s*(.*)$", re.IGNORECASE)
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass
class Case:
    """One result: its path from the top, how it ended, and why if it failed."""

    name: str
    result: str
    detail: str = ""

    def as_dict(self):
        return {"name": self.name, "result": self.result, "detail": self.detail}


@dataclass
class Level:
    """The results read so far at one depth of indentation."""

    indent: int
    header: bool = False  # a version line was printed
    plan: int = -1  # -1: none was printed
    count: int = 0  # result lines
    cases: list = field(default_factory=list)  # leaves at and below this depth
    notes: list = field(default_factory=list)  # other lines since the last result
    skip_all: bool = False


class Parser:
    """Feed it lines, then call finish() and read `cases`."""

    def __init__(self, name=""):
        self.name = name
        self.cases = []
        self._levels = []

    def feed(self, line):
        line = ANSI.sub("", line.rstrip("\r\n"))
        text = line.lstrip(" ")
        indent = len(line) - len(text)

        if text.startswith("Bail out!"):
            self._top_error(text)
        elif VERSION.match(text):
            self._open(indent)
        elif plan := PLAN.match(text):
            level = self._at(indent)
            if level.plan >= 0 and not level.indent:
                # A second plan at the top: another document without a header.
                self._open(indent)
                level = self._levels[-1]
            level.plan = int(plan.group(1))
            level.skip_all = "skip" in text.lower()
        elif (result := RESULT.match(text)) and (result[2] or result[1] == "not ok"):
            # A line that says "ok" without a number is prose.
            self._result(indent, *result.groups())
        elif self._levels and text:
            self._levels[-1].notes.append(text.lstrip("# "))

    def finish(self):
        """Close what is open; call it once, after the last line."""
        while len(self._levels) > 1:
            level = self._levels.pop()
            self._levels[-1].cases += level.cases
            self._top_error("the log ends inside a subtest")
        if self._levels:
            self._close_document()
        if not self.cases:
            self.cases.append(Case(self.name or "KTAP", FAILED, "no results at all"))
        return self.cases

    def _path(self, name):
        return f"{self.name}/{name}" if self.name else name

    def _top_error(self, why):
        self.cases.append(Case(self.name or "KTAP", FAILED, why))

    def _open(self, indent):
        """A version line: a new document at the top, or a subtest below it."""
        if indent == 0 or not self._levels:
            if self._levels:
                while len(self._levels) > 1:
                    self._levels.pop()
                    self._top_error("a new document starts inside a subtest")
                self._close_document()
            self._levels = [Level(indent, True)]
        else:
            self._at(indent).header = True

    def _at(self, indent):
        """The level of this indentation, opened if it is deeper than all others."""
        if not self._levels:
            self._levels.append(Level(indent))
        while len(self._levels) > 1 and self._levels[-1].indent > indent:
            # A shallower line that is no result of ours: the subtest broke off.
            level = self._levels.pop()
            self._levels[-1].cases += level.cases
            self._top_error("a subtest has no result line of its own")
        if self._levels[-1].indent < indent:
            self._levels.append(Level(indent))
        return self._levels[-1]

    def _result(self, indent, word, number, rest):
        rest = rest or ""
        child = None
        if self._levels and self._levels[-1].indent > indent:
            child = self._levels.pop()
            while self._levels and self._levels[-1].indent > indent:
                # Two depths end at once: the inner one had no result line.
                child.cases.append(Case(self._path(rest), FAILED, "a nested subtest broke off"))
                outer = self._levels.pop()
                outer.cases += child.cases
                child = outer
            if not self._levels:
                self._levels.append(Level(indent))
        level = self._at(indent)
        level.count += 1

        directive, reason = "", ""
        if found := DIRECTIVE.search(rest):
            directive, reason = found.group(1).upper(), found.group(2)
            rest = rest[: found.start()].rstrip()
        name = rest or f"test {number or level.count}"
        if number and len(self._levels) > 1 and level.plan < 0 and not level.header:
            # The debugfs log of 6.1 keeps only the last result of a case that
            # has parameters. What failed before it shows in the case's own result.
            level.count = max(level.count, int(number))
        if number and int(number) != level.count:
            level.cases.append(Case(name, FAILED, f"is number {number}, but {level.count} was due"))

        skipped = directive in ("SKIP", "TODO", "XFAIL")
        failed = word == "not ok" and not skipped or directive in ("TIMEOUT", "ERROR")
        why = "; ".join(level.notes[-6:]) if failed else reason
        if child is not None:
            below = child.cases if skipped else self._close_level(child)
            for case in below:
                case.name = f"{name}/{case.name}" if case.name else name
            level.cases += below
            if failed and not any(c.result == FAILED for c in below):
                level.cases.append(Case(name, FAILED, why or "failed although its cases did not"))
            if skipped and not below:
                level.cases.append(Case(name, SKIPPED, why))
        else:
            result = FAILED if failed else SKIPPED if skipped else PASSED
            level.cases.append(Case(name, result, why))
        level.notes = []

    @staticmethod
    def _close_level(level):
        """The cases of a finished level, with what its plan says is missing."""
        cases = level.cases
        if level.plan >= 0 and level.plan != level.count:
            cases.append(Case("", FAILED, f"{level.plan} results were planned, {level.count} came"))
        elif level.count == 0 and not level.skip_all:
            cases.append(Case("", FAILED, "a suite without cases"))
        return cases

    def _close_document(self):
        level = self._levels.pop()
        if level.plan < 0:
            level.cases.append(Case("", FAILED, "no plan was printed"))
        for case in self._close_level(level):
            case.name = self._path(case.name) if case.name else self.name or "KTAP"
            self.cases.append(case)


def parse(lines, name=""):
    """The cases of one stream of lines."""
    parser = Parser(name)
    for line in lines:
        parser.feed(line)
    return parser.finish()


def summary(cases, **more):
    """What a result file holds."""
    count = lambda result: sum(c.result == result for c in cases)
    return {
        "passed": count(PASSED),
        "failed": count(FAILED),
        "skipped": count(SKIPPED),
        **more,
        "cases": [c.as_dict() for c in cases],
    }


def write_json(path, result):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")


def print_failures(cases, file=sys.stderr):
    for case in cases:
        if case.result == FAILED:
            print(f"FAILED {case.name}" + (f": {case.detail}" if case.detail else ""), file=file)
    for case in cases:
        if case.result == SKIPPED:
            print(f"skipped {case.name}" + (f": {case.detail}" if case.detail else ""), file=file)


def main():
    parser = argparse.ArgumentParser(description="Count the results of a KTAP or TAP stream.")
    commands = parser.add_subparsers(dest="command", required=True)
    read = commands.add_parser("read", help="count one stream")
    read.add_argument("--name", default="", help="prefix of each case")
    read.add_argument("--status", type=int, default=0, help="how the program ended that printed it")
    read.add_argument("--json", help="write the result there")
    read.add_argument("file", nargs="?", default="-")
    add = commands.add_parser("sum", help="add up JSON files of runs")
    add.add_argument("file", nargs="+")
    args = parser.parse_args()

    if args.command == "sum":
        passed = failed = 0
        for path in args.file:
            with open(path, encoding="utf-8") as file:
                result = json.load(file)
            passed += result["passed"]
            failed += result["failed"]
        print(f"{passed} passed, {failed} failed")
        return 1 if failed or not passed else 0

    if args.file == "-":
        lines = sys.stdin.read().splitlines()
    else:
        with open(args.file, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    cases = parse(lines, args.name)
    if args.status and not any(case.result == FAILED for case in cases):
        cases.append(Case(args.name, FAILED, f"ended with status {args.status}"))
    result = summary(cases)
    if args.json:
        write_json(args.json, result)
    print_failures(cases)
    return 1 if result["failed"] or not result["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())

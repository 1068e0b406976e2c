#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Say what of some sources was run, and list the lines that never were.

  coverage.py OBJECTS TOP DIRECTORY...

OBJECTS is where programs compiled with --coverage have left their counters, DIRECTORY a part
of the tree TOP. A line of a header or a template counts as run if any of its copies was.
"""

import glob
import gzip
import json
import os
import subprocess
import sys
import tempfile


def documents(objects):
    """What gcov says, a document for each object file."""
    notes = sorted(os.path.abspath(note) for note in glob.glob(os.path.join(objects, "*.gcno")))
    if not notes:
        sys.exit(f"coverage.py: {objects} holds nothing that was compiled with --coverage")
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(
            ["gcov", "--json-format", "--branch-probabilities", "--hash-filenames", *notes],
            cwd=directory,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for path in sorted(glob.glob(os.path.join(directory, "*.gz"))):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                yield json.load(file)


def collect(objects, top, directories):
    """For each file the counts of its lines, and of each branch of each line."""
    lines, branches = {}, {}
    for document in documents(objects):
        for source in document["files"]:
            path = os.path.join(document["current_working_directory"], source["file"])
            path = os.path.relpath(os.path.realpath(path), top)
            if not path.startswith(tuple(d.rstrip("/") + "/" for d in directories)):
                continue
            of_file = lines.setdefault(path, {})
            for line in source["lines"]:
                number = line["line_number"]
                of_file[number] = of_file.get(number, 0) + line["count"]
                for i, branch in enumerate(line["branches"]):
                    key = (path, number, i)
                    branches[key] = branches.get(key, 0) + branch["count"]
    return lines, branches


def spans(numbers, known):
    """Neighbours as one; a line without code in between does not part them."""
    result = []
    for number in sorted(numbers):
        if result and (
            number == result[-1][1] + 1
            or (number == result[-1][1] + 2 and number - 1 not in known)
        ):
            result[-1][1] = number
        else:
            result.append([number, number])
    return result


def percent(part, whole):
    return f"{100 * part / whole:.1f}% of {whole}" if whole else "none of 0"


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    objects, top, directories = sys.argv[1], os.path.realpath(sys.argv[2]), sys.argv[3:]
    lines, branches = collect(objects, top, directories)
    total = sum(len(of_file) for of_file in lines.values())
    reached = sum(count > 0 for of_file in lines.values() for count in of_file.values())

    print(
        f"coverage of {' '.join(directories)}: {percent(reached, total)} lines, "
        f"{percent(sum(count > 0 for count in branches.values()), len(branches))} branches"
    )
    for path in sorted(lines):
        missed = [number for number, count in lines[path].items() if not count]
        if not missed:
            continue
        with open(os.path.join(top, path), encoding="utf-8") as file:
            text = file.read().splitlines()
        for first, last in spans(missed, lines[path]):
            where = f"{path}:{first}" + (f"-{last}" if last != first else "")
            print(f"  never reached: {where}: {text[first - 1].strip()}")
    return 0 if total else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""figures.py DIRECTORY KERNEL

Puts all that ratios.py and plot.py have written there (NAME-ratios.json, NAME-growth.json) into
DIRECTORY/figures.json, with the time and the version of the kernel that ours was compared with:
{"date": ..., "kernel": ..., "figures": {NAME: {"ratios": ..., "growth": ...}}}.
"""
import argparse
import datetime
import json
import pathlib

KINDS = ("ratios", "growth")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("kernel")
    arguments = parser.parse_args()
    directory, figures = arguments.directory, {}
    for kind in KINDS:
        for path in sorted(directory.glob(f"*-{kind}.json")):
            name = path.name.removesuffix(f"-{kind}.json")
            figures.setdefault(name, {})[kind] = json.loads(path.read_text(encoding="utf-8"))
    whole = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
             "kernel": arguments.kernel, "figures": figures}
    (directory / "figures.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

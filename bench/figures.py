#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""figures.py DIRECTORY

Puts all that ratios.py and plot.py have written there (NAME-ratios.json, NAME-growth.json) into
DIRECTORY/figures.json: {NAME: {"ratios": ..., "growth": ...}}.
"""
import argparse
import json
import pathlib

KINDS = ("ratios", "growth")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("directory", type=pathlib.Path)
    directory = parser.parse_args().directory
    figures = {}
    for kind in KINDS:
        for path in sorted(directory.glob(f"*-{kind}.json")):
            name = path.name.removesuffix(f"-{kind}.json")
            figures.setdefault(name, {})[kind] = json.loads(path.read_text(encoding="utf-8"))
    (directory / "figures.json").write_text(json.dumps(figures, indent=1) + "\n",
                                            encoding="utf-8")


if __name__ == "__main__":
    main()

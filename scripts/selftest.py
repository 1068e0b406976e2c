#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR MIT
"""Run the tests of the Python scripts, here and in bench/; prints TAP."""

import os
import sys
import unittest

sys.dont_write_bytecode = True


class Tap(unittest.TestResult):
    def _say(self, word, test, detail=""):
        for line in detail.splitlines():
            print(f"# {line}")
        print(f"{word} {self.testsRun} - {test.id()}", flush=True)

    def addSuccess(self, test):
        self._say("ok", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._say("not ok", test, self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._say("not ok", test, self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        # The test that holds the subtest is reported once, so it speaks for it.
        if err:
            super().addSubTest(test, subtest, err)
            for line in (self.failures or self.errors)[-1][1].splitlines():
                print(f"# {line}")
            self._broken = test

    def stopTest(self, test):
        if getattr(self, "_broken", None) is test:
            self._say("not ok", test)
            self._broken = None


def main():
    scripts = os.path.dirname(os.path.abspath(__file__))
    tests = unittest.TestSuite()
    for directory in (scripts, os.path.join(scripts, "..", "bench")):
        # One loader a directory: it takes all tests to be below the first one.
        tests.addTests(unittest.TestLoader().discover(directory))
    print("TAP version 13")
    print(f"1..{tests.countTestCases()}")
    result = Tap()
    tests.run(result)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())

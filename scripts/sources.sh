#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# sources.sh [TREE]: print the files that a build of the modules needs, relative
# to the tree. Named by suffix, because a plain `make M=$PWD` leaves objects
# beside the sources.
set -euo pipefail

cd "${1:-$(dirname "$0")/..}"
printf '%s\n' Kbuild dkms.conf scripts/dkms-pre-build.sh scripts/probe.sh
find include src kunit -type f '(' -name '*.[ch]' -o -name '*.cc' -o -name '*.def' ')'

#!/usr/bin/env bash
# What the Python module of client/python is checked and built with, from PyPI, in a virtual
# environment of its own: $PGQ_WORK/python. A complete one of these versions is left alone.
set -euo pipefail
. "$(dirname "$0")/common.sh"

dest=$PGQ_WORK/python
wanted=$root/tests/env/python.txt
cmp -s "$wanted" "$dest/.complete" && exit 0
say "downloading psycopg, mypy and pytest"
rm -rf "$dest"
python3 -m venv "$dest" || die "python3 -m venv does not work; install python3-venv"
"$dest/bin/pip" install -q --disable-pip-version-check --no-deps -r "$wanted" ||
  die "cannot download from PyPI what $wanted names"
cp "$wanted" "$dest/.complete"
say "they are ready in $dest"

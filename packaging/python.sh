#!/usr/bin/env bash
# Make the wheel of the Python module, which is pure Python, in target/client.
# Usage: python.sh [DIRECTORY]
set -euo pipefail
. "$(dirname "$0")/../tests/env/common.sh"

into=$(realpath -m "${1:-$target/client}")
# setuptools builds in the directory of the sources.
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
cp -r "$root/client/python/"{pyproject.toml,README.md,skytools} "$root/LICENSE" "$source"
find "$source" -name __pycache__ -prune -exec rm -rf {} +
"$PGQ_WORK/python/bin/python" -m build --wheel --no-isolation --outdir "$into" "$source" \
  >"$source/log" 2>&1 || { cat "$source/log" >&2; die "the wheel cannot be built"; }
say "the wheel is in $into"

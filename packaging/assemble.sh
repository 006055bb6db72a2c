#!/usr/bin/env bash
# Assemble the install and upgrade scripts of one extension from its hand-written SQL.
# Usage: assemble.sh EXTENSION OUTDIR
#
# sql/EXTENSION/manifest is the table of contents, one entry a line, in order:
#   version V           version of the scripts
#   from V V …          released versions that the upgrade script starts from
#   install|upgrade|both FILE    FILE goes into the install script, the upgrade scripts or both
set -euo pipefail
. "$(dirname "$0")/../tests/env/common.sh"

ext=${1:?usage: assemble.sh EXTENSION OUTDIR}
out=${2:?usage: assemble.sh EXTENSION OUTDIR}
dir=$root/sql/$ext
[ -f "$dir/manifest" ] || die "no such extension: $dir/manifest is missing"
version=$(awk '$1 == "version" { print $2 }' "$dir/manifest")

# One script from the entries of the given kind; psql must not run it directly.
script() {
  printf '%s\n' "-- complain if the script is sourced in psql" "\\echo $2 \\quit" ""
  awk -v kind="$1" '$1 == kind || $1 == "both" { print $2 }' "$dir/manifest" |
    while read -r file; do
    printf '%s\n' "-- $file" ""
    cat "$dir/$file"
    printf '\n'
  done
}

mkdir -p "$out"
script install "Use \"CREATE EXTENSION $ext\" to load this file." >"$out/$ext--$version.sql"
for old in $(awk '$1 == "from" { $1 = ""; print }' "$dir/manifest"); do
  script upgrade "Use \"ALTER EXTENSION $ext UPDATE\" to load this file." \
    >"$out/$ext--$old--$version.sql"
done

#!/usr/bin/env bash
# Assemble the control file and the install and upgrade scripts of one extension from its
# hand-written SQL. Usage: assemble.sh EXTENSION OUTDIR
#
# sql/EXTENSION/manifest is the table of contents, one entry a line, in order:
#   version V           version of the scripts
#   from V V …          released versions that the upgrade script starts from
#   requires EXT V      an extension that it builds on, and its least version
#   install|upgrade|both FILE    FILE goes into the install script, the upgrade scripts or both
#
# FILE lies in sql/EXTENSION, or is each/NAME for what every extension has: in sql/each @EXTENSION@,
# @REQUIRED@ and @LEAST@ stand for the extension's name, what it requires, and its least version.
# What the manifest says, sql/EXTENSION/EXTENSION.control does not.
set -euo pipefail
. "$(dirname "$0")/../tests/env/common.sh"

ext=${1:?usage: assemble.sh EXTENSION OUTDIR}
out=${2:?usage: assemble.sh EXTENSION OUTDIR}
dir=$root/sql/$ext
[ -f "$dir/manifest" ] || die "no such extension: $dir/manifest is missing"
version=$(awk '$1 == "version" { print $2 }' "$dir/manifest")
read -r required least < <(awk '$1 == "requires" { print $2, $3 }' "$dir/manifest") || true

# An entry of the manifest.
part() {
  case $1 in
    each/*)
      sed "s/@EXTENSION@/$ext/g; s/@REQUIRED@/$required/g; s/@LEAST@/$least/g" "$root/sql/$1"
      ;;
    *) cat "$dir/$1" ;;
  esac
}

# One script from the entries of the given kind; psql must not run it directly.
script() {
  printf '%s\n' "-- complain if the script is sourced in psql" "\\echo $2 \\quit" ""
  awk -v kind="$1" '$1 == kind || $1 == "both" { print $2 }' "$dir/manifest" |
    while read -r file; do
      printf '%s\n' "-- $file" ""
      part "$file"
      printf '\n'
    done
}

mkdir -p "$out"
{
  cat "$dir/$ext.control"
  echo "default_version = '$version'"
  [ -z "$required" ] || echo "requires = '$required'"
} >"$out/$ext.control"
script install "Use \"CREATE EXTENSION $ext\" to load this file." >"$out/$ext--$version.sql"
for old in $(awk '$1 == "from" { $1 = ""; print }' "$dir/manifest"); do
  script upgrade "Use \"ALTER EXTENSION $ext UPDATE\" to load this file." \
    >"$out/$ext--$old--$version.sql"
done

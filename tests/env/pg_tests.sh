#!/usr/bin/env bash
# Run the fence's own tests (pgq_ext/pg/tests) in a server of the private tree. Arguments go to the
# program of tests.
#
# pgrx-tests starts a server for them by itself. What it would have cargo-pgrx do, build and install
# the library, is done here before, by who may write to the tree; as root the program of tests then
# runs as somebody else, since PostgreSQL does not run as root.
set -euo pipefail
. "$(dirname "$0")/common.sh"

name=pgq_pg_tests
scratch=$PGQ_WORK/$name
export PGRX_PG_CONFIG_PATH=$(tree_bin ours)/pg_config

case "${1:-}" in
  # Called by cargo to run the program of tests. It is copied to where the user can reach it, and
  # so is what pgrx-tests wants of the manifest, the library's name.
  run)
    install -m 755 "$2" "$scratch/tests"
    printf '[package]\nname = "%s"\nversion = "0.0.0"\n[lib]\nname = "%s"\n' $name $name \
      >"$scratch/Cargo.toml"
    cd "$scratch"
    run_as env USER="$PGQ_RUN_AS" CARGO_MANIFEST_DIR="$scratch" CARGO_TARGET_DIR="$scratch" \
      CARGO_PGRX="$scratch/installed" CARGO_PGRX_TEST_PGDATA="$scratch/data" ./tests "${@:3}"
    exit ;;
esac

package=(--locked -p $name --no-default-features --features "pg$PG")
cargo build "${package[@]}" --lib
library=$target/debug/lib$name.so
extensions=$("$PGRX_PG_CONFIG_PATH" --sharedir)/extension
install -m 755 "$library" "$("$PGRX_PG_CONFIG_PATH" --pkglibdir)/$name.so.new"
mv "$("$PGRX_PG_CONFIG_PATH" --pkglibdir)/$name.so"{.new,}
cat >"$extensions/$name.control" <<END
comment = 'tests of the unsafe fence of PgQ'
default_version = '1'
module_pathname = '$name'
relocatable = false
END
# The tests are what has a wrapper of pgrx's.
{
  echo 'create schema tests;'
  nm -D --defined-only "$library" | sed -nE 's/.* T pg_finfo_(.*)_wrapper$/\1/p' |
  while read -r test; do
    echo "create function tests.\"$test\"() returns void"
    echo "  language c as 'MODULE_PATHNAME', '${test}_wrapper';"
  done
} >"$extensions/$name--1.sql"

rm -rf "$scratch"
install -d -o "$PGQ_RUN_AS" "$scratch"
printf '#!/bin/sh\n# In the place of cargo-pgrx: all is installed.\n' >"$scratch/installed"
chmod 755 "$scratch/installed"
# One after the other: they use the same names, and what one changes another would hear of.
runner="target.'cfg(unix)'.runner = ['$root/tests/env/pg_tests.sh', 'run']"
cargo test "${package[@]}" --lib --config "$runner" -- --test-threads=1 "$@"

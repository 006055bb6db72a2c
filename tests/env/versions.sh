#!/usr/bin/env bash
# Check that the extension compiles, without a warning, for every PostgreSQL version it supports.
# No server and no headers are needed: pgrx ships bindings for its documentation builds (cfg
# docsrs), and type checking takes those.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# As RUSTC_WRAPPER this script is called with rustc's command line.
if [ "${PGQ_AS_RUSTC:-}" = 1 ]; then
  case " $* " in
    *" --crate-name pgrx_pg_sys "*) exec "$@" --cfg docsrs ;;
    *) exec "$@" ;;
  esac
fi

export PGQ_AS_RUSTC=1 RUSTC_WRAPPER=$root/tests/env/versions.sh DOCS_RS=1
export CARGO_TARGET_DIR=$target/versions RUSTFLAGS="-D warnings"
for version in ${1:-13 14 15 16 17 18}; do
  say "PostgreSQL $version"
  cargo check --locked --quiet -p pgq_ext --no-default-features --features "pg$version"
  [ "$version" -lt 15 ] ||
    cargo check --locked --quiet -p walmgr_archive --no-default-features --features "pg$version"
done

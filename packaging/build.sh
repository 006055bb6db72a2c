#!/usr/bin/env bash
# Build the release for the server that PG_CONFIG describes, libraries and programs, into
# $CARGO_TARGET_DIR/built/MAJOR: several major versions lie side by side.
# Usage: build.sh PG_CONFIG
# A server without headers is built for with those of a private tree of its major version.
set -euo pipefail
. "$(dirname "$0")/../tests/env/common.sh"

pg_config=${1:?usage: build.sh PG_CONFIG}
command -v "$pg_config" >/dev/null ||
  die "PG_CONFIG=$pg_config is not a program; point it at the server's pg_config"
major=$("$pg_config" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
case $major in
  13 | 14 | 15 | 16 | 17 | 18) ;;
  *) die "$("$pg_config" --version) is not supported: it is 13 to 18" ;;
esac

headers=$pg_config
if [ ! -f "$("$pg_config" --includedir-server)/postgres.h" ]; then
  PG=$major "$root/tests/env/tree.sh" ours
  headers=$PGQ_WORK/pg/$major/ours/usr/lib/postgresql/$major/bin/pg_config
fi
cd "$root"
export CARGO_TARGET_DIR=$target
libraries=(-p pgq_ext --no-default-features --features "pgq_ext/pg$major")
# PostgreSQL has archive libraries since 15.
[ "$major" -lt 15 ] || libraries+=(-p walmgr_archive --features "walmgr_archive/pg$major")
PGRX_PG_CONFIG_PATH=$(command -v "$headers") cargo build --locked --release "${libraries[@]}"
cargo build --locked --release -p pgq_client -p walmgr -p walmgr_tls
# walmgr's small client, which is a workspace of its own.
case $(uname -s)-$(uname -m) in
  Linux-x86_64 | Linux-aarch64)
    cargo build --locked --release --manifest-path walmgr/push/Cargo.toml
    ;;
esac

built=$target/built/$major
mkdir -p "$built"
# The extension's library is the last: make takes it for the mark that all is there.
for file in libwalmgr_archive.so pgq walmgr-tls walmgr walmgr-push libpgq.so; do
  [ ! -e "$target/release/$file" ] || cp "$target/release/$file" "$built/"
done
[ "$major" -ge 15 ] || rm -f "$built/libwalmgr_archive.so"

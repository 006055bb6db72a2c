#!/usr/bin/env bash
# Check on x86-64 that everything compiles for aarch64, without a warning: the extension for each
# version of PostgreSQL, libraries and programs. walmgr's small client is also linked and, where
# there is an emulator, run. Nothing else is run.
#
# The standard library for aarch64 comes from Debian, and so does the compiler that it belongs to,
# which may be newer than ours. Crates with C in them need a C compiler: as root it is installed.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/suites.sh"

# As RUSTC_WRAPPER this script is called with rustc's command line. pgrx has bindings for its
# documentation, which need no headers: see versions.sh.
if [ "${PGQ_AS_RUSTC:-}" = 1 ]; then
  case " $* " in
    *" --crate-name pgrx_pg_sys "*) exec "$@" --cfg docsrs ;;
    *) exec "$@" ;;
  esac
fi

triple=aarch64-unknown-linux-gnu
rust=$PGQ_WORK/rust.arm64
if ! command -v aarch64-linux-gnu-gcc >/dev/null; then
  [ "$(id -u)" = 0 ] || die "missing packages; as root: apt-get install gcc-aarch64-linux-gnu"
  say "installing: gcc-aarch64-linux-gnu"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross >/dev/null
fi
if [ ! -e "$rust/.complete" ]; then
  (
    take_from forky arm64
    mapfile -t libraries < <(libraries_of rustc)
    unpack arm64 "$rust" rustc "${libraries[@]}"
    unpack arm64.there "$rust.there" libstd-rust-dev:arm64 libssl-dev:arm64
    cp -r "$rust.there/usr" "$rust/"
    rm -r "$rust.there"
  )
  settle "$rust" "$rust/usr/bin"
  touch "$rust/.complete"
fi

export RUSTC=$rust/usr/bin/rustc CARGO_TARGET_DIR=$target/arm64 RUSTFLAGS="-D warnings"
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
export CFLAGS_aarch64_unknown_linux_gnu=-I$rust/usr/include/aarch64-linux-gnu
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# Where its headers are; what is only checked is not linked.
export AARCH64_UNKNOWN_LINUX_GNU_OPENSSL_INCLUDE_DIR=$rust/usr/include
export AARCH64_UNKNOWN_LINUX_GNU_OPENSSL_LIB_DIR=$rust/usr/lib/aarch64-linux-gnu
check() { cargo check --locked --quiet --target "$triple" "$@"; }
say "with $("$RUSTC" --version), for $triple"
check -p pgq_client -p walmgr -p walmgr_tls
cargo build --locked --quiet --target "$triple" --manifest-path "$root/walmgr/push/Cargo.toml"
if command -v qemu-aarch64-static >/dev/null; then
  # Nobody to ask: it becomes the program beside it, with its arguments.
  beside=$(mktemp -d)
  cp "$CARGO_TARGET_DIR/$triple/debug/walmgr-push" "$beside/"
  printf '#!/bin/sh\nprintf "%%s;" "$@"\n' >"$beside/walmgr"
  chmod 755 "$beside/walmgr"
  said=$(qemu-aarch64-static "$beside/walmgr-push" --config /none archive-push pg_wal/0)
  rm -r "$beside"
  [ "$said" = "--config;/none;archive-push;pg_wal/0;" ] || die "walmgr-push on aarch64: $said"
  say "walmgr-push runs in an emulator"
fi
export PGQ_AS_RUSTC=1 RUSTC_WRAPPER=$root/tests/env/arm64.sh DOCS_RS=1
for version in ${1:-13 14 15 16 17 18}; do
  say "PostgreSQL $version"
  check -p pgq_ext --no-default-features --features "pg$version"
  [ "$version" -lt 15 ] ||
    check -p walmgr_archive --no-default-features --features "pg$version"
done

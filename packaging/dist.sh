#!/usr/bin/env bash
# The source, in target/dist: of a Debian package, skytools_V.orig.tar.xz from what is committed,
# skytools_V.orig-vendor.tar.xz with the crates, so that a build needs no network, and debian/ ready
# beside them in skytools-V/; for PGXN, pgq-V.zip with META.json. The same commit gives the same
# bytes.
# Usage: dist.sh [tree|bare]      tree: only skytools-V/, no tarballs; bare: and without the crates
set -euo pipefail
. "$(dirname "$0")/../tests/env/common.sh"

what=${1:-all}
cd "$root"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
dist=$target/dist
source=$dist/skytools-$version
rm -rf "$dist"
mkdir -p "$source"
git archive HEAD | tar -x -C "$source"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
# A zip has local times.
export SOURCE_DATE_EPOCH XZ_OPT=-T0 TZ=UTC

# pack NAME DIRECTORY...: relative to $dist, in an order and with times that do not depend on the
# machine.
pack() {
  local name=$1
  [ "$what" = all ] || return 0
  shift
  tar -C "$dist" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -cJf "$dist/$name" "$@"
}

pack "skytools_$version.orig.tar.xz" "skytools-$version"
[ "$what" != all ] || git archive --format=zip --prefix="pgq-$version/" \
  --add-file=packaging/META.json -o "$dist/pgq-$version.zip" HEAD
if [ "$what" != bare ]; then
  (cd "$source" && cargo vendor --locked --quiet --versioned-dirs \
    -s walmgr/push/Cargo.toml vendor >/dev/null)
  mv "$source/vendor" "$dist/vendor"
  pack "skytools_$version.orig-vendor.tar.xz" vendor
  mv "$dist/vendor" "$source/vendor"
fi
cp -r "$source/packaging/debian" "$source/debian"
"$source/packaging/copyright.py" "$source" >"$source/debian/copyright"
say "the source of the packages is in $dist"

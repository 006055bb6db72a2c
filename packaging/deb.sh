#!/usr/bin/env bash
# Build the Debian packages of this commit for the PostgreSQL versions of a Debian, into
# target/deb/SUITE. cargo is the one of the PATH.
# Usage: deb.sh [SUITE | --built DIR]
#   no SUITE     for this machine; as root, what Debian's tools need is installed
#   SUITE        for another Debian (trixie), in a container of it without a network; needs root
#   --built DIR  for this machine, of what lies in DIR (a debug build), into target/deb/here: to
#                test the packaging, not to be used
# A package's version says which Debian it is for: 4.0.0-1+deb12 is below 4.0.0-1+deb13.
set -euo pipefail
. "$(dirname "$0")/../tests/env/common.sh"

needed=(debhelper dpkg-dev libclang-dev libssl-dev pkg-config postgresql-server-dev-all)
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
here=$(. /etc/os-release && echo "${VERSION_CODENAME:-unknown}")
built=
suite=${1:-$here}
if [ "$suite" = --built ]; then
  built=$(realpath "${2:?usage: deb.sh --built DIR}")
  suite=here
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
source=$target/dist/skytools-$version
# Compiled crates, for the next build of the same suite.
compiled=$target/deb.cargo/$suite

# need_here PACKAGE...: installed, or to be.
need_here() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
      missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "missing packages; as root: apt-get install ${missing[*]}"
  say "installing: ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# What the build runs where it runs. Cargo need not be Debian's: what else is needed was looked at.
build='
  set -eu
  . /etc/os-release
  pg_buildext updatecontrol
  [ -z "${VERSION_ID:-}" ] || sed -i "1s/(\(.*\))/(\1+deb$VERSION_ID)/" debian/changelog
  dpkg-buildpackage -us -uc -b -d'

# A Debian with what a build needs, made once.
container() {
  local tree=$target/build.$suite
  [ ! -e "$tree.ready" ] || return 0
  say "making a tree of Debian $suite to build in"
  rm -rf "$tree"
  mkdir -p "$target"
  debootstrap --variant=minbase "$suite" "$tree" "$mirror" >"$tree.log"
  chroot "$tree" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends gcc libc6-dev make procps "${needed[@]}" >>"$tree.log" 2>&1
  chroot "$tree" apt-get clean
  touch "$tree.ready"
}

need_here dpkg-dev
"$root/packaging/dist.sh" "$([ -z "$built" ] && echo tree || echo bare)"
mkdir -p "$compiled"
# Cargo goes by times. What is as it was at the last build keeps the time it had, and all else is
# new: the times of a commit may be older than what was compiled of another. Crates of others are as
# old as can be: another is another version, and their build scripts go by times, too.
was=$compiled/sources
(
  cd "$source"
  find . -path ./vendor -prune -o -type f -print | while read -r file; do
    if cmp -s "$file" "$was/$file"; then touch -r "$was/$file" "$file"; else touch "$file"; fi
  done
  rm -rf "$was"
  mkdir "$was"
  find . -path ./vendor -prune -o -type f -print0 |
    xargs -0 cp -p --parents -t "$was"
  [ ! -d vendor ] || find vendor -exec touch -h -d @1 {} +
)
if [ -n "$built" ]; then
  need_here debhelper dpkg-dev postgresql-common
  # Debug libraries are large; packing them well takes a minute.
  export BUILT=$built DEB_BUILD_OPTIONS=nostrip DPKG_DEB_COMPRESSOR_TYPE=none
  (cd "$source" && sh -c "$build")
elif [ "$suite" = "$here" ]; then
  need_here "${needed[@]}"
  # debhelper gives a build a home of its own; a toolchain of rustup's is in ours.
  export RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
  (cd "$source" && COMPILED=$compiled sh -c "$build")
else
  [ "$(id -u)" = 0 ] || die "a build for another Debian needs root"
  need_here debootstrap systemd-container
  container
  # The toolchain itself, not rustup's stand-ins.
  toolchain=$(cd "$root" && rustc --print sysroot)
  systemd-nspawn --quiet --register=no --keep-unit --private-network --console=pipe \
    -D "$target/build.$suite" --bind-ro="$toolchain:/opt/rust" --bind="$target/dist:/build" \
    --bind="$compiled:/compiled" --setenv=COMPILED=/compiled \
    --setenv=PATH=/opt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --chdir="/build/$(basename "$source")" sh -c "$build" </dev/null
fi
# What was built here before goes; what other architectures have built stays.
arch=$(dpkg --print-architecture)
mkdir -p "$target/deb/$suite"
rm -f "$target/deb/$suite"/*_{"$arch",all}.{deb,buildinfo,changes}
mv "$target/dist"/*.deb "$target/dist"/*.buildinfo "$target/dist"/*.changes "$target/deb/$suite/"
say "packages are in $target/deb/$suite"

#!/usr/bin/env bash
# Build the Debian packages of this commit for the PostgreSQL versions of a Debian, into
# target/deb/SUITE. cargo is the one of the PATH.
# As root it installs what Debian's tools need.
# A package's version says which Debian it is for: 4.0.0-1+deb12 is below 4.0.0-1+deb13.
set -euo pipefail
. "$(dirname "$0")/../tests/env/common.sh"

needed=(debhelper dpkg-dev libclang-dev libssl-dev pkg-config postgresql-server-dev-all)
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-unknown}")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
source=$target/dist/skytools-$version

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

need_here "${needed[@]}"
"$root/packaging/dist.sh" tree
cd "$source"
pg_buildext updatecontrol
debian=$(. /etc/os-release && echo "${VERSION_ID:-}")
[ -z "$debian" ] || sed -i "1s/(\(.*\))/(\1+deb$debian)/" debian/changelog
# debhelper gives a build a home of its own; a toolchain of rustup's is in ours.
export RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
# Cargo need not be Debian's: what else is needed was looked at above.
dpkg-buildpackage -us -uc -b -d
rm -rf "$target/deb/$suite"
mkdir -p "$target/deb/$suite"
mv "$target/dist"/*.deb "$target/dist"/*.buildinfo "$target/dist"/*.changes "$target/deb/$suite/"
say "packages are in $target/deb/$suite"

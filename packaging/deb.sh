#!/usr/bin/env bash
# Build the Debian packages of this commit for the PostgreSQL versions whose headers are installed,
# into target/deb. As root it installs what Debian's tools need; cargo is the one of the PATH.
set -euo pipefail
. "$(dirname "$0")/../tests/env/common.sh"

needed=(debhelper dpkg-dev libclang-dev libssl-dev pkg-config postgresql-server-dev-all)
missing=()
for package in "${needed[@]}"; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
    missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || die "missing packages; as root: apt-get install ${missing[*]}"
  say "installing: ${missing[*]}"
  apt-get update -qq
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

"$root/packaging/dist.sh" tree
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
cd "$target/dist/skytools-$version"
pg_buildext updatecontrol
# debhelper gives a build a home of its own; a toolchain of rustup's is in ours.
export RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
# Cargo need not be Debian's: what else is needed was looked at above.
dpkg-buildpackage -us -uc -b -d
rm -rf "$target/deb"
mkdir -p "$target/deb"
mv ../*.deb ../*.buildinfo ../*.changes "$target/deb/"
say "packages are in $target/deb"

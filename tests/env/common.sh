# Shared by every script here and in packaging/: where things are, and who clusters run as.
# Sourced, not executed. Settings from outside: PG (major version), PGQ_WORK, PGQ_RUN_AS.

PG=${PG:-15}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

# PostgreSQL refuses to run as root, so as root its processes run as somebody else.
if [ "$(id -u)" = 0 ]; then
  PGQ_RUN_AS=${PGQ_RUN_AS:-$(id -un postgres 2>/dev/null || echo nobody)}
  run_as() {
    setpriv --reuid="$PGQ_RUN_AS" --regid="$(id -gn "$PGQ_RUN_AS")" --clear-groups -- "$@"
  }
else
  PGQ_RUN_AS=$(id -un)
  run_as() { "$@"; }
fi

# Private trees and clusters. Under target/ unless that is out of PGQ_RUN_AS's reach (a clone in
# /root).
if [ -z "${PGQ_WORK:-}" ]; then
  mkdir -p "$target"
  if run_as test -x "$target" -a -r "$target"; then
    PGQ_WORK=$target
  else
    PGQ_WORK=/var/tmp/pgq-$(id -u)-$(printf %s "$root" | cksum | cut -d' ' -f1)
  fi
fi
export PG PGQ_RUN_AS PGQ_WORK

# A tree is a whole PostgreSQL under one prefix; its bin/ and pg_config find the rest by relative
# paths.
tree_root() { echo "$PGQ_WORK/pg/$PG/$1"; }
tree_bin() { echo "$(tree_root "$1")/usr/lib/postgresql/$PG/bin"; }

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# one_of NEWER... OLDEST: the first that this Debian has, by the names of Debian 13 and 12; the
# oldest where no list of packages is there to say. Names of libraries have their versions in
# them.
one_of() {
  local package
  for package in "$@"; do
    if apt-cache policy "$package" 2>/dev/null | grep 'Candidate: [^(]' >/dev/null; then
      echo "$package" && return
    fi
  done
  echo "$package"
}

# unpack NAME DEST PACKAGE...: put what Debian's packages hold under a fresh directory, without
# installing any of them. The packages are kept in $PGQ_WORK/debs/NAME.
unpack() {
  local debs=$PGQ_WORK/debs/$1 dest=$2 package
  shift 2
  local missing=()
  mkdir -p "$debs"
  cd "$debs"
  for package in "$@"; do
    compgen -G "${package%:*}_*.deb" >/dev/null || missing+=("$package")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    say "downloading ${missing[*]}"
    # A stale package list names versions that the archive no longer has; only root may refresh the
    # system's.
    apt-get download -qq "${missing[@]}" 2>/dev/null ||
      { apt-get update -qq 2>/dev/null && apt-get download -qq "${missing[@]}" 2>/dev/null; } ||
      die "cannot download ${missing[*]}; run 'apt-get update' as root and try again"
  fi
  rm -rf "$dest"
  mkdir -p "$dest"
  for package in "$@"; do
    dpkg -x "$(ls "$debs/${package%:*}"_*.deb | tail -n 1)" "$dest"
  done
}

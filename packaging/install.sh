#!/usr/bin/env bash
# Install what is built: extensions and libraries into the server that PG_CONFIG describes, programs
# where programs go. Builds nothing, fetches nothing.
# Usage: install.sh server|programs|all FROM    (FROM: where the built files are)
#   PG_CONFIG  the server; its major version decides what of FROM fits
#   DESTDIR    goes before every directory
#   BINDIR     of programs; else the server's
#   DATADIR    /usr/share for packages: man pages and completions; else man pages go to the
#              server's, and completions nowhere ("pgq completions" and walmgr's print them)
set -euo pipefail
. "$(dirname "$0")/../tests/env/common.sh"

what=${1:?usage: install.sh server|programs|all FROM}
from=${2:?usage: install.sh server|programs|all FROM}
pg_config=${PG_CONFIG:-pg_config}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# of_server OPTION: what its pg_config says.
of_server() {
  command -v "$pg_config" >/dev/null ||
    die "PG_CONFIG=$pg_config is not a program; point it at the server's pg_config"
  "$pg_config" "$1"
}

# Renamed into place: a server that has the old library mapped must not see it change under its
# feet, and an archive_command that is not there, or not yet executable, makes the archiver stall.
place() {
  install -m 755 "$1" "$2.new"
  mv "$2.new" "$2"
}

install_server() {
  local pkglibdir extdir major manifest old
  pkglibdir=${DESTDIR:-}$(of_server --pkglibdir)
  extdir=${DESTDIR:-}$(of_server --sharedir)/extension
  major=$(of_server --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
  [ -e "$from/libpgq.so" ] || die "$from/libpgq.so is missing: make all PG_CONFIG=$pg_config"

  install -d "$pkglibdir" "$extdir"
  for manifest in "$root"/sql/*/manifest; do
    "$root/packaging/assemble.sh" "$(basename "$(dirname "$manifest")")" "$scratch"
  done
  install -m 644 "$scratch"/*.control "$extdir/"
  install -m 644 "$scratch"/*.sql "$extdir/"
  place "$from/libpgq.so" "$pkglibdir/pgq.so"
  # An older server has no archive libraries, and what lies here is for another.
  if [ "$major" -ge 15 ] && [ -e "$from/libwalmgr_archive.so" ]; then
    place "$from/libwalmgr_archive.so" "$pkglibdir/walmgr_archive.so"
  fi
  # Functions of databases that were on upstream's libraries refer to these names.
  for old in pgq_lowlevel pgq_triggers; do
    [ -e "$pkglibdir/$old.so" ] || ln -s pgq.so "$pkglibdir/$old.so"
  done
  say "installed into $pkglibdir and $extdir"
}

install_programs() {
  local bin man program shells
  bin=${DESTDIR:-}${BINDIR:-$(of_server --bindir)}
  man=${DESTDIR:-}${DATADIR:+$DATADIR/man}
  [ -n "${DATADIR:-}" ] || man=${DESTDIR:-}$(of_server --mandir)
  install -d "$bin"
  # walmgr becomes walmgr-tls for connections by TLS, so that is there first.
  for program in pgq walmgr-tls walmgr walmgr-push; do
    [ ! -x "$from/$program" ] || place "$from/$program" "$bin/$program"
  done
  # Pages and completions come from the program itself, so they are those of its version.
  for program in pgq walmgr; do
    [ -x "$from/$program" ] || continue
    "$from/$program" man "$scratch/man"
    [ -z "${DATADIR:-}" ] || install_completions "$program"
  done
  local page section
  for page in "$scratch"/man/*; do
    [ -e "$page" ] || continue
    section=${page##*.}
    install -D -m 644 "$page" "$man/man$section/$(basename "$page")"
  done
  say "installed into $bin"
}

# completions PROGRAM: where Debian's shells look.
install_completions() {
  local data=${DESTDIR:-}$DATADIR
  install -d "$data/bash-completion/completions" "$data/zsh/vendor-completions" \
    "$data/fish/vendor_completions.d"
  "$from/$1" completions bash >"$data/bash-completion/completions/$1"
  "$from/$1" completions zsh >"$data/zsh/vendor-completions/_$1"
  "$from/$1" completions fish >"$data/fish/vendor_completions.d/$1.fish"
}

case $what in
  server) install_server ;;
  programs) install_programs ;;
  all) install_server && install_programs ;;
  *) die "usage: install.sh server|programs|all FROM" ;;
esac

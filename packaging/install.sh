#!/usr/bin/env bash
# Install the extensions, and the binaries that are built, into the server that PG_CONFIG describes.
# Usage: install.sh LIBRARY BINDIR   (environment: PG_CONFIG, DESTDIR, EXTENSIONS)
#   LIBRARY  the built libpgq.so
#   BINDIR   where cargo put the binaries
set -euo pipefail
. "$(dirname "$0")/../tests/env/common.sh"

library=${1:?usage: install.sh LIBRARY BINDIR}
bindir=${2:?usage: install.sh LIBRARY BINDIR}
pg_config=${PG_CONFIG:-pg_config}
command -v "$pg_config" >/dev/null ||
  die "PG_CONFIG=$pg_config is not a program; point it at the server's pg_config"
pkglibdir=${DESTDIR:-}$("$pg_config" --pkglibdir)
extdir=${DESTDIR:-}$("$pg_config" --sharedir)/extension
bin=${DESTDIR:-}$("$pg_config" --bindir)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

install -d "$pkglibdir" "$extdir" "$bin"
for manifest in "$root"/sql/*/manifest; do
  ext=$(basename "$(dirname "$manifest")")
  "$root/packaging/assemble.sh" "$ext" "$scratch"
  control=$root/sql/$ext/$ext.control
  [ "$ext" = pgq ] && control=$root/pgq_ext/pgq.control
  install -m 644 "$control" "$extdir/"
done
install -m 644 "$scratch"/*.sql "$extdir/"

# Renamed into place: a server that has the old library mapped must not see it change under its
# feet, and an archive_command that is not there, or not yet executable, makes the archiver stall.
place() {
  install -m 755 "$1" "$2.new"
  mv "$2.new" "$2"
}
place "$library" "$pkglibdir/pgq.so"
archive_library=$(dirname "$library")/libwalmgr_archive.so
# An older server has no archive libraries, and what lies here is for another.
major=$("$pg_config" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
if [ "$major" -ge 15 ] && [ -e "$archive_library" ]; then
  place "$archive_library" "$pkglibdir/walmgr_archive.so"
fi
# Functions of databases that were on upstream's libraries refer to these names.
for old in pgq_lowlevel pgq_triggers; do
  [ -e "$pkglibdir/$old.so" ] || ln -s pgq.so "$pkglibdir/$old.so"
done
for program in pgq walmgr walmgr-push; do
  [ ! -x "$bindir/$program" ] || place "$bindir/$program" "$bin/$program"
done
# The pages come from the program itself, so they are those of its version.
for program in pgq walmgr; do
  if [ -x "$bindir/$program" ] && "$bindir/$program" man "$scratch/man" 2>/dev/null; then
    man=${DESTDIR:-}$("$pg_config" --mandir)/man1
    install -d "$man"
    install -m 644 "$scratch"/man/*.1 "$man/"
  fi
done
say "installed into $pkglibdir, $extdir and $bin"

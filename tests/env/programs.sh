#!/usr/bin/env bash
# Unpack programs that the client is tested with from Debian's packages, without installing any of them, into
# $PGQ_WORK/programs: pgbouncer with its libraries, and python-pgq with what it imports.
# A complete directory is left alone.
set -euo pipefail
. "$(dirname "$0")/common.sh"

dest=$PGQ_WORK/programs
[ -e "$dest/.complete" ] && exit 0
packages="pgbouncer libevent-2.1-7 libc-ares2 python3-pgq python3-skytools python3-psycopg2"

debs=$PGQ_WORK/debs/programs
mkdir -p "$debs"
cd "$debs"
for package in $packages; do
  compgen -G "${package}_*.deb" >/dev/null && continue
  say "downloading $package"
  # A stale package list names versions that the archive no longer has; only root may refresh it.
  apt-get download -qq "$package" 2>/dev/null ||
    { [ "$(id -u)" = 0 ] && apt-get update -qq && apt-get download -qq "$package" 2>/dev/null; } ||
    die "cannot download $package; run 'apt-get update' as root and try again"
done

rm -rf "$dest"
mkdir -p "$dest"
for package in $packages; do
  dpkg -x "$(ls "$debs/${package}"_*.deb | tail -n 1)" "$dest"
done
touch "$dest/.complete"
say "pgbouncer and python-pgq are ready in $dest"

#!/usr/bin/env bash
# Unpack the archivers that walmgr is measured against from Debian's packages, without installing any of them, into
# $PGQ_WORK/archivers: pgBackRest and Barman with the Python modules it imports. A complete directory is left alone.
set -euo pipefail
. "$(dirname "$0")/common.sh"

dest=$PGQ_WORK/archivers
[ -e "$dest/.complete" ] && exit 0
packages="pgbackrest barman python3-barman python3-argcomplete python3-dateutil python3-psycopg2
          python3-pkg-resources python3-six"

debs=$PGQ_WORK/debs/archivers
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
"$dest/usr/bin/pgbackrest" version >/dev/null || die "the pgBackRest in $dest does not start"
touch "$dest/.complete"
say "pgBackRest and Barman are ready in $dest"

#!/usr/bin/env bash
# Make the private PostgreSQL tree NAME from Debian's packages, without installing any of them:
#   ours   PostgreSQL with server headers; this project is built against it and installed into it
#   peer   the same PostgreSQL with upstream's pgq 3.5, pgq_node, londiste and pgqd, for comparison
# Usage: tree.sh ours|peer. A complete tree is left alone.
set -euo pipefail
. "$(dirname "$0")/common.sh"

name=${1:?usage: tree.sh ours|peer}
dest=$(tree_root "$name")
[ -e "$dest/.complete" ] && exit 0

case $name in
  ours) packages="postgresql-$PG postgresql-client-$PG postgresql-server-dev-$PG libpq-dev" ;;
  peer) packages="postgresql-$PG postgresql-client-$PG postgresql-$PG-pgq3 postgresql-$PG-pgq-node
                  postgresql-$PG-londiste-sql pgqd" ;;
  *) die "unknown tree '$name': it is ours or peer" ;;
esac

debs=$PGQ_WORK/debs/$PG
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
"$(tree_bin "$name")/postgres" --version >/dev/null || die "the PostgreSQL in $dest does not start"
touch "$dest/.complete"
say "PostgreSQL tree '$name' is ready in $dest"

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

unpack "$PG" "$dest" $packages
"$(tree_bin "$name")/postgres" --version >/dev/null || die "the PostgreSQL in $dest does not start"
touch "$dest/.complete"
say "PostgreSQL tree '$name' is ready in $dest"

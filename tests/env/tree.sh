#!/usr/bin/env bash
# Make the private PostgreSQL tree NAME from Debian's packages, without installing any of them:
#   ours   PostgreSQL with server headers; this project is built against it and installed into it
#   peer   the same PostgreSQL with upstream's pgq 3.5, pgq_node, londiste and pgqd, for comparison
# Usage: tree.sh ours|peer. A complete tree is left alone. Another Debian's PostgreSQL comes with
# its libraries (suites.sh); a peer has what that Debian has.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/suites.sh"

name=${1:?usage: tree.sh ours|peer}
dest=$(tree_root "$name")
[ -e "$dest/.complete" ] && exit 0

server=("postgresql-$PG" "postgresql-client-$PG")
case $name in
  ours) more=("postgresql-server-dev-$PG" libpq-dev) ;;
  peer) more=("postgresql-$PG-pgq3" "postgresql-$PG-pgq-node" "postgresql-$PG-londiste-sql" pgqd) ;;
  *) die "unknown tree '$name': it is ours or peer" ;;
esac

suite=$(other_suite)
libraries=()
if [ -n "$suite" ]; then
  take_from "$suite"
  # In some a package of its own.
  mapfile -t server < <(theirs "${server[@]}" "postgresql-$PG-jit")
  mapfile -t more < <(theirs "${more[@]}")
  mapfile -t libraries < <(libraries_of "${server[@]}")
fi
unpack "$PG" "$dest" "${server[@]}" "${more[@]}" "${libraries[@]}"
if [ -n "$suite" ]; then
  settle "$dest" "$(tree_bin "$name")"
  [ ! -e "$(tree_bin "$name")/pg_config" ] || relocate "$(tree_bin "$name")/pg_config" "$dest"
fi
"$(tree_bin "$name")/postgres" --version >/dev/null || die "the PostgreSQL in $dest does not start"
touch "$dest/.complete"
say "PostgreSQL tree '$name' is ready in $dest"

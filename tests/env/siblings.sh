#!/usr/bin/env bash
# Put PL/Proxy into the private tree `ours`, from Debian's package, without installing it. A tree
# that has it is left alone.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/suites.sh"

dest=$(tree_root ours)/usr
[ ! -e "$dest/lib/postgresql/$PG/lib/plproxy.so" ] || exit 0
from=$PGQ_WORK/siblings/$PG

suite=$(other_suite)
[ -z "$suite" ] || take_from "$suite"
unpack "siblings/$PG" "$from" "postgresql-$PG-plproxy"
cp "$from/usr/share/postgresql/$PG/extension"/plproxy* "$dest/share/postgresql/$PG/extension/"
# Last: it says that all is there.
cp "$from/usr/lib/postgresql/$PG/lib/plproxy.so" "$dest/lib/postgresql/$PG/lib/"
say "PL/Proxy is in $dest"

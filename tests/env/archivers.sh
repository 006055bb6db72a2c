#!/usr/bin/env bash
# Unpack the archivers that walmgr is measured against from Debian's packages, without installing
# any of them, into $PGQ_WORK/archivers: pgBackRest and Barman with the Python modules it imports.
# A complete directory is left alone.
set -euo pipefail
. "$(dirname "$0")/common.sh"

dest=$PGQ_WORK/archivers
[ -e "$dest/.complete" ] && exit 0
packages="pgbackrest barman python3-barman python3-argcomplete python3-dateutil python3-psycopg2
          python3-pkg-resources python3-six"

unpack archivers "$dest" $packages
"$dest/usr/bin/pgbackrest" version >/dev/null || die "the pgBackRest in $dest does not start"
touch "$dest/.complete"
say "pgBackRest and Barman are ready in $dest"

#!/usr/bin/env bash
# Unpack programs that the client is tested with from Debian's packages, without installing any of
# them, into $PGQ_WORK/programs: pgbouncer with its libraries, and python-pgq with what it
# imports. A complete directory is left alone.
set -euo pipefail
. "$(dirname "$0")/common.sh"

dest=$PGQ_WORK/programs
[ -e "$dest/.complete" ] && exit 0
packages="pgbouncer $(one_of libevent-2.1-7t64 libevent-2.1-7) $(one_of libcares2 libc-ares2)
          python3-pgq python3-skytools python3-psycopg2"

unpack programs "$dest" $packages
touch "$dest/.complete"
say "pgbouncer and python-pgq are ready in $dest"

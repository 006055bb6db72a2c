#!/usr/bin/env bash
# Unpack programs that client and extensions are tested with from Debian's packages, without
# installing any of them, into $PGQ_WORK/programs: pgbouncer with its libraries, and python-pgq and
# python-londiste with what they import. A complete directory is left alone.
set -euo pipefail
. "$(dirname "$0")/common.sh"

dest=$PGQ_WORK/programs
[ -e "$dest/.complete" ] && [ -e "$dest/usr/bin/londiste" ] && exit 0
packages="pgbouncer $(one_of libevent-2.1-7t64 libevent-2.1-7) $(one_of libcares2 libc-ares2)
          python3-pgq python3-skytools python3-psycopg2 python3-londiste python3-yaml
          libyaml-0-2"

unpack programs "$dest" $packages
touch "$dest/.complete"
say "pgbouncer, python-pgq and python-londiste are ready in $dest"

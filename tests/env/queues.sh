#!/usr/bin/env bash
# Install the job queues that ours is measured against, at fixed versions, in $PGQ_WORK/queues:
# pg-boss and graphile-worker from npm, the newest for Node 20, and PgQueuer from PyPI. Without Node
# of at least that version there is nothing, and the benchmark says so. A complete directory of
# these versions is left alone.
set -euo pipefail
. "$(dirname "$0")/common.sh"

dest=$PGQ_WORK/queues
from_npm="pg-boss@10.4.2 graphile-worker@0.16.6 pg@8.23.1"
from_pypi="pgqueuer==1.6.0 asyncpg==0.32.0"
[ "$(cat "$dest/.complete" 2>/dev/null)" = "$from_npm $from_pypi" ] && exit 0
node=$(node --version 2>/dev/null | sed -E 's/^v([0-9]+).*/\1/')
if [ "${node:-0}" -lt 20 ] || ! command -v npm >/dev/null; then
  say "no Node 20 with npm: job queues of others are not measured"
  exit 0
fi
say "downloading $from_npm $from_pypi"
rm -rf "$dest"
mkdir -p "$dest"
cd "$dest"
echo '{"private": true}' >package.json
# shellcheck disable=SC2086 # several packages
npm install --silent --no-audit --no-fund --save-exact $from_npm || die "npm cannot install them"
python3 -m venv "$dest/python"
# shellcheck disable=SC2086
"$dest/python/bin/pip" install -q --disable-pip-version-check $from_pypi ||
  die "pip cannot install them"
echo "$from_npm $from_pypi" >"$dest/.complete"
say "they are ready in $dest"

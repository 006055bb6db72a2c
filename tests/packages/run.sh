#!/usr/bin/env bash
# The Debian packages on a clean Debian that boots a real systemd, in a container of systemd-nspawn:
# installed, at work, rebooted, upgraded, removed, purged; taken over from Debian's own PgQ
# packages; from a signed repository; under lintian and autopkgtest.
# Usage: run.sh [SCENARIO[@SUITE]…]      SUITE: bookworm (Debian 12)
# A scenario is a file in inside/; it says for which suites it is, and the first is the default.
# Without arguments all run for which packages are built (make deb). What a
# scenario needs from this side is made by the program of its name in outside/.
# Needs root. Trees are kept under target/packages.
set -euo pipefail
. "$(dirname "$0")/../env/common.sh"

here=$root/tests/packages
work=$target/packages
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
[ "$(id -u)" = 0 ] || die "containers with a systemd need root"
for program in debootstrap systemd-nspawn; do
  command -v "$program" >/dev/null && continue
  say "installing: debootstrap systemd-container"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap \
    systemd-container >/dev/null
  break
done

# debs SUITE: where its packages are.
debs() {
  local dir=$target/deb/$1
  if compgen -G "$dir/*.deb" >/dev/null; then echo "$dir"; fi
}
major() { case $1 in bookworm) echo 15 ;; *) die "no such suite: $1" ;; esac; }

# tree SUITE: a Debian with its PostgreSQL, made once.
tree() {
  local tree=$work/clean.$1
  [ ! -e "$tree.ready" ] || return 0
  say "making a tree of Debian $1"
  rm -rf "$tree"
  mkdir -p "$work"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps,ca-certificates \
    "$1" "$tree" "$mirror" >"$tree.log"
  echo "Acquire::Languages \"none\";" >"$tree/etc/apt/apt.conf.d/90tests"
  printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
  chmod +x "$tree/usr/sbin/policy-rc.d"
  chroot "$tree" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends "postgresql-$(major "$1")" logrotate sudo man-db >>"$tree.log" 2>&1
  chroot "$tree" apt-get clean
  rm "$tree/usr/sbin/policy-rc.d"
  touch "$tree.ready"
}

machine=
leader=
boot() {
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --register=no --keep-unit \
    -D "$work/$machine" -b --console=pipe </dev/null >"$work/$machine.boot.log" 2>&1 &
  nspawn=$!
  # The container's first process is the child of systemd-nspawn.
  for _ in $(seq 300); do
    leader=$(pgrep -P "$nspawn" -f systemd | head -n 1) || leader=
    if [ -n "$leader" ]; then
      case $(inside systemctl is-system-running 2>/dev/null) in running | degraded) return ;; esac
    fi
    sleep 0.2
  done
  die "$machine does not boot: $work/$machine.boot.log"
}
inside() { nsenter -t "$leader" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
  DEBIAN_FRONTEND=noninteractive MAJOR="$major" SUITE="$suite" "$@"; }
halt() {
  [ -n "$leader" ] || return 0
  inside systemctl poweroff 2>/dev/null || true
  wait "$nspawn" 2>/dev/null || true
  leader=
}
trap 'halt' EXIT

# scenario NAME SUITE: a scenario is a file of steps; a step that is "reboot" reboots, others are
# run inside. Its directory /root has the packages and, of other suites that it names, theirs.
scenario() {
  local name=$1 step other
  suite=$2
  major=$(major "$suite")
  machine=$name.$suite
  say "== $name on $suite"
  tree "$suite"
  rm -rf "${work:?}/$machine"
  cp -a --reflink=auto "$work/clean.$suite" "$work/$machine"
  mkdir -p "$work/$machine/root/deb" "$work/$machine/root/tests"
  cp "$target/deb/$suite"/*.deb "$work/$machine/root/deb/"
  rm -f "$work/$machine/root/deb/"*dbgsym*
  for other in $(sed -n 's/^# also: //p' "$here/inside/$name"); do
    cp -r "$target/deb/$other" "$work/$machine/root/deb/$other"
  done
  cp "$here"/inside/* "$work/$machine/root/tests/"
  mkdir "$work/$machine/root/docs"
  cp "$root/README.md" "$root/docs/packages.md" "$work/$machine/root/docs/"
  [ ! -x "$here/outside/$name" ] || "$here/outside/$name" "$work/$machine/root" "$suite"
  boot
  for step in $(sed -n 's/^# steps: //p' "$here/inside/$name"); do
    if [ "$step" = reboot ]; then
      halt
      boot
      continue
    fi
    say "   $step"
    inside bash -eu -o pipefail -c ". /root/tests/steps; . /root/tests/$name; $step" \
      >"$work/$machine.$step.log" 2>&1 || {
      tail -n 40 "$work/$machine.$step.log" >&2
      die "$name on $suite: $step failed; the log is $work/$machine.$step.log"
    }
  done
  halt
  rm -rf "${work:?}/$machine"
}

suites_of() { sed -n 's/^# suites: //p' "$here/inside/$1"; }
# has NAME SUITE: whether the packages it needs are there.
has() {
  local needed
  for needed in "$2" $(sed -n 's/^# also: //p' "$here/inside/$1"); do
    [ -n "$(debs "$needed")" ] || return 1
  done
}

chosen=("$@")
if [ $# = 0 ]; then
  for file in "$here"/inside/*; do
    name=$(basename "$file")
    for suite in $(suites_of "$name"); do
      if has "$name" "$suite"; then chosen+=("$name@$suite"); else
        say "== $name on $suite is left out: make deb has not been run there"
      fi
    done
  done
fi
[ ${#chosen[@]} -gt 0 ] || die "there are no packages: make deb"
for one in "${chosen[@]}"; do
  name=${one%@*}
  [ -e "$here/inside/$name" ] || die "no such scenario: $name"
  read -r suite _ < <(suites_of "$name")
  [ "$name" = "$one" ] || suite=${one#*@}
  has "$name" "$suite" || die "$name on $suite: packages are missing: make deb"
  scenario "$name" "$suite"
done
say "the packages do what they should"

#!/usr/bin/env bash
# The Debian packages on a clean Debian 12 that boots a real systemd, in a container of
# systemd-nspawn: installed, at work, rebooted, upgraded, removed, purged; and taken over from
# Debian's own PgQ packages.
# Usage: run.sh [SCENARIO…]
# Needs root and target/deb (make deb). Trees are kept under target/packages.
set -euo pipefail
. "$(dirname "$0")/../env/common.sh"

here=$root/tests/packages
work=$target/packages
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
[ "$(id -u)" = 0 ] || die "containers with a systemd need root"
compgen -G "$target/deb/*.deb" >/dev/null || die "there are no packages: make deb"
for program in debootstrap systemd-nspawn; do
  command -v "$program" >/dev/null && continue
  say "installing: debootstrap systemd-container"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap \
    systemd-container >/dev/null
  break
done

# A Debian with PostgreSQL 15, made once.
if [ ! -e "$work/clean.ready" ]; then
  say "making a Debian tree"
  rm -rf "$work/clean"
  mkdir -p "$work"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps,ca-certificates \
    bookworm "$work/clean" "$mirror" >"$work/debootstrap.log"
  echo "Acquire::Languages \"none\";" >"$work/clean/etc/apt/apt.conf.d/90tests"
  printf '#!/bin/sh\nexit 101\n' >"$work/clean/usr/sbin/policy-rc.d"
  chmod +x "$work/clean/usr/sbin/policy-rc.d"
  chroot "$work/clean" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends postgresql-15 logrotate sudo >>"$work/debootstrap.log"
  rm "$work/clean/usr/sbin/policy-rc.d"
  touch "$work/clean.ready"
fi

machine=
leader=
boot() {
  systemd-nspawn --quiet --register=no --keep-unit -D "$work/$machine" -b --console=pipe \
    </dev/null >"$work/$machine.boot.log" 2>&1 &
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
  DEBIAN_FRONTEND=noninteractive "$@"; }
halt() {
  [ -n "$leader" ] || return 0
  inside systemctl poweroff 2>/dev/null || true
  wait "$nspawn" 2>/dev/null || true
  leader=
}
trap 'halt' EXIT

# run NAME: a scenario is a file of steps; a step that is "reboot" reboots, others are run inside.
scenario() {
  machine=$1
  say "== $machine"
  rm -rf "${work:?}/$machine"
  cp -a --reflink=auto "$work/clean" "$work/$machine"
  mkdir -p "$work/$machine/root/deb" "$work/$machine/root/tests"
  cp "$target"/deb/*.deb "$work/$machine/root/deb/"
  rm -f "$work/$machine/root/deb/"*dbgsym*
  cp "$here"/inside/* "$work/$machine/root/tests/"
  boot
  local step
  for step in $(sed -n 's/^# steps: //p' "$here/inside/$machine"); do
    if [ "$step" = reboot ]; then
      halt
      boot
      continue
    fi
    say "   $step"
    inside bash -eu -o pipefail -c ". /root/tests/steps; . /root/tests/$machine; $step" \
      >"$work/$machine.$step.log" 2>&1 || {
      tail -n 40 "$work/$machine.$step.log" >&2
      die "$machine: $step failed; the log is $work/$machine.$step.log"
    }
  done
  halt
  rm -rf "${work:?}/$machine"
}

for name in "${@:-jobs archive takeover}"; do
  for one in $name; do scenario "$one"; done
done
say "the packages do what they should"

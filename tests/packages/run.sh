#!/usr/bin/env bash
# The Debian packages on a clean Debian that boots a real systemd, in a container of systemd-nspawn:
# installed, at work, rebooted, upgraded, removed, purged; taken over from Debian's own PgQ
# packages; from one major version of PostgreSQL to the next; from a signed repository; under
# lintian and autopkgtest.
# Usage: run.sh [SCENARIO[@SUITE]…]      SUITE: bookworm (Debian 12), trixie (13), or here
# A scenario is a file in inside/; it says for which suites it is, and the first is the default.
# Without arguments all run for which packages are built: make deb; make deb SUITE=trixie. What a
# scenario needs from this side is made by the program of its name in outside/.
# "here" is this machine itself, under a layer for what is written and with no network but its own:
# no tree is made, and all is as before afterwards. It takes the packages of packaging/deb.sh
# --built, and fewer steps.
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
major() {
  case $1 in
    bookworm) echo 15 ;;
    trixie) echo 17 ;;
    here) basename "$target"/deb/here/postgresql-*-pgq_*.deb | cut -d- -f2 ;;
    *) die "no such suite: $1" ;;
  esac
}

# unheard ROOT: its clusters have sockets in its file system only, since its network is the host's,
# where ports may be taken.
unheard() {
  local main
  for main in "$1"/etc/postgresql/*/main; do
    sed -i 's/^port = .*/port = 5432/' "$main/postgresql.conf"
    echo "listen_addresses = ''" >"$main/conf.d/unheard.conf"
  done
  echo "listen_addresses = ''" >>"$1/etc/postgresql-common/createcluster.conf"
}

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
  unheard "$tree"
  touch "$tree.ready"
}

# here_can: whether layers may be mounted on this machine.
here_can() {
  local layers
  layers=$(mktemp -d)
  unshare --mount sh -eu -c 'mount -t tmpfs tmpfs "$1"; mkdir "$1/a" "$1/b" "$1/c"
    mount -t overlay try -o "lowerdir=/,upperdir=$1/a,workdir=$1/b" "$1/c"' sh "$layers" \
    2>/dev/null && rmdir "$layers"
}

# complete ROOT: what this machine lacks to be booted and to have a cluster, and what the packages
# in /root/deb need: booted, it has no network.
complete() {
  local log=$work/$machine.fetch.log
  rm -f "$1/usr/sbin/policy-rc.d"
  printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
  chmod +x "$1/usr/sbin/policy-rc.d"
  systemd-nspawn --quiet --register=no --keep-unit --console=pipe -D "$1" sh -c "
    export DEBIAN_FRONTEND=noninteractive
    get() { apt-get install -y -qq --no-install-recommends \"\$@\"; }
    all() {
      get systemd systemd-sysv dbus procps logrotate sudo man-db postgresql-$major &&
        get --download-only /root/deb/*.deb
    }
    all || { apt-get update -qq && all; }" </dev/null >"$log" 2>&1 || die "cannot fetch: $log"
  # A build machine starts no services; this one does.
  rm "$1/usr/sbin/policy-rc.d"
  unheard "$1"
}

# fresh: the root of a new machine, which is $machine of $suite, at $machine_root.
fresh() {
  local layers=$work/$machine.layers
  mkdir -p "$work"
  if [ "$suite" = here ]; then
    # What a run left that was killed.
    while mountpoint -q "$layers/root"; do umount -l "$layers/root"; done
    while mountpoint -q "$layers"; do umount -l "$layers"; done
    machine_root=$layers/root
    mkdir -p "$layers"
    # Of memory, since what is written may not lie below what is read.
    mount -t tmpfs tmpfs "$layers"
    mkdir "$layers/written" "$layers/work" "$machine_root"
    mount -t overlay "$machine" -o "lowerdir=/,upperdir=$layers/written,workdir=$layers/work" \
      "$machine_root"
    rm -rf "$machine_root/root"
    mkdir -m 700 "$machine_root/root"
  else
    tree "$suite"
    machine_root=$work/$machine
    rm -rf "$machine_root"
    cp -a --reflink=auto "$work/clean.$suite" "$machine_root"
  fi
}
# gone: the layers of a machine; others are kept when they fail.
gone() {
  [ "$suite" = here ] && [ -n "$machine_root" ] || return 0
  umount "$machine_root" "$work/$machine.layers"
  rmdir "$work/$machine.layers"
  machine_root=
}

machine=
machine_root=
suite=
leader=
boot() {
  local network=()
  # This machine a second time: what it starts must not meet what runs, nor set up its network.
  [ "$suite" != here ] || network=(--private-network)
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --register=no --keep-unit \
    "${network[@]}" -D "$machine_root" -b --console=pipe \
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
  DEBIAN_FRONTEND=noninteractive MAJOR="$major" SUITE="$suite" "$@"; }
halt() {
  [ -n "$leader" ] || return 0
  inside systemctl poweroff 2>/dev/null || true
  wait "$nspawn" 2>/dev/null || true
  leader=
}
trap 'halt; gone' EXIT

# scenario NAME SUITE: a scenario is a file of steps; a step that is "reboot" reboots, others are
# run inside. Its directory /root has the packages and, of other suites that it names, theirs.
scenario() {
  local name=$1 step other
  suite=$2
  major=$(major "$suite")
  machine=$name.$suite
  say "== $name on $suite"
  fresh
  mkdir -p "$machine_root/root/deb" "$machine_root/root/tests"
  cp "$target/deb/$suite"/*.deb "$machine_root/root/deb/"
  rm -f "$machine_root/root/deb/"*dbgsym*
  [ "$suite" != here ] || complete "$machine_root"
  for other in $(sed -n 's/^# also: //p' "$here/inside/$name"); do
    cp -r "$target/deb/$other" "$machine_root/root/deb/$other"
  done
  cp "$here"/inside/* "$here"/data/* "$machine_root/root/tests/"
  mkdir "$machine_root/root/docs"
  cp "$root/README.md" "$root/docs/packages.md" "$machine_root/root/docs/"
  [ ! -x "$here/outside/$name" ] || "$here/outside/$name" "$machine_root/root" "$suite"
  boot
  for step in $(steps_of "$name"); do
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
  gone
  rm -rf "${work:?}/$machine"
}

# steps_of NAME: in $suite, which may have steps of its own.
steps_of() {
  sed -n "s/^# steps on $suite: //p" "$here/inside/$1" | grep . ||
    sed -n 's/^# steps: //p' "$here/inside/$1"
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
        say "== $name on $suite is left out: make deb SUITE=$suite has not been run"
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
  if [ "$suite" = here ] && ! here_can; then
    say "== $one is left out: this machine mounts no layers"
    continue
  fi
  has "$name" "$suite" || die "$name on $suite: packages are missing: make deb SUITE=$suite"
  scenario "$name" "$suite"
done
say "the packages do what they should"

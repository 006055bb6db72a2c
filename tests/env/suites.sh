# PostgreSQL of another Debian than this one. Sourced after common.sh. Its packages are unpacked
# with the libraries that they need, and its programs told to take those: no chroot, no root,
# nothing installed.
# DEBIAN_MIRROR says where they come from.

# other_suite: the Debian that has PostgreSQL $PG, where this one has not.
other_suite() {
  local suite
  case $PG in
    13) suite=bullseye ;;
    15) suite=bookworm ;;
    17) suite=trixie ;;
    18) suite=forky ;;
    *) suite= ;;
  esac
  [ "$suite" != "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" ] || return 0
  if apt-cache policy "postgresql-$PG" 2>/dev/null | grep 'Candidate: [^(]' >/dev/null; then
    return
  fi
  [ -n "$suite" ] || die "no Debian has PostgreSQL $PG: 13, 15, 17 and 18 can be tested here"
  echo "$suite"
}

# take_from SUITE [ARCH]: apt-get and apt-cache are about its packages from here on, also about
# those of another architecture, and know of none that is installed. Its lists are fetched once;
# unpack fetches them anew when they are stale.
take_from() {
  local dir=$PGQ_WORK/apt/$1${2:+.$2}
  export APT_CONFIG=$dir/apt.conf
  [ ! -e "$dir/.complete" ] || return 0
  say "fetching the list of packages of Debian $1"
  rm -rf "$dir"
  mkdir -p "$dir"/{state/lists/partial,cache/archives/partial}
  printf 'deb [signed-by=%s] %s %s main\n' /usr/share/keyrings/debian-archive-keyring.gpg \
    "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" "$1" >"$dir/sources.list"
  cat >"$APT_CONFIG" <<END
Dir::State "$dir/state";
Dir::State::status "/dev/null";
Dir::Cache "$dir/cache";
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "-";
Acquire::Languages "none";
APT::Install-Recommends "false";
APT::Architectures { "$(dpkg --print-architecture)"; ${2:+"\"$2\";"} };
END
  # What was unpacked of its packages has their names.
  apt-get update -qq || die "cannot fetch the list of packages of Debian $1"
  touch "$dir/.complete"
}

# theirs PACKAGE...: these, as far as the suite has them.
theirs() {
  local package
  for package in "$@"; do
    ! apt-cache policy "$package" | grep 'Candidate: [^(]' >/dev/null || echo "$package"
  done
}

# libraries_of PACKAGE...: the packages of libraries that these need. Of two C libraries the newer
# one runs what is built for either, so an older one than ours is left out, and what goes with it.
libraries_of() {
  local all=() package wanted here there
  mapfile -t all < <(apt-get install -s "$@" | awk '$1 == "Inst" && $2 ~ /^lib/ { print $2 }')
  [ ${#all[@]} -gt 0 ] || die "apt-get knows nothing of what $* need"
  here=$(APT_CONFIG=/dev/null dpkg-query -W -f='${Version}' libc6)
  there=$(apt-cache policy libc6 | sed -n 's/ *Candidate: //p')
  for package in "${all[@]}"; do
    wanted=1
    case $package in
      *-perl | libperl* | libpython*) wanted= ;;
      libc6 | libgcc-s1 | libstdc++6) ! dpkg --compare-versions "$there" lt "$here" || wanted= ;;
    esac
    [ -z "$wanted" ] || echo "$package"
  done
}

# settle DEST BIN: the programs in BIN take the libraries that lie in DEST. The old kind of path
# also holds for what a program loads later.
settle() {
  local dest=$1 program loader path
  path=$dest/usr/lib/$(uname -m)-linux-gnu:$dest/lib/$(uname -m)-linux-gnu
  loader=$(find "$dest" -type f -name "ld-linux-$(uname -m | tr _ -).so*" -print -quit)
  for program in "$2"/*; do
    patchelf --print-interpreter "$program" >/dev/null 2>&1 || continue
    patchelf ${loader:+--set-interpreter "$loader"} --force-rpath --set-rpath "$path" "$program"
  done
  # A path of a library's own would be the only one for what that needs.
  find "$dest" -path "*/$(uname -m)-linux-gnu/*.so*" -type f | while read -r program; do
    [ -z "$(patchelf --print-rpath "$program" 2>/dev/null)" ] ||
      patchelf --force-rpath --set-rpath "$path" "$program"
  done
}

# relocate PG_CONFIG DEST: that of PostgreSQL 13 says where it was to be installed.
relocate() {
  case $("$1" --pkglibdir) in
    "$2"/*) return ;;
  esac
  mv "$1" "$1.static"
  printf '#!/bin/sh\n"%s" "$@" | sed -E "s,^([A-Z-]+ = )?/usr,\\1%s/usr,"\n' "$1.static" "$2" >"$1"
  chmod 755 "$1"
}

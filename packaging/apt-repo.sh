#!/usr/bin/env bash
# A signed apt repository, in target/apt, of what make deb has built: a distribution per Debian, all
# architectures and PostgreSQL versions that lie in target/deb/SUITE.
# Settings: APT_KEY  the key that signs, as gpg names it; from the keyring of the caller
#                    (GNUPGHOME), where it must be the name of one secret key only
#
# Users have the public key, skytools.asc, in /usr/share/keyrings, and a line in their sources:
#   deb [signed-by=/usr/share/keyrings/skytools.asc] https://HOST/PATH SUITE main
set -euo pipefail
. "$(dirname "$0")/../tests/env/common.sh"

key=${APT_KEY:-}
[ -n "$key" ] || die "APT_KEY names no key: the repository must be signed"
missing=()
for program in apt-ftparchive:apt-utils gpg:gpg xz:xz-utils; do
  command -v "${program%%:*}" >/dev/null || missing+=("${program#*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || die "missing packages; as root: apt-get install ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
# A name may be that of several keys, and others of them must be neither published nor sign.
mapfile -t found < <(gpg --batch --with-colons --list-secret-keys "$key" 2>/dev/null |
  awk -F: '$1 == "sec" { primary = 1 } $1 == "fpr" && primary { print $10; primary = 0 }' | sort -u)
case ${#found[@]} in
  0) die "gpg has no secret key \"$key\"" ;;
  1) key=${found[0]} ;;
  *) die "\"$key\" is the name of ${#found[@]} secret keys; give a fingerprint: ${found[*]}" ;;
esac
compgen -G "$target/deb/*/*.deb" >/dev/null || die "there are no packages: make deb"

# Made beside the old one, which is there until the new one is whole. Between two renames there is
# none.
new=$target/apt.new
rm -rf "$new"
mkdir -p "$new"
cd "$new"
gpg --batch --armor --export "$key" >skytools.asc
for debs in "$target"/deb/*/; do
  suite=$(basename "$debs")
  # Those are debug builds, to test the packaging.
  [ "$suite" != here ] || continue
  compgen -G "$debs*.deb" >/dev/null || continue
  mkdir -p "pool/$suite"
  cp "$debs"*.deb "pool/$suite/"
  archs=$(for deb in "pool/$suite"/*.deb; do dpkg-deb -f "$deb" Architecture; done |
    grep -vx all | sort -u | paste -sd' ')
  for arch in $archs; do
    index=dists/$suite/main/binary-$arch
    mkdir -p "$index"
    apt-ftparchive --arch "$arch" packages "pool/$suite" >"$index/Packages"
    xz -k "$index/Packages"
  done
  # Not into the directory itself: it would be among what it lists.
  apt-ftparchive -o "APT::FTPArchive::Release::Origin=SkyTools" \
    -o "APT::FTPArchive::Release::Label=SkyTools" \
    -o "APT::FTPArchive::Release::Suite=$suite" \
    -o "APT::FTPArchive::Release::Codename=$suite" \
    -o "APT::FTPArchive::Release::Architectures=$archs" \
    -o "APT::FTPArchive::Release::Components=main" \
    release "dists/$suite" >Release
  mv Release "dists/$suite/Release"
  gpg --batch --yes --local-user "$key" --clearsign -o "dists/$suite/InRelease" \
    "dists/$suite/Release"
  gpg --batch --yes --local-user "$key" --armor --detach-sign \
    -o "dists/$suite/Release.gpg" "dists/$suite/Release"
done
cd "$target"
rm -rf apt.old
[ ! -e apt ] || mv apt apt.old
mv apt.new apt
rm -rf apt.old
say "the repository is in $target/apt, signed by $key"

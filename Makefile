# The verbs of this repository. Each one installs what is missing on a fresh machine first.
# PG=17 chooses the PostgreSQL major version of the private trees; PG_CONFIG= the server of
# `make install`.

SHELL := /bin/bash
comma := ,
PG ?= 15
CARGO_TARGET_DIR ?= $(CURDIR)/target
export PG CARGO_TARGET_DIR

work := $(shell bash -c '. tests/env/common.sh; echo $$PGQ_WORK')
ours := $(work)/pg/$(PG)/ours/usr/lib/postgresql/$(PG)
# Builds that are not for a server of the user's are against the private tree.
private := PGRX_PG_CONFIG_PATH=$(ours)/bin/pg_config
# PostgreSQL has archive libraries since 15.
library := $(if $(filter 13 14,$(PG)),,-p walmgr_archive)
features := --no-default-features \
	--features pgq_ext/pg$(PG)$(if $(library),$(comma)walmgr_archive/pg$(PG))
# walmgr's small client, which is a workspace of its own and for Linux on x86-64 and aarch64.
push_crate := --manifest-path walmgr/push/Cargo.toml
has_push := $(filter Linux-x86_64 Linux-aarch64,$(shell uname -s)-$(shell uname -m))
push := $(if $(has_push),cargo build --locked $(push_crate),true)

.PHONY: help
help:
	@echo "make demo      see it work: a private PostgreSQL, real load through a queue"
	@echo "make psql      psql on a private PostgreSQL with the extensions"
	@echo "make demo-walmgr  a primary, its archive, a disaster, a restore, a standby"
	@echo "make demo-londiste  two servers replicate tables under load, and their root moves"
	@echo "make test      run every test"
	@echo "make test-modes  the suite of walmgr, encrypted, and with a second repository that fails"
	@echo "make test-versions  suites of the extension on PostgreSQL 13, 17 and 18"
	@echo "make lint      rustfmt, clippy, rustdoc, and CODING.md; warnings are errors"
	@echo "make bench     ratios against upstream PgQ, raw SQL, job queues, pgBackRest and Barman;"
	@echo "               londiste's and PostgreSQL's own replication"
	@echo "make all       PG_CONFIG=/path/to/pg_config: build for that server, in target/built"
	@echo "make install   PG_CONFIG=/path/to/pg_config [DESTDIR=]: install into that server"
	@echo "make deb       Debian packages, in target/deb; for another Debian: SUITE=trixie"
	@echo "make dist      their source, with all crates"
	@echo "make apt-repo  APT_KEY=: a signed repository of them, in target/apt"
	@echo "make test-packages  the packages in containers with a systemd; needs root"
	@echo "make test-packages-here  a part of it that takes a minute: debug build, this machine"
	@echo "make python    the Python module as a wheel, in target/client"
	@echo "make reference  docs/sql-*.md, of what sql/ says of each function"
	@echo "make book      the documentation as HTML, in target/book"
	@echo "make fmt       format the sources"

.PHONY: needs tree peer programs siblings archivers stores pythons queues
needs:
	@tests/env/needs.sh
tree: needs
	@tests/env/tree.sh ours
peer: needs
	@tests/env/tree.sh peer
programs: needs
	@tests/env/programs.sh
siblings: tree
	@tests/env/siblings.sh
archivers: needs
	@tests/env/archivers.sh
stores: needs
	@tests/env/stores.sh
pythons: needs
	@tests/env/python.sh
queues: needs
	@tests/env/queues.sh

# The extension in the private tree, debug or release.
.PHONY: build build-release
build: tree
	$(private) cargo build --locked -p pgq_ext $(library) $(features)
	@PG_CONFIG=$(ours)/bin/pg_config packaging/install.sh all $(CARGO_TARGET_DIR)/debug
build-release: tree
	$(private) cargo build --locked --release -p pgq_ext $(library) $(features)
	@PG_CONFIG=$(ours)/bin/pg_config packaging/install.sh all $(CARGO_TARGET_DIR)/release

# For the server that PG_CONFIG describes, beside what is built for other major versions; and into
# it. DESTDIR goes before its directories; BINDIR and DATADIR are for programs: see
# packaging/install.sh. What is built and not older than its source is installed as it is.
PG_CONFIG ?= pg_config
major := $(shell $(PG_CONFIG) --version 2>/dev/null | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
built := $(CARGO_TARGET_DIR)/built/$(major)
# All that cargo reads, also what is no Rust: tests/suite/install/packaging.rs knows.
sources := Cargo.toml Cargo.lock rust-toolchain.toml docs/walmgr.md packaging/build.sh \
  $(shell find pgq_ext pgq_ticker_bgw client walmgr \( -name target -o -name python \) -prune \
    -o -type f -print)
.PHONY: all install install-server install-programs deb dist
all: $(built)/libpgq.so
$(built)/libpgq.so: $(sources)
	packaging/build.sh $(PG_CONFIG)
install:
	@$(MAKE) -sq all || { tests/env/needs.sh && $(MAKE) all; }
	@PG_CONFIG=$(PG_CONFIG) packaging/install.sh all $(built)
install-server:
	@PG_CONFIG=$(PG_CONFIG) packaging/install.sh server $(built)
install-programs:
	@PG_CONFIG=$(PG_CONFIG) packaging/install.sh programs $(built)

# Debian packages, in target/deb/SUITE, for this machine or for SUITE=trixie; the source of one,
# with its crates, in target/dist.
deb:
	packaging/deb.sh $(SUITE)
dist:
	packaging/dist.sh
# A signed apt repository of target/deb, in target/apt: APT_KEY= names the key.
.PHONY: apt-repo
apt-repo:
	packaging/apt-repo.sh
# The packages in containers that boot a systemd; needs root. Packages that make deb SUITE=… has
# built for other Debians take part.
.PHONY: test-packages
test-packages: deb
	tests/packages/run.sh
# A part of it that CI can afford: packages of the debug build, which make test has made, on this
# machine under a layer.
.PHONY: test-packages-here
test-packages-here: build
	cargo build --locked -p walmgr -p walmgr_tls
	$(push)
	cargo build --locked -p pgq_client --bins
	packaging/deb.sh --built $(CARGO_TARGET_DIR)/debug
	tests/packages/run.sh jobs@here

# The pages of SQL functions, of what sql/ says; they are committed. And docs/ as HTML, in
# target/book.
.PHONY: book reference
reference:
	cargo run --locked -q -p pgq_lint -- . --write-reference
book:
	packaging/book.sh

# The main job, shown on a private PostgreSQL; then psql on such a server.
.PHONY: demo psql hello
hello:
	@echo "1. fetches PostgreSQL $(PG) into $(work), where it stays"
	@echo "2. builds, which takes minutes the first time"
	@echo "3. shows queue, change capture, latency and messages on a server of its own, in a minute"
demo: hello build-release
	cargo build --locked -q -p pgq_client --bin pgq
	@PGQ_WORK=$(work) cargo run --locked -q -p pgq_tests --example demo
psql: build-release
	@PGQ_WORK=$(work) cargo run --locked -q -p pgq_tests --example demo -- --shell
# A primary under load, an archive, a disaster, a restore, a standby: every committed row is
# accounted for.
.PHONY: demo-walmgr
demo-walmgr: tree
	cargo build --locked -q -p walmgr -p walmgr_tls
	$(push) -q
	@PGQ_WORK=$(work) cargo run --locked -q -p pgq_tests --example demo-walmgr

# Tables replicated by the servers themselves to a branch and a leaf, copied under load, and the
# root moved under load: every row is compared.
.PHONY: demo-londiste
demo-londiste: build-release
	cargo build --locked -q -p pgq_client --bin pgq
	@PGQ_WORK=$(work) cargo run --locked -q -p pgq_tests --example demo-londiste

# The pgq command with its man pages and completions, in target/client.
.PHONY: client
client: needs
	cargo build --locked --release -p pgq_client --bins
	@mkdir -p $(CARGO_TARGET_DIR)/client/completions
	@cp $(CARGO_TARGET_DIR)/release/pgq $(CARGO_TARGET_DIR)/client/
	@$(CARGO_TARGET_DIR)/release/pgq man $(CARGO_TARGET_DIR)/client/man
	@for shell in bash zsh fish; do \
		$(CARGO_TARGET_DIR)/release/pgq completions $$shell \
			>$(CARGO_TARGET_DIR)/client/completions/pgq.$$shell; done

# The Python module, a wheel in target/client.
.PHONY: python
python: pythons
	@packaging/python.sh

# Modes in which the suite of walmgr runs once more: `sealed`, where repositories are encrypted,
# and `two`, where there is a second that fails at random. `make test` runs these parts of it,
# `make test-modes` the whole; MODES= chooses.
MODES ?= sealed two
parts_two := archive beside_segments daemon durability promotion push recovery standby
parts_sealed := archive backup beside_segments daemon object_lock objects pins recovery ssh standby
# $(call in_modes,FILTERS): the suite of walmgr in each, or what FILTERS of its name leave.
in_modes = $(foreach mode,$(MODES),PGQ_WORK=$(work) PGQ_WALMGR=$(mode) tests/env/suite.sh \
	$(or $(foreach part,$($1_$(mode)),walmgr::$(part)::),walmgr::) &&) true
.PHONY: test test-modes
test: build peer programs siblings stores pythons
	cargo build --locked -p walmgr -p walmgr_tls
	$(push)
	cargo build --locked -p pgq_client --bins --examples
	cargo test --locked -p pgq_core -p pgq_replica -p pgq_ticker_core -p pgq_connect -p pgq_ini \
		-p pgq_syslog -p pgq_tls -p pgq_client \
		-p walmgr -p walmgr_protocol -p pgq_lint
	PGQ_WORK=$(work) tests/env/pg_tests.sh
	PGQ_WORK=$(work) tests/env/suite.sh
	$(call in_modes,parts)
test-modes: build stores
	cargo build --locked -p walmgr -p walmgr_tls
	$(push)
	$(call in_modes)

# The suites that are nearest to the server, on PostgreSQL of other Debians than this one, which are
# fetched: VERSIONS chooses. Debian 11 has no londiste-sql to compare with.
VERSIONS ?= 13 17 18
version_suites := pgq:: capture:: worker:: londiste:: replication::
.PHONY: test-versions test-version
test-versions:
	set -e; for version in $(VERSIONS); do $(MAKE) test-version PG=$$version; done
test-version: build peer
	cargo build --locked -p pgq_client --bins --examples
	PGQ_WORK=$(work) tests/env/suite.sh $(version_suites) \
		$(if $(filter 13,$(PG)),--skip londiste::peer --skip londiste::copy_roles)

# Ratios, so a release build. BENCH="insert idle" runs only those parts.
.PHONY: bench
bench: build-release peer programs archivers queues
	cargo build --locked --release -p pgq_client -p walmgr -p walmgr_tls --bins
	$(push) --release
	PGQ_WORK=$(work) cargo bench --locked -p pgq_tests --bench peers -- $(BENCH)
	PGQ_WORK=$(work) cargo bench --locked -p pgq_tests --bench worker -- $(BENCH)
	PGQ_WORK=$(work) cargo bench --locked -p pgq_tests --bench walmgr -- $(BENCH)
	PGQ_WORK=$(work) cargo bench --locked -p pgq_tests --bench replication -- $(BENCH)

.PHONY: lint fmt
lint: tree
	cargo run --locked -q -p pgq_lint
	cargo fmt --check
	cargo fmt --check $(push_crate)
	$(private) cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked -p pgq_client --lib --examples --no-default-features -- -D warnings
	$(if $(has_push),cargo clippy --locked $(push_crate) -- -D warnings)
	$(private) RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" \
		cargo doc --locked --no-deps --workspace --document-private-items
fmt:
	cargo fmt
	cargo fmt $(push_crate)

# That the extension compiles for PostgreSQL 13 to 18.
.PHONY: versions
versions: needs
	tests/env/versions.sh
# That everything compiles for aarch64, seen from x86-64.
.PHONY: arm64
arm64: needs
	tests/env/arm64.sh

#!/usr/bin/env bash
# All about packages that takes too long for .ci/run: for a machine of its own, with Debian 12,
# cargo, a network, and root, once a night or before a release. It builds the packages of each
# Debian, builds those of this one a second time, and runs every scenario.
# What is built is for this machine's architecture, and for the major version that each Debian has.
set -euo pipefail
cd "$(dirname "$0")/.."
make deb
make deb SUITE=trixie
tests/packages/twice.sh
tests/packages/run.sh

#!/usr/bin/env bash
# Installs the load generators and the server of the comparison: from Debian, and what Debian lacks with cargo and go.
set -euo pipefail
. "$(dirname "$0")/../../../tests/install.sh"

need nginx nginx-light
need wrk wrk
need hey hey
need h2load nghttp2-client
need setpriv util-linux
need taskset util-linux
install_missing

# A generator that cannot be had is left out of the comparison, which says so.
bin=$cache/bin
mkdir -p "$bin"
export PATH=$PATH:$bin
if ! command -v oha >/dev/null && command -v cargo >/dev/null; then
  cargo install --quiet --locked --root "$cache" oha || echo "oha: not installed"
fi
if ! command -v fortio >/dev/null && command -v go >/dev/null; then
  GOBIN=$bin go install fortio.org/fortio@v1.63.9 || echo "fortio: not installed"
fi

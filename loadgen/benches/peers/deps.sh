#!/usr/bin/env bash
# Installs the load generators and the server of the comparison: from Debian, and what Debian lacks with cargo and go.
set -euo pipefail
. "$(dirname "$0")/../../../tests/install.sh"

# Debian's servers are in sbin, which is on the path of root alone.
export PATH=$PATH:$cache/bin:/usr/sbin
need cc build-essential
need go golang-go
need nginx nginx-light
need wrk wrk
need hey hey
need h2load nghttp2-client
need setpriv util-linux
need taskset util-linux
install_missing

# What cannot be had here is left out of the comparison, which says so.
mkdir -p "$cache/bin"
if ! command -v oha >/dev/null; then
  echo "building oha"
  cargo install --quiet --locked --root "$cache" oha@1.16.0 || echo "oha: not installed" >&2
fi
if ! command -v fortio >/dev/null; then
  echo "building fortio"
  GOBIN=$cache/bin go install fortio.org/fortio@v1.63.9 || echo "fortio: not installed" >&2
fi

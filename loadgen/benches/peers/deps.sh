#!/usr/bin/env bash
# Installs the load generators and the server of the comparison: from Debian, and what Debian lacks with cargo and go.
set -euo pipefail
cache=${GLOOSHOT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/glooshot}
# Debian's servers are here, which is on the path of root alone.
export PATH=$PATH:$cache/bin:/usr/sbin

missing=()
command -v cc >/dev/null || missing+=(build-essential)
command -v go >/dev/null || missing+=(golang-go)
command -v nginx >/dev/null || missing+=(nginx-light)
command -v wrk >/dev/null || missing+=(wrk)
command -v hey >/dev/null || missing+=(hey)
command -v h2load >/dev/null || missing+=(nghttp2-client)
command -v taskset >/dev/null || missing+=(util-linux)

install_packages() {
  if ! command -v apt-get >/dev/null; then
    echo "please install: ${missing[*]}" >&2
    exit 1
  fi
  sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  echo "installing: ${missing[*]}"
  # The comparison starts its own server; Debian's package must not start another.
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

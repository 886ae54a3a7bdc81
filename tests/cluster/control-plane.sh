#!/usr/bin/env bash
# etcd and the API server alone, on loopback, until standard input ends; prints the path of a kubeconfig once they are ready.
# Needs no root. Any number can run side by side. What it has started ends with it, whatever ends it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$here/pki.sh"
. "$here/components.sh"

kubernetes=$("$here/build.sh" hyperkube)
hyperkube=$kubernetes/hyperkube
# All of 127.0.0.0/8 is this machine. The address is that of this process alone, since no other has its number.
address=127.$((64 + ($$ >> 16))).$((($$ >> 8) & 255)).$(($$ & 255))
url=https://$address:6443
state=$(mktemp -d "${TMPDIR:-/tmp}/glooshot-control-plane.XXXXXX")
pki=$state/pki
started=()
input=

stop() {
  # Nothing is kept, so nothing needs to be closed in order.
  kill -KILL $input "${started[@]}" 2>/dev/null || true
  { wait; } 2>/dev/null
  rm -rf "$state"
}
trap stop EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# start NAME FUNCTION ARGUMENT...: in the background, logging to a file. The kernel ends it should this process be killed.
start() {
  local name=$1
  shift
  export hyperkube pki
  setpriv --pdeathsig KILL bash -c '. "$0"; "$@"' "$here/components.sh" "$@" </dev/null >"$state/$name.log" 2>&1 &
  started+=($!)
}

# Whether everything that was started still runs.
all_run() {
  local pid
  for pid in "${started[@]}"; do kill -0 "$pid" 2>/dev/null || return; done
}

fail() {
  tail -n 20 "$state"/*.log >&2
  die "$1"
}

ready() {
  all_run || fail "a part of the control plane ended while it was starting"
  api_is_ready
}

pki_authority
pki_certificate apiserver /CN=kube-apiserver "IP:$address"
pki_kubeconfig admin /O=system:masters/CN=admin "$url"
start etcd run_etcd "$state/etcd" "$address"
# Who has asked for what, beside the kubeconfig's directory; what the API server does for itself is not of interest.
cat >"$state/audit.yaml" <<END
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:apiserver"]}
- {level: Metadata}
END
start apiserver run_apiserver "$address" 10.96.0.0/16 --bind-address "$address" --endpoint-reconciler-type none \
  --allow-privileged \
  --audit-policy-file "$state/audit.yaml" --audit-log-path "$state/audit.log"
deadline=$((SECONDS + 60))
until ready; do
  [ "$SECONDS" -lt "$deadline" ] || fail "the API server is not ready after 60 s"
  sleep 0.05
done
echo "$pki/admin.kubeconfig"

exec 3<&0
cat <&3 >/dev/null &
input=$!
wait -n "$input" "${started[@]}" || true
all_run || fail "a part of the control plane has ended"

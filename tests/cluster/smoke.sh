#!/usr/bin/env bash
# The smoke test of a whole bed: nodes, pods, Services, names and NetworkPolicies do what they do in any cluster.
# Runs on a bed of its own, which it stops; also checks that nothing of it is left.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

chosen=$("$here/up.sh" free)
eval "$chosen"
bed=${KUBECONFIG%/pki/*} bed=${bed##*-}
trap '"$here/down.sh" "$bed"' EXIT
. "$here/bed.sh"
kubectl() { command kubectl --namespace smoke "$@"; }

# check SENTENCE COMMAND...: what the command says is shown when the sentence does not hold.
check() {
  local sentence=$1 said
  shift
  if ! said=$("$@" 2>&1); then
    say "FAILED  $sentence: $said"
    exit 1
  fi
  say "ok      $sentence"
}

get() { kubectl exec "$1" -- /pod get "$2"; }
cannot_get() { ! get "$@"; }
on_node() { kubectl get pods --selector "app=$1" --field-selector "spec.nodeName=node$2" --output "jsonpath={.items[0].$3}"; }

started=$SECONDS
kubectl apply --filename "$here/smoke.yaml" >/dev/null
check "a Deployment becomes ready" kubectl rollout status deployment/server --timeout=60s
check "a DaemonSet becomes ready" kubectl rollout status daemonset/client --timeout=60s
say "        after $((SECONDS - started)) s"
service=$(kubectl get service server --output 'jsonpath={.spec.clusterIP}')
for from in "${nodes[@]}"; do
  client=$(on_node client "$from" metadata.name)
  for to in "${nodes[@]}"; do
    check "a pod of node$from reaches a pod of node$to" get "$client" "http://$(on_node server "$to" status.podIP):9080/"
  done
  check "a pod of node$from reaches a Service by its address" get "$client" "http://$service/"
  check "a pod of node$from reaches a Service by its name" get "$client" "http://server.smoke.svc.cluster.local/"
  check "and by its short name" get "$client" "http://server/"
  check "kubectl shows the logs of a pod of node$from" kubectl logs "$client"
done
check "a process of this machine reaches a Service" curl --silent --fail --max-time 5 --noproxy '*' "http://$service/"
mode() { [ "$("$here/on.sh" "$bed" "$1" curl --silent http://127.0.0.1:10249/proxyMode)" = "$2" ]; }
check "kube-proxy of node1 works with iptables" mode 1 iptables
check "kube-proxy of node2 works with nftables" mode 2 nftables

client=$(on_node client 2 metadata.name)
kubectl apply --filename "$here/smoke-policy.yaml" >/dev/null
await "a NetworkPolicy is enforced" 15 cannot_get "$client" "http://$service/"
for to in "${nodes[@]}"; do
  check "a NetworkPolicy keeps a client from a pod of node$to" cannot_get "$client" "http://$(on_node server "$to" status.podIP):9080/"
done
kubectl delete --filename "$here/smoke-policy.yaml" >/dev/null
await "a NetworkPolicy that is deleted is no longer enforced" 15 get "$client" "http://$service/"
say "ok      a NetworkPolicy that is deleted is no longer enforced"

"$here/down.sh" "$bed"
trap - EXIT
# What a command lists, if anything, is shown as what is left.
lists_nothing() { ! { "$@" 2>/dev/null || true; } | grep .; }
check "no process is left" lists_nothing pgrep --full --list-full -- "$here/node.sh $bed |$state/"
check "no link is left" lists_nothing grep --extended-regexp "^ *$bridge(n[0-9])?:" /proc/net/dev
check "no route is left" lists_nothing ip route show root "10.250.$bed.0/24"
check "no route to a Service is left" lists_nothing ip route show "$services"
check "no mount is left" lists_nothing grep --fixed-strings "$state/" /proc/self/mountinfo
check "no cgroup is left" lists_nothing find /sys/fs/cgroup -name "${bridge}n*"
check "no file is left" lists_nothing find "$state"

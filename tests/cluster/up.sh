#!/usr/bin/env bash
# Starts a bed: a real Kubernetes of two nodes on this machine, with enforced NetworkPolicies. Prints the line that chooses it.
#   up.sh BED    a number, or `free` for the first that nobody uses; needs root. Stop it with down.sh BED.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$here/pki.sh"

[ "$(id -u)" -eq 0 ] || die "needs root: for namespaces, links and cgroups (the control plane alone does not: control-plane.sh)"
"$here/deps.sh"
SECONDS=0
mapfile -t programs < <("$here/build.sh" hyperkube coredns kube-router pod)
[ ${#programs[@]} -eq 4 ] || die "the bed's programs are not there"

# Making a bed's directory claims its number.
claim() {
  [ "$1" = free ] || { bed=$1; . "$here/bed.sh"; mkdir -m 700 "$state" 2>/dev/null; return; }
  for bed in $(seq 0 31); do
    . "$here/bed.sh"
    ! mkdir -m 700 "$state" 2>/dev/null || return 0
  done
  die "all beds are up already; down.sh stops one"
}
bed=0
claim "${1:-}" || die "bed $bed is up already (down.sh $bed stops it), or $state cannot be made"
trap 'say "starting bed $bed failed; its logs:"; tail -n 5 "$state"/node*/*.log >&2 || true; "$here/down.sh" "$bed"' EXIT
. "$here/settings.sh"

# A cgroup for a node, in each hierarchy.
make_cgroups() {
  local parent
  for parent in $(cgroup_hierarchies); do
    mkdir "$parent/$1"
    # In version 1 a new cpuset has no processor and no memory until it is given some.
    if [ -e "$parent/$1/cpuset.mems" ] && [ ! -e "$parent/cgroup.controllers" ]; then
      cat "$parent/cpuset.cpus" >"$parent/$1/cpuset.cpus"
      cat "$parent/cpuset.mems" >"$parent/$1/cpuset.mems"
    fi
  done
}

# The process that has become the first of the node's own namespaces.
first_process() {
  pid=$(pgrep --parent "$1") && [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}

start_node() {
  local node=$1 directory=$state/node$1 link outer
  link=$(node_link "$node")
  pki_kubeconfig "node$node" "/O=system:nodes/CN=system:node:node$node" "$url"
  containerd_settings "$node"
  kubelet_settings "$node"
  make_cgroups "$link"
  # Everything of a node lives in its namespaces: it ends with their first process.
  setsid unshare --fork --kill-child --pid --mount-proc --mount --net --uts --ipc \
    "$here/node.sh" "$bed" "$node" "${programs[@]}" </dev/null >"$directory/node.log" 2>&1 &
  outer=$!
  echo "$outer" >"$directory/outer.pid"
  pid=
  # Called in this shell, for the number that it finds.
  deadline=$((SECONDS + 10))
  until first_process "$outer"; do
    [ "$SECONDS" -lt "$deadline" ] || die "node$node does not start"
    sleep 0.02
  done
  echo "$pid" >"$directory/pid"
  ip link add "$link" type veth peer name eth0 netns "$pid"
  ip link set "$link" master "$bridge" up
  # So that processes of this machine reach pods by their addresses.
  ip route add "$(node_pods "$node")" via "$(node_address "$node")"
}

say "starting bed $bed"
for node in "${nodes[@]}"; do mkdir -p "$state/node$node"; done
pki_authority
pki_certificate apiserver /CN=kube-apiserver "DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$(node_address 1),IP:$api_service"
pki_certificate apiserver-to-kubelet /O=system:masters/CN=apiserver-to-kubelet
pki_kubeconfig admin /O=system:masters/CN=admin "$url"
pki_kubeconfig controllers /CN=system:kube-controller-manager "$url"
pki_kubeconfig scheduler /CN=system:kube-scheduler "$url"
pki_kubeconfig proxy /CN=system:kube-proxy "$url"
# Nothing has to be protected from these two.
pki_kubeconfig dns /O=system:masters/CN=dns "$url"
pki_kubeconfig policies /O=system:masters/CN=policies "$url"
dns_settings
"$here/image.py" "$state/pod.tar" "$sandbox_image" "${programs[3]}/pod"

ip link add "$bridge" type bridge
ip address add "$host_address/24" dev "$bridge"
ip link set "$bridge" up
for node in "${nodes[@]}"; do start_node "$node"; done
ip route add "$services" via "$(node_address 1)"

kubectl() { "${programs[0]}/kubectl" --kubeconfig "$kubeconfig" "$@"; }
await "the API server is ready" 60 api_is_ready
say "API server ready after $SECONDS s"
# Before it exists no pod can be made.
await "the default ServiceAccount exists" 60 kubectl --namespace default get serviceaccount default
for node in "${nodes[@]}"; do
  await "node$node is Ready" 60 kubectl wait --for=condition=Ready "node/node$node" --timeout=1s
  say "node$node Ready after $SECONDS s"
done
trap - EXIT
echo "export KUBECONFIG=$kubeconfig PATH=${programs[0]}:\$PATH"

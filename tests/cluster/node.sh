#!/usr/bin/env bash
# One node of a bed, as the first process of its own namespaces: when it dies, everything in them dies. Started by up.sh.
#   node.sh BED NODE HYPERKUBE COREDNS KUBE_ROUTER POD    the last four are the programs' directories
set -euo pipefail
. "$(dirname "$0")/lib.sh"
bed=$1 node=$2 hyperkube=$3/hyperkube coredns=$4/coredns kube_router=$5/kube-router
. "$here/bed.sh"
. "$here/components.sh"
directory=$state/node$node
address=$(node_address "$node")
PATH=$PATH:/usr/sbin:/sbin

network() {
  hostname "node$node"
  ip link set lo up
  # The other end of this link is made by up.sh, once it knows this process.
  await "the link of node$node" 30 ip link show eth0
  ip address add "$address/24" dev eth0
  ip link set eth0 up
  # Processes of the node use Services, too. There is no default route: nothing leaves this machine.
  ip route add "$services" dev eth0 src "$address"
  # What comes for a Service that kube-proxy does not know yet is refused. It would leave by that route, and the connection that is
  # remembered without its pod would swallow every later one from the same port, for two minutes.
  ip rule add iif eth0 to "$services" unreachable
  for other in "${nodes[@]}"; do
    [ "$other" = "$node" ] || ip route add "$(node_pods "$other")" via "$(node_address "$other")"
  done
  sysctl -qw net.ipv4.ip_forward=1
  # Pods of one node reach each other through a Service only if their bridge shows packets to kube-proxy's rules.
  sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || say "this kernel has no br_netfilter"
}

# Where kubelet and containerd write, and cannot be told otherwise.
file_systems() {
  # kubelet's volumes must be seen by containerd.
  mount --make-rshared /
  mount -t tmpfs tmpfs /run
  for place in lib log; do
    mkdir -p "$directory/var-$place"
    mount --bind "$directory/var-$place" "/var/$place"
  done
  mkdir -p /var/log/containers
}

# start NAME COMMAND...: in the background; its number is one of this node's process namespace.
start() {
  local name=$1
  shift
  "$@" >"$directory/$name.log" 2>&1 &
  echo "$name $!" >>"$directory/components"
}

control_plane() {
  start etcd run_etcd "$directory/etcd" 127.0.0.1
  start kube-apiserver run_apiserver 127.0.0.1 "$services" --advertise-address "$address" --allow-privileged \
    --kubelet-client-certificate "$pki/apiserver-to-kubelet.crt" --kubelet-client-key "$pki/apiserver-to-kubelet.key" \
    --kubelet-preferred-address-types InternalIP
}

controllers() {
  # More requests per second than by default, or a new cluster's first objects wait for its own controllers.
  start kube-controller-manager "$hyperkube" kube-controller-manager --kubeconfig "$pki/controllers.kubeconfig" \
    --flex-volume-plugin-dir "$directory/volume-plugins" \
    --leader-elect=false --kube-api-qps 200 --kube-api-burst 400 --use-service-account-credentials \
    --service-account-private-key-file "$pki/tokens.key" --root-ca-file "$pki/ca.crt" \
    --cluster-signing-cert-file "$pki/ca.crt" --cluster-signing-key-file "$pki/ca.key"
  start kube-scheduler "$hyperkube" kube-scheduler --kubeconfig "$pki/scheduler.kubeconfig" --leader-elect=false
}

images() {
  await "containerd of node$node" 30 ctr --namespace k8s.io images list
  ctr --namespace k8s.io images import "$state/pod.tar"
}

workloads() {
  local mode=iptables
  [ "$node" = 1 ] || mode=nftables
  start kubelet "$hyperkube" kubelet --config "$directory/kubelet.yaml" --kubeconfig "$pki/node$node.kubeconfig" \
    --hostname-override "node$node" --node-ip "$address"
  # The settings of connection tracking are the machine's, and not a node's to change.
  start kube-proxy "$hyperkube" kube-proxy --kubeconfig "$pki/proxy.kubeconfig" --hostname-override "node$node" \
    --proxy-mode $mode --cluster-cidr "$pods" --conntrack-max-per-core 0 \
    --conntrack-tcp-timeout-established 0s --conntrack-tcp-timeout-close-wait 0s
}

policies() {
  # It gives up when its node is unknown.
  await "node$node is registered" 60 "$hyperkube" kubectl --kubeconfig "$kubeconfig" get node "node$node"
  start kube-router "$kube_router" --kubeconfig "$pki/policies.kubeconfig" --hostname-override "node$node" \
    --run-firewall=true --run-router=false --run-service-proxy=false --service-cluster-ip-range "$services" \
    --health-port 0 --metrics-port 0
}

network
file_systems
[ "$node" != 1 ] || control_plane
start containerd containerd --config "$directory/containerd.toml"
images >"$directory/images.log" 2>&1
# Earlier, before the API server knows the roles of its own components, all of these would be refused and wait.
await "the API server is ready" 60 api_is_ready
[ "$node" != 1 ] || controllers
workloads
[ "$node" != 1 ] || start coredns "$coredns" -conf "$state/Corefile"
policies
# The first process of a namespace buries what others leave behind, as long as there is one.
while wait -n || true; do
  [ -n "$(jobs -p)" ] || exit 1
done

# One bed of two nodes: what follows from its number. Sourced with $bed set; beds of different numbers share nothing.

[[ $bed =~ ^[0-9]+$ ]] && [ "$bed" -lt 32 ] || die "a bed's number is 0 to 31, not '$bed'"

nodes=(1 2)
state=/var/tmp/glooshot-bed-$bed
pki=$state/pki
kubeconfig=$state/pki/admin.kubeconfig
bridge=gsbed$bed
host_address=10.250.$bed.1
pods=10.244.$((8 * bed)).0/21
services=10.$((96 + bed)).0.0/16
api_service=10.$((96 + bed)).0.1

node_address() { echo "10.250.$bed.$((1 + $1))"; }
node_pods() { echo "10.244.$((8 * bed + $1)).0/24"; }
node_link() { echo "${bridge}n$1"; }

url=https://$(node_address 1):6443
# What kubectl remembers goes with the bed.
export KUBECACHEDIR=$state/kubectl
# Where the world is reached through an HTTP proxy, a bed is not.
export NO_PROXY=${NO_PROXY:+$NO_PROXY,}10.0.0.0/8,127.0.0.0/8
export no_proxy=$NO_PROXY
sandbox_image=localhost/glooshot-pod:1
# Our own image, and the Prometheus of the bed (load.sh).
glooshot_image=glooshot.local/glooshot:test
prometheus_image=glooshot.local/prometheus:test

# The directories under which a cgroup is made: one (version 2), or one for each controller (version 1).
cgroup_hierarchies() {
  local directory
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    echo /sys/fs/cgroup
    return
  fi
  for directory in /sys/fs/cgroup/*/; do
    directory=${directory%/}
    # Links are second names of the same.
    [ -L "$directory" ] || [ ! -w "$directory/cgroup.procs" ] || echo "$directory"
  done
}

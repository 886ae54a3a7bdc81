#!/usr/bin/env bash
# Installs the Debian packages that the nodes of a bed need: a container runtime, and what kube-proxy and kube-router call.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need containerd containerd
need runc runc
[ -x /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins)
need iptables iptables
need nft nftables
need ipset ipset
need conntrack conntrack
need ip iproute2
need nsenter util-linux
need pgrep procps
need openssl openssl
need curl curl
need python3 python3-minimal
install_missing

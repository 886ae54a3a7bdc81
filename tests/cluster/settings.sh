# The configuration files of a bed's components, written into $state; sourced after bed.sh.

containerd_settings() { # NODE
  cat >"$state/node$1/containerd.toml" <<END
version = 2
root = "$state/node$1/containerd"
# It would make a directory in /opt, for nothing.
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$sandbox_image"
  disable_apparmor = true
  # Containers often may not lower the score by which the kernel chooses what to kill; then no pod would start.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$state/node$1/cni"
END
  mkdir -p "$state/node$1/cni"
  # hairpinMode: a pod may reach itself through its own Service.
  cat >"$state/node$1/cni/10-bed.conflist" <<END
{"cniVersion": "1.0.0", "name": "bed", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$(node_pods "$1")"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
END
}

kubelet_settings() { # NODE
  cat >"$state/node$1/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
# One for each node: a kubelet removes the pods' cgroups that it does not know, and would find the other's here.
cgroupRoot: /$(node_link "$1")
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: [$(node_address 1)]
clusterDomain: cluster.local
# By default it makes one in /usr.
volumePluginDir: $state/node$1/volume-plugins
resolvConf: ""
# What has been imported cannot be pulled again.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%"}
END
}

dns_settings() {
  cat >"$state/Corefile" <<END
.:53 {
  errors
  bind $(node_address 1)
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $pki/dns.kubeconfig
    ttl 5
  }
  cache 5
}
END
}

# The command lines of etcd and the API server; sourced by what starts them. $hyperkube is the program, $pki the certificates.

# run_etcd DIRECTORY ADDRESS: becomes etcd. Nothing of a bed outlives it, so nothing waits for the disk.
run_etcd() {
  exec "$hyperkube" etcd --data-dir "$1" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "http://$2:2379" --advertise-client-urls "http://$2:2379" \
    --listen-peer-urls "http://$2:2380" --initial-advertise-peer-urls "http://$2:2380" \
    --initial-cluster "default=http://$2:2380"
}

# run_apiserver ETCD_ADDRESS SERVICE_RANGE FLAG...: becomes the API server: everybody needs a certificate or a token, and rights.
run_apiserver() {
  local etcd=$1 services=$2
  shift 2
  exec "$hyperkube" kube-apiserver --etcd-servers "http://$etcd:2379" --secure-port 6443 \
    --authorization-mode Node,RBAC --anonymous-auth=false --enable-admission-plugins NodeRestriction \
    --client-ca-file "$pki/ca.crt" --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$pki/tokens.pub" --service-account-signing-key-file "$pki/tokens.key" \
    --service-cluster-ip-range "$services" "$@"
}

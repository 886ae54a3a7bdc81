// What enforces NetworkPolicies in the test bed. The fork keeps the module path of the original, whose own releases are not in
// the checksum database.
module glooshot/tests/cluster/kube-router

go 1.24.0

require github.com/cloudnativelabs/kube-router/v2 v2.6.2

replace github.com/cloudnativelabs/kube-router/v2 => github.com/k3s-io/kube-router/v2 v2.6.2

//! Who calls the control channel: a pod of one of our own proxy ReplicaSets, by a token that only it has, from its own address.

use std::net::IpAddr;

use glooshot_api::names::ServiceName;
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus},
    core::v1::{Pod, Service},
};
use kube::{Api, Client, ResourceExt as _, api::PostParams};

use super::{metrics::Metrics, observe::World};
use crate::{
    control::server::{Authenticator, Identity, Unauthenticated},
    paths::redirect::names,
};

/// Where the API server says which pod a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Recognises the pods of our own proxies.
#[derive(Clone)]
pub(crate) struct Tokens {
    client: Client,
    world: World,
    metrics: Metrics,
}

impl Tokens {
    pub(crate) const fn new(client: Client, world: World, metrics: Metrics) -> Self {
        Self { client, world, metrics }
    }

    async fn recognise(&self, token: &str, peer: IpAddr) -> Result<Identity, Unauthenticated> {
        let spec = TokenReviewSpec { audiences: Some(vec![names::AUDIENCE.to_owned()]), token: Some(token.to_owned()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviewed = Api::<TokenReview>::all(self.client.clone()).create(&PostParams::default(), &review).await;
        let status = match reviewed {
            Ok(review) => review.status.unwrap_or_default(),
            Err(error) => {
                return Err(Unauthenticated::Unavailable(format!("the API server was asked in vain: {error}")));
            }
        };
        let bound = bound(&status)?;
        let pod = self.world.pod(&bound.namespace, &bound.pod);
        let service = pod.as_deref().and_then(|pod| {
            let name = pod.annotations().get(names::SERVICE)?;
            self.world.service(&bound.namespace, name)
        });
        judge(&bound, pod.as_deref(), service.as_deref(), peer)
    }
}

impl Authenticator for Tokens {
    async fn authenticate(&self, token: &str, peer: IpAddr) -> Result<Identity, Unauthenticated> {
        let recognised = self.recognise(token, peer).await;
        if let Err(Unauthenticated::Refused(reason)) = &recognised {
            self.metrics.refused();
            tracing::info!(%peer, %reason, "a caller of the control channel was refused");
        }
        recognised
    }
}

/// What a token says of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bound {
    namespace: String,
    account: String,
    pod: String,
    uid: String,
}

fn refused<T>(reason: &str) -> Result<T, Unauthenticated> {
    Err(Unauthenticated::Refused(reason.to_owned()))
}

/// The pod that a reviewed token is bound to.
fn bound(status: &TokenReviewStatus) -> Result<Bound, Unauthenticated> {
    if status.authenticated != Some(true) {
        return refused("the token is not valid here");
    }
    if !status.audiences.iter().flatten().any(|audience| audience == names::AUDIENCE) {
        return refused("the token is for another audience");
    }
    let Some(user) = &status.user else { return refused("the token has no owner") };
    let account = user.username.as_deref().and_then(|name| name.strip_prefix("system:serviceaccount:"));
    let Some((namespace, account)) = account.and_then(|rest| rest.split_once(':')) else {
        return refused("the token is not that of a ServiceAccount");
    };
    let extra = |key: &str| user.extra.as_ref()?.get(key)?.first().cloned();
    let (Some(pod), Some(uid)) = (extra(POD_NAME), extra(POD_UID)) else {
        return refused("the token is not bound to a pod");
    };
    Ok(Bound { namespace: namespace.to_owned(), account: account.to_owned(), pod, uid })
}

/// Whether the pod is one of our proxies, and which Service it serves.
fn judge(
    bound: &Bound,
    pod: Option<&Pod>,
    service: Option<&Service>,
    peer: IpAddr,
) -> Result<Identity, Unauthenticated> {
    let Some(pod) = pod.filter(|pod| pod.uid().as_deref() == Some(&bound.uid)) else {
        return refused("the pod of the token is not known here (yet)");
    };
    if !names::is_ours(&pod.metadata) {
        return refused("the pod is not one of our proxies");
    }
    let Some(service) = service else { return refused("the Service of the pod is not known here") };
    let uid = service.uid().unwrap_or_default();
    if pod.labels().get(names::SERVICE_UID) != Some(&uid) {
        return refused("the pod is a proxy for an earlier Service of this name");
    }
    // The ReplicaSet of the Deployment that we made for this very Service; its account has the same name.
    let proxy = names::proxy(&uid);
    let is_of_proxy = |owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| {
        let hash = owner.name.strip_prefix(&proxy).and_then(|rest| rest.strip_prefix('-'));
        owner.kind == "ReplicaSet" && owner.controller == Some(true) && hash.is_some_and(|hash| !hash.contains('-'))
    };
    if bound.account != proxy || !pod.owner_references().iter().any(is_of_proxy) {
        return refused("the pod does not belong to the proxy that we made for its Service");
    }
    let status = pod.status.as_ref();
    let mut addresses = status.iter().flat_map(|status| {
        let all = status.pod_ips.iter().flatten().map(|it| it.ip.as_str());
        status.pod_ip.as_deref().into_iter().chain(all)
    });
    if !addresses.any(|address| address.parse::<IpAddr>().is_ok_and(|address| address == peer.to_canonical())) {
        return refused("the call does not come from the pod's own address");
    }
    let service = ServiceName { namespace: bound.namespace.clone(), name: service.name_any() };
    Ok(Identity { service, pod: bound.pod.clone(), uid: bound.uid.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SERVICE_UID: &str = "0a1b2c3d-0000-0000-0000-000000000000";
    const PEER: &str = "10.1.2.3";

    fn review() -> Value {
        json!({
            "authenticated": true,
            "audiences": [names::AUDIENCE],
            "user": {
                "username": format!("system:serviceaccount:bookinfo:{}", names::proxy(SERVICE_UID)),
                "extra": {POD_NAME: ["the-pod"], POD_UID: ["pod-uid"]},
            },
        })
    }

    fn pod() -> Value {
        json!({
            "metadata": {
                "name": "the-pod", "namespace": "bookinfo", "uid": "pod-uid",
                "labels": {names::MANAGED_BY: names::US, names::SERVICE_UID: SERVICE_UID},
                "annotations": {names::SERVICE: "ratings"},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true, "uid": "r",
                    "name": format!("{}-6d4b75cb6d", names::proxy(SERVICE_UID)),
                }],
            },
            "status": {"podIP": PEER, "podIPs": [{"ip": PEER}, {"ip": "fd00::3"}]},
        })
    }

    fn authenticate(review: &Value, pod: &Value, peer: &str) -> Result<Identity, String> {
        let service = json!({"metadata": {"name": "ratings", "namespace": "bookinfo", "uid": SERVICE_UID}});
        let status: TokenReviewStatus = serde_json::from_value(review.clone()).unwrap();
        let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
        let service: Service = serde_json::from_value(service).unwrap();
        let judged = bound(&status).and_then(|bound| judge(&bound, Some(&pod), Some(&service), peer.parse().unwrap()));
        judged.map_err(|error| error.to_string())
    }

    #[test]
    fn a_pod_of_our_own_proxy_serves_the_service_that_it_was_made_for() {
        for peer in [PEER, "fd00::3", "::ffff:10.1.2.3"] {
            let identity = authenticate(&review(), &pod(), peer).unwrap();
            assert_eq!(identity.service.to_string(), "bookinfo/ratings");
            assert_eq!((identity.pod.as_str(), identity.uid.as_str()), ("the-pod", "pod-uid"));
        }
    }

    #[test]
    fn everybody_else_is_refused_with_the_reason() {
        let cases: [(&str, Value, &str); 13] = [
            ("/authenticated", json!(false), "not valid"),
            ("/audiences", json!([]), "another audience"),
            ("/audiences", json!(["https://kubernetes.default.svc"]), "another audience"),
            ("/user/username", json!("admin"), "not that of a ServiceAccount"),
            ("/user/username", json!("system:serviceaccount:bookinfo:default"), "does not belong to the proxy"),
            ("/user/extra", json!({}), "not bound to a pod"),
            ("/user/extra", json!({POD_NAME: ["the-pod"], POD_UID: ["an-earlier-one"]}), "not known here"),
            ("/metadata/labels", json!({names::SERVICE_UID: SERVICE_UID}), "not one of our proxies"),
            ("/metadata/labels", json!({names::MANAGED_BY: names::US, names::SERVICE_UID: "x"}), "earlier Service"),
            ("/metadata/ownerReferences", json!([]), "does not belong to the proxy"),
            ("/metadata/ownerReferences/0/kind", json!("Job"), "does not belong to the proxy"),
            ("/metadata/ownerReferences/0/name", json!("glooshot-other-1"), "does not belong to the proxy"),
            ("/status", json!({"podIP": "10.1.2.4"}), "own address"),
        ];
        for (pointer, value, words) in cases {
            let (mut review, mut pod) = (review(), pod());
            let place = review.pointer_mut(pointer).or_else(|| pod.pointer_mut(pointer));
            *place.unwrap() = value;
            let refused = authenticate(&review, &pod, PEER).unwrap_err();
            assert!(refused.contains(words), "{pointer}: {refused}");
        }
    }

    #[test]
    fn a_pod_that_is_not_known_is_refused() {
        let status: TokenReviewStatus = serde_json::from_value(review()).unwrap();
        let judged = judge(&bound(&status).unwrap(), None, None, PEER.parse().unwrap());
        assert!(matches!(judged, Err(Unauthenticated::Refused(_))), "{judged:?}");
    }
}

//! The Mesh objects that experiments can name: our own proxy is always one.

use glooshot_api::mesh::{Mesh, MeshSpec, ProxyMesh};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};

/// The name of the Mesh that stands for our own proxy.
pub const PROXY: &str = "glooshot-proxy";

/// Writes the Mesh of our own proxy as it is in this version.
pub(crate) async fn write(client: Client, namespace: &str) -> Result<(), kube::Error> {
    let proxy = ProxyMesh { version: Some(env!("CARGO_PKG_VERSION").to_owned()) };
    let mesh = Mesh::new(PROXY, MeshSpec { proxy: Some(proxy), ..MeshSpec::default() });
    let how = PatchParams::apply(super::MANAGER).force();
    Api::<Mesh>::namespaced(client, namespace).patch(PROXY, &how, &Patch::Apply(&mesh)).await.map(drop)
}

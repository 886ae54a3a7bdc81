//! What the controller is built against until the branch `redirect` is merged, whose version of this file replaces it.
use crate::{
    control::server::Hub,
    engine::{DataPath, data_path::*},
    proxy::Moment,
};
use glooshot_api::{plan::FencingToken, scenario::Scenario, status::InjectionStatus};
use jiff::Timestamp;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
pub mod names;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign {
    pub fencing: FencingToken,
    pub until: Moment,
}
#[derive(Clone, Debug)]
pub struct Owner {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}
#[derive(Clone, Debug)]
pub struct Settings {
    pub image: String,
    pub pull_secrets: Vec<String>,
    pub control_address: String,
    pub control_ca: String,
    pub replicas: u16,
}
#[derive(Clone, Debug)]
pub struct Redirect;
#[derive(Debug)]
pub struct RedirectPath;
impl Redirect {
    pub fn new(_: kube::Client, _: Hub, _: Settings, _: watch::Receiver<Option<Reign>>) -> Self {
        Self
    }
    pub fn path(&self, _: Owner, _: Timestamp, _: watch::Receiver<Moment>) -> RedirectPath {
        RedirectPath
    }
    pub async fn release(&self, _: &str) -> Result<(), PathError> {
        Ok(())
    }
}
impl DataPath for RedirectPath {
    fn describe(&self) -> PathDescription {
        PathDescription { kind: "Proxy", reason: "x".into() }
    }
    async fn route(&self, _: &Scenario) -> Result<(), PathError> {
        Ok(())
    }
    async fn arm(&self) -> Result<(), PathError> {
        Ok(())
    }
    async fn disarm(&self) -> Result<(), PathError> {
        Ok(())
    }
    fn cut(&self) {}
    fn renew(&self) -> Result<(), PathError> {
        Ok(())
    }
    async fn restore(&self) -> Result<(), PathError> {
        Ok(())
    }
    fn events(&self) -> mpsc::Receiver<PathEvent> {
        let (s, r) = mpsc::channel(1);
        std::mem::forget(s);
        r
    }
    fn readings(&self) -> Vec<Reading> {
        vec![]
    }
    fn injection(&self) -> Vec<InjectionStatus> {
        vec![]
    }
    fn missing_callers(&self) -> Vec<String> {
        vec![]
    }
    fn stop_latency(&self) -> Option<Duration> {
        None
    }
}

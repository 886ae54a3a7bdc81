//! The options of the channel to the controllers: all of them, or none.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

use crate::control::client::Settings;

const CONTROL_LONG_HELP: &str = "\
The controllers that say what holds: NAME:PORT, where every address of NAME is one; may be repeated

The proxy keeps a connection to each of them and obeys the one that leads. Faults end 5s after it was last heard of.
Without this option nobody can switch a fault on.";

/// Where the controllers are, and how both sides know each other.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ControlOptions {
    /// The controllers that say what holds: NAME:PORT, where every address of NAME is one; may be repeated
    #[arg(
        long = "control",
        value_name = "NAME:PORT",
        value_parser = controller,
        long_help = CONTROL_LONG_HELP,
        requires_all = ["control_ca", "control_name", "control_token"]
    )]
    control: Vec<String>,

    /// The authorities (PEM) that may have signed a controller's certificate; read anew for each connection
    #[arg(long, value_name = "FILE", requires = "control")]
    control_ca: Option<PathBuf>,

    /// The DNS name that a controller's certificate must be for
    #[arg(long, value_name = "DNSNAME", value_parser = dns_name, requires = "control")]
    control_name: Option<String>,

    /// The file with the bearer token that we show to controllers; read anew for each connection and once a minute
    #[arg(long, value_name = "FILE", requires = "control")]
    control_token: Option<PathBuf>,
}

impl ControlOptions {
    /// What the channel is started with, if it is wanted.
    pub(super) fn settings(&self) -> Option<Settings> {
        Some(Settings {
            controllers: Some(self.control.clone()).filter(|controllers| !controllers.is_empty())?,
            ca: self.control_ca.clone()?,
            name: self.control_name.clone()?,
            token: self.control_token.clone()?,
        })
    }
}

fn controller(text: &str) -> Result<String, String> {
    let (name, port) = text.rsplit_once(':').unwrap_or_default();
    if name.is_empty() || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err("write NAME:PORT, as in glooshot-control.glooshot.svc:9443".to_owned());
    }
    Ok(text.to_owned())
}

fn dns_name(text: &str) -> Result<String, String> {
    match ServerName::try_from(text) {
        Ok(ServerName::DnsName(_)) => Ok(text.to_owned()),
        _ => Err("is no DNS name, as in glooshot-control.glooshot.svc".to_owned()),
    }
}

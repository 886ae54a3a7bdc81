//! How each routed Service port speaks: `--tls`, `--upstream-tls` and `--upstream-protocol`, parsed.

use std::{path::PathBuf, str::FromStr};

use glooshot_api::names::ServicePort;

use super::options::service_port;
use crate::proxy::{CertificateFiles, StaticRoute, UpstreamProtocol, UpstreamTrust};

pub(super) const TLS_HELP: &str = "End TLS for a Service port: NS/SVC:PORT=CERT.pem,KEY.pem";
pub(super) const TLS_LONG_HELP: &str = "\
End TLS for a Service port: NS/SVC:PORT=CERT.pem,KEY.pem

Clients get this certificate, and their requests can be faulted; HTTP/2 is offered to them. Needs --upstream-tls for the
same port. Changed files are taken within a second, without a restart. Without it TLS passes through untouched.";
pub(super) const UPSTREAM_TLS_HELP: &str =
    "TLS towards a port's upstreams: NS/SVC:PORT=plaintext, or =[ca=FILE][,name=NAME]";
pub(super) const UPSTREAM_TLS_LONG_HELP: &str = "\
TLS towards a port's upstreams: NS/SVC:PORT=plaintext, or =[ca=FILE][,name=NAME]

plaintext: the upstreams speak plain HTTP. ca=FILE: their certificate must be signed by an authority in this PEM file; without
it by one that browsers trust. name=NAME: the name that it must be for [default: SVC.NS.svc]";
pub(super) const UPSTREAM_PROTOCOL_HELP: &str =
    "The HTTP that a port's upstreams are spoken to in: NS/SVC:PORT=same|http1|http2";
pub(super) const UPSTREAM_PROTOCOL_LONG_HELP: &str = "\
The HTTP that a port's upstreams are spoken to in: NS/SVC:PORT=same|http1|http2

same (the default): as the client speaks, and HTTP/1 where the client's TLS ends here and the upstream is plain. http2 without
TLS is HTTP/2 with prior knowledge, as gRPC services speak it.";

/// One `--tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsOption {
    port: ServicePort,
    files: CertificateFiles,
}

/// One `--upstream-tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamTlsOption {
    port: ServicePort,
    /// `None` is plaintext.
    trust: Option<UpstreamTrust>,
}

/// One `--upstream-protocol`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamProtocolOption {
    port: ServicePort,
    protocol: UpstreamProtocol,
}

const TLS_FORM: &str = "write NS/SVC:PORT=CERT.pem,KEY.pem, as in shop/orders:443=tls.crt,tls.key";
const UPSTREAM_TLS_FORM: &str = "write NS/SVC:PORT=plaintext or NS/SVC:PORT=ca=FILE,name=NAME, as in shop/orders:443=ca=ca.crt,name=orders.shop.svc";
const UPSTREAM_PROTOCOL_FORM: &str = "write NS/SVC:PORT=same, http1 or http2, as in shop/orders:9000=http2";

/// The Service port before the first `=`, and what stands behind it.
fn split<'t>(text: &'t str, form: &str) -> Result<(ServicePort, &'t str), String> {
    let (port, rest) = text.split_once('=').ok_or_else(|| format!("no '=' in {text:?}; {form}"))?;
    Ok((service_port(port, form)?, rest.trim()))
}

impl FromStr for TlsOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (port, files) = split(text, TLS_FORM)?;
        let (certificate, key) = files
            .split_once(',')
            .filter(|(certificate, key)| !certificate.is_empty() && !key.is_empty() && !key.contains(','))
            .ok_or_else(|| format!("{files:?} is not two files; {TLS_FORM}"))?;
        let (certificate, key) = (PathBuf::from(certificate.trim()), PathBuf::from(key.trim()));
        Ok(Self { port, files: CertificateFiles { certificate, key } })
    }
}

impl FromStr for UpstreamTlsOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (port, rest) = split(text, UPSTREAM_TLS_FORM)?;
        if rest == "plaintext" {
            return Ok(Self { port, trust: None });
        }
        let mut trust = UpstreamTrust { ca: None, server_name: port.service.dns_name() };
        for part in rest.split(',').filter(|part| !part.is_empty()) {
            match part.trim().split_once('=') {
                Some(("ca", file)) if !file.is_empty() => trust.ca = Some(PathBuf::from(file)),
                Some(("name", name)) if !name.is_empty() => name.clone_into(&mut trust.server_name),
                _ => return Err(format!("{part:?} is neither ca=FILE nor name=NAME; {UPSTREAM_TLS_FORM}")),
            }
        }
        Ok(Self { port, trust: Some(trust) })
    }
}

impl FromStr for UpstreamProtocolOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (port, protocol) = split(text, UPSTREAM_PROTOCOL_FORM)?;
        let protocol = match protocol {
            "same" => UpstreamProtocol::Same,
            "http1" => UpstreamProtocol::Http1,
            "http2" => UpstreamProtocol::Http2,
            other => return Err(format!("{other:?} is no protocol; {UPSTREAM_PROTOCOL_FORM}")),
        };
        Ok(Self { port, protocol })
    }
}

/// Applies the options to the routes that they name.
pub(super) fn apply(
    routes: &mut [StaticRoute],
    tls: &[TlsOption],
    upstream_tls: &[UpstreamTlsOption],
    protocols: &[UpstreamProtocolOption],
) -> Result<(), String> {
    for option in tls {
        let route = find(routes, &option.port, "--tls")?;
        if route.tls.replace(option.files.clone()).is_some() {
            return Err(format!("--tls names {} twice", option.port));
        }
        if !upstream_tls.iter().any(|upstream| upstream.port == option.port) {
            return Err(format!(
                "--tls for {0} needs --upstream-tls for it: {0}=plaintext, or {0}=ca=FILE,name=NAME",
                option.port
            ));
        }
    }
    let mut named = Vec::new();
    for option in upstream_tls {
        find(routes, &option.port, "--upstream-tls")?.upstream_tls.clone_from(&option.trust);
        if named.contains(&&option.port) {
            return Err(format!("--upstream-tls names {} twice", option.port));
        }
        named.push(&option.port);
    }
    for option in protocols {
        find(routes, &option.port, "--upstream-protocol")?.upstream_protocol = option.protocol;
    }
    Ok(())
}

fn find<'r>(routes: &'r mut [StaticRoute], port: &ServicePort, option: &str) -> Result<&'r mut StaticRoute, String> {
    let known: Vec<String> = routes.iter().map(|route| route.origin.port.to_string()).collect();
    routes
        .iter_mut()
        .find(|route| route.origin.port == *port)
        .ok_or_else(|| format!("{option} names {port}, which no --route serves; they serve {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_tls_are_two() {
        let option: TlsOption = "shop/orders:443=tls.crt,tls.key".parse().unwrap();
        assert_eq!(option.files.key, PathBuf::from("tls.key"));
        for text in ["shop/orders:443=tls.crt", "shop/orders:443=,tls.key", "shop/orders=a,b", "a,b"] {
            let error = text.parse::<TlsOption>().unwrap_err();
            assert!(error.contains("as in shop/orders:443=tls.crt,tls.key"), "{text}: {error}");
        }
    }

    #[test]
    fn an_upstream_is_trusted_by_its_authority_and_its_name() {
        let parse = |text: &str| text.parse::<UpstreamTlsOption>().map(|option| option.trust);
        assert_eq!(parse("shop/orders:443=plaintext"), Ok(None));
        let trust = parse("shop/orders:443=ca=ca.crt").unwrap().unwrap();
        assert_eq!((trust.ca, trust.server_name.as_str()), (Some(PathBuf::from("ca.crt")), "orders.shop.svc"));
        let trust = parse("shop/orders:443=name=orders.example").unwrap().unwrap();
        assert_eq!((trust.ca, trust.server_name.as_str()), (None, "orders.example"));
        assert!(parse("shop/orders:443=ca").unwrap_err().contains("ca=FILE"));
    }

    #[test]
    fn a_protocol_is_one_of_three() {
        assert!("shop/orders:9000=h2".parse::<UpstreamProtocolOption>().unwrap_err().contains("http2"));
        assert!("shop/orders:9000=http2".parse::<UpstreamProtocolOption>().is_ok());
    }
}

//! Where requests may go whose address an author wrote: only to hosts that the operator allows, judged again by the address
//! that the name resolves to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

/// A host that the operator allows, on every port or on one: `hooks.example.com`, `10.0.0.7:8080`, `[fd00::7]:8080`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    host: String,
    port: Option<u16>,
}

/// A text that is not a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host; write for example \"hooks.example.com\", \"10.0.0.7:8080\" or \"[fd00::7]:8080\"")]
pub struct AllowedHostError(String);

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, AllowedHostError> {
        let wrong = || AllowedHostError(text.to_owned());
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { host: address.to_string(), port: None });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { host: address.ip().to_string(), port: Some(address.port()) });
        }
        if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            let address: Ipv6Addr = address.parse().map_err(|_| wrong())?;
            return Ok(Self { host: address.to_string(), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let host = normal(host);
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if host.is_empty() || !host.chars().all(is_name) {
            return Err(wrong());
        }
        Ok(Self { host, port })
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// What the operator allows; nothing by default.
#[derive(Clone, Debug, Default)]
pub struct EgressPolicy {
    allowed: Arc<[AllowedHost]>,
}

/// Why a URL is not requested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// Not an HTTP URL.
    #[error("{0:?} is not an HTTP URL; write for example \"http://hooks.example.com/check\"")]
    NotHttp(String),
    /// A user or a password in the URL: it would be readable in the Experiment.
    #[error("the URL holds credentials, which everybody could read who can read the Experiment")]
    Credentials,
    /// The operator does not allow the host.
    #[error("requests to {host}:{port} are not allowed; allowed are: {allowed}. The operator can add it")]
    NotAllowed {
        /// The host of the URL.
        host: String,
        /// Its port.
        port: u16,
        /// What is allowed.
        allowed: String,
    },
}

impl EgressPolicy {
    /// Allows these hosts and no others.
    pub fn new(allowed: impl IntoIterator<Item = AllowedHost>) -> Self {
        Self { allowed: allowed.into_iter().collect() }
    }

    /// Reads a URL and judges its host by name.
    ///
    /// # Errors
    /// When the text is not an HTTP URL, holds credentials, or names a host that is not allowed.
    pub fn admit(&self, url: &str) -> Result<Url, EgressError> {
        let not_http = || EgressError::NotHttp(super::http::shown(url));
        let url = Url::parse(url).map_err(|_| not_http())?;
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return Err(not_http()) };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(not_http());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EgressError::Credentials);
        }
        let host = normal(host.trim_start_matches('[').trim_end_matches(']'));
        if self.allowed.iter().any(|a| a.host == host && a.port.is_none_or(|allowed| allowed == port)) {
            return Ok(url);
        }
        let mut allowed: Vec<String> = self.allowed.iter().take(10).map(ToString::to_string).collect();
        if allowed.is_empty() {
            allowed.push("none".to_owned());
        }
        Err(EgressError::NotAllowed { host, port, allowed: allowed.join(", ") })
    }

    /// Whether the address that an allowed name resolved to may be connected to.
    fn admits(&self, name: &str, address: IpAddr) -> bool {
        let named = address.to_string();
        let explicitly = self.allowed.iter().any(|allowed| allowed.host == named);
        let own_machine = name == "localhost" && address.is_loopback();
        explicitly || own_machine || !is_sensitive(address)
    }
}

/// Resolves names, and keeps back the addresses that only the operator can ask for.
#[derive(Debug)]
pub(super) struct GuardedResolver(pub(super) EgressPolicy);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let name = normal(name.as_str());
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let admitted: Vec<SocketAddr> =
                found.iter().copied().filter(|address| policy.admits(&name, address.ip())).collect();
            if admitted.is_empty() && !found.is_empty() {
                let refused = format!("{name} resolves to an address that is not allowed ({})", first_ip(&found));
                return Err(refused.into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

fn first_ip(addresses: &[SocketAddr]) -> String {
    addresses.first().map(|address| address.ip().to_string()).unwrap_or_default()
}

/// A host name as it is compared: lower case, without the dot of the root.
fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Addresses that lead to this machine, to its link, to everybody, or to a cloud's instance metadata.
fn is_sensitive(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_sensitive_v4(v4),
        IpAddr::V6(v6) => {
            const AWS_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || v6 == AWS_METADATA
                || embedded(v6).is_some_and(is_sensitive_v4)
        }
    }
}

fn is_sensitive_v4(v4: Ipv4Addr) -> bool {
    /// Alibaba, Azure and Oracle; those of the others are link-local.
    const METADATA: [Ipv4Addr; 3] =
        [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
    v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        || v4.octets().first() == Some(&0)
        || METADATA.contains(&v4)
}

/// The IPv4 address inside an IPv6 one: mapped and compatible (RFC 4291 §2.5.5), NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => v6.to_ipv4(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn policy(allowed: &[&str]) -> EgressPolicy {
        EgressPolicy::new(allowed.iter().map(|text| text.parse().unwrap()))
    }

    #[test]
    fn only_named_hosts_and_ports_are_admitted() {
        let policy = policy(&["Hooks.Example.com", "10.0.0.7:8080", "[fd00::7]:8080", "fd00::8"]);
        for url in [
            "http://hooks.example.com/check",
            "https://HOOKS.example.com.:8443/check",
            "http://10.0.0.7:8080/",
            "http://[fd00:0::7]:8080/",
            "http://[fd00::8]/",
        ] {
            assert!(policy.admit(url).is_ok(), "{url}: {:?}", policy.admit(url));
        }
        for url in [
            "http://example.com/",
            "http://hooks.example.com.evil.org/",
            "http://10.0.0.7/",
            "http://10.0.0.7:8081/",
            "http://0x0a000007/",
            "http://[::ffff:10.0.0.7]:8080/",
        ] {
            assert!(matches!(policy.admit(url), Err(EgressError::NotAllowed { .. })), "{url}");
        }
        assert_eq!(policy.admit("http://u:p@hooks.example.com/").unwrap_err(), EgressError::Credentials);
        for url in ["", "hooks.example.com", "ftp://hooks.example.com/", "file:///etc/passwd", "unix:/x"] {
            assert!(matches!(policy.admit(url), Err(EgressError::NotHttp(_))), "{url}");
        }
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        let error = EgressPolicy::default().admit("http://hooks.example.com/").unwrap_err();
        let text = "requests to hooks.example.com:80 are not allowed; allowed are: none. The operator can add it";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn a_name_may_not_lead_to_this_machine_its_link_or_a_metadata_service() {
        let policy = policy(&["hooks.example.com"]);
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            assert!(!policy.admits("hooks.example.com", address.parse().unwrap()), "{address}");
        }
        for address in ["10.96.0.10", "192.168.1.1", "172.16.0.1", "203.0.113.7", "fd00::7", "2001:db8::1"] {
            assert!(policy.admits("hooks.example.com", address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_address_that_the_operator_names_is_admitted_whatever_it_is() {
        assert!(policy(&["hooks.example.com", "127.0.0.1"]).admits("hooks.example.com", "127.0.0.1".parse().unwrap()));
        assert!(policy(&["localhost"]).admits("localhost", "127.0.0.1".parse().unwrap()));
        assert!(!policy(&["localhost"]).admits("localhost", "169.254.169.254".parse().unwrap()));
    }

    #[test]
    fn a_host_is_read_as_operators_write_it() {
        for (text, shown) in
            [("A.b", "a.b"), ("a:80", "a:80"), ("::1", "::1"), ("[::1]", "::1"), ("my_svc.ns.", "my_svc.ns")]
        {
            assert_eq!(text.parse::<AllowedHost>().unwrap().to_string(), shown);
        }
        for text in ["", ":80", "a:b", "a:99999", "http://a", "a/b", "*.a", "[a]", "a b"] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
    }
}

//! Which service to be, where it listens, and where the services are that it calls.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use http::uri::Authority;

/// One of the application's services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Service {
    /// The HTML page; calls details and reviews.
    Productpage,
    /// Author, pages, publisher.
    Details,
    /// Stars by reviewer.
    Ratings,
    /// Texts of the reviews; all versions but v1 call ratings.
    Reviews,
}

impl Service {
    /// The name in lower case, as in its paths.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Productpage => "productpage",
            Self::Details => "details",
            Self::Ratings => "ratings",
            Self::Reviews => "reviews",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A version of reviews. The other services have v1 only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, ValueEnum)]
pub enum Version {
    /// No stars.
    #[default]
    V1,
    /// Black stars.
    V2,
    /// Red stars; survives a failing ratings.
    V3,
    /// Red stars; fails when ratings fails.
    V4,
}

impl Version {
    /// `v1` to `v4`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
            Self::V4 => "v4",
        }
    }

    /// Colour of the stars; `None` if this version shows none and does not call ratings.
    #[must_use]
    pub fn stars(self) -> Option<&'static str> {
        match self {
            Self::V1 => None,
            Self::V2 => Some("black"),
            Self::V3 | Self::V4 => Some("red"),
        }
    }

    /// How long it waits for ratings.
    #[must_use]
    pub fn ratings_timeout(self) -> Duration {
        match self {
            Self::V1 | Self::V2 => Duration::from_secs(10),
            Self::V3 | Self::V4 => Duration::from_millis(2500),
        }
    }

    /// Whether it answers 500 when ratings answers badly.
    #[must_use]
    pub fn fails_with_ratings(self) -> bool {
        matches!(self, Self::V4)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a called service is: a host name or an IP address, with a port. Names are looked up at each connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream(Authority);

/// An [`Upstream`] that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no address to call; write HOST:PORT, for example ratings:9080 or 127.0.0.3:9080")]
pub struct UpstreamError {
    given: String,
}

impl Upstream {
    /// `HOST:PORT`, as in a Host header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Upstream {
    type Err = UpstreamError;

    fn from_str(given: &str) -> Result<Self, UpstreamError> {
        let error = || UpstreamError { given: given.to_owned() };
        let authority: Authority = given.parse().map_err(|_| error())?;
        let has_port = authority.port_u16().is_some_and(|port| port > 0);
        if has_port && !authority.host().is_empty() && !given.contains('@') {
            Ok(Self(authority))
        } else {
            Err(error())
        }
    }
}

impl TryFrom<SocketAddr> for Upstream {
    type Error = UpstreamError;

    fn try_from(address: SocketAddr) -> Result<Self, UpstreamError> {
        address.to_string().parse()
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One service to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which one.
    pub service: Service,
    /// Its version; others than v1 exist for reviews only.
    pub version: Version,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where details is; productpage needs it.
    pub details: Option<Upstream>,
    /// Where reviews is; productpage needs it.
    pub reviews: Option<Upstream>,
    /// Where ratings is; reviews needs it, but for v1.
    pub ratings: Option<Upstream>,
}

/// A [`Config`] that makes no service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The service calls another one and was not told where that is.
    #[error(
        "{caller} calls {called}: say where that is with --{called} HOST:PORT, for example --{called} 127.0.0.1:9081"
    )]
    Missing {
        /// The service to run.
        caller: Service,
        /// The service that it calls.
        called: Service,
    },
    /// A version of a service that has only one.
    #[error("{service} has no version {version}; only reviews has versions other than v1")]
    Version {
        /// The service to run.
        service: Service,
        /// The version that was asked for.
        version: Version,
    },
}

impl Config {
    /// A service that calls nobody yet.
    #[must_use]
    pub fn new(service: Service, version: Version, listen: SocketAddr) -> Self {
        Self { service, version, listen, details: None, reviews: None, ratings: None }
    }

    /// Checks that the service knows what it needs.
    ///
    /// # Errors
    /// A called service is missing, or the version does not exist.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self.service {
            Service::Reviews if self.version.stars().is_some() => self.called(Service::Ratings).map(|_| ()),
            Service::Reviews => Ok(()),
            _ if self.version != Version::V1 => {
                Err(ConfigError::Version { service: self.service, version: self.version })
            }
            Service::Productpage => {
                self.called(Service::Details)?;
                self.called(Service::Reviews).map(|_| ())
            }
            Service::Details | Service::Ratings => Ok(()),
        }
    }

    /// Where `called` is.
    pub(super) fn called(&self, called: Service) -> Result<&Upstream, ConfigError> {
        let upstream = match called {
            Service::Details => self.details.as_ref(),
            Service::Reviews => self.reviews.as_ref(),
            Service::Ratings => self.ratings.as_ref(),
            Service::Productpage => None,
        };
        upstream.ok_or(ConfigError::Missing { caller: self.service, called })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn config(service: Service, version: Version) -> Config {
        Config::new(service, version, "127.0.0.1:0".parse().unwrap())
    }

    #[test]
    fn an_upstream_is_a_host_with_a_port() {
        for good in ["ratings:9080", "127.0.0.3:9080", "[::1]:9080", "ratings.bookinfo.svc:1"] {
            assert_eq!(good.parse::<Upstream>().unwrap().as_str(), good);
        }
        for bad in ["", "ratings", "ratings:", "ratings:0", ":9080", "http://ratings:9080", "a@b:1", "ratings:99999"] {
            let said = bad.parse::<Upstream>().unwrap_err().to_string();
            assert!(said.contains("ratings:9080"), "{bad}: {said}");
        }
    }

    #[test]
    fn a_service_must_be_told_where_the_services_are_that_it_calls() {
        let missing = |caller, called| Err(ConfigError::Missing { caller, called });
        let mut page = config(Service::Productpage, Version::V1);
        assert_eq!(page.check(), missing(Service::Productpage, Service::Details));
        page.details = Some("d:1".parse().unwrap());
        assert_eq!(page.check(), missing(Service::Productpage, Service::Reviews));
        page.reviews = Some("r:1".parse().unwrap());
        assert_eq!(page.check(), Ok(()));
        for version in [Version::V2, Version::V3, Version::V4] {
            assert_eq!(config(Service::Reviews, version).check(), missing(Service::Reviews, Service::Ratings));
        }
        for service in [Service::Reviews, Service::Details, Service::Ratings] {
            assert_eq!(config(service, Version::V1).check(), Ok(()));
        }
    }

    #[test]
    fn only_reviews_has_versions() {
        let said = config(Service::Details, Version::V2).check().unwrap_err();
        assert_eq!(said, ConfigError::Version { service: Service::Details, version: Version::V2 });
    }

    #[test]
    fn the_versions_of_reviews_differ_as_in_the_tutorial() {
        let facts = |version: Version| (version.stars(), version.ratings_timeout(), version.fails_with_ratings());
        let (ten, two_and_a_half) = (Duration::from_secs(10), Duration::from_millis(2500));
        assert_eq!(facts(Version::V1).0, None);
        assert_eq!(facts(Version::V2), (Some("black"), ten, false));
        assert_eq!(facts(Version::V3), (Some("red"), two_and_a_half, false));
        assert_eq!(facts(Version::V4), (Some("red"), two_and_a_half, true));
    }
}

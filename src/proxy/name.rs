//! The names of fields that the proxy knows, as numbers: most of what it looks for in a message is not there, which one bit tells.

/// A name that the proxy knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Allow,
    Connection,
    ContentLength,
    ContentType,
    Cookie,
    Date,
    Expect,
    Forwarded,
    GrpcMessage,
    GrpcStatus,
    Host,
    KeepAlive,
    MaxForwards,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    Via,
    XForwardedFor,
    XForwardedProto,
    /// Names who is to blame for an answer of the proxy itself.
    XGlooshotError,
    /// The marker of an injected fault.
    XGlooshotFault,
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names(u32);

impl Name {
    /// The name, in lower case.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Connection => "connection",
            Self::ContentLength => "content-length",
            Self::ContentType => "content-type",
            Self::Cookie => "cookie",
            Self::Date => "date",
            Self::Expect => "expect",
            Self::Forwarded => "forwarded",
            Self::GrpcMessage => "grpc-message",
            Self::GrpcStatus => "grpc-status",
            Self::Host => "host",
            Self::KeepAlive => "keep-alive",
            Self::MaxForwards => "max-forwards",
            Self::ProxyAuthenticate => "proxy-authenticate",
            Self::ProxyAuthorization => "proxy-authorization",
            Self::ProxyConnection => "proxy-connection",
            Self::Te => "te",
            Self::Trailer => "trailer",
            Self::TransferEncoding => "transfer-encoding",
            Self::Upgrade => "upgrade",
            Self::Via => "via",
            Self::XForwardedFor => "x-forwarded-for",
            Self::XForwardedProto => "x-forwarded-proto",
            Self::XGlooshotError => "x-glooshot-error",
            Self::XGlooshotFault => "x-glooshot-fault",
        }
    }

    /// The one that is written so, in lower case.
    pub(crate) fn of(text: &[u8]) -> Option<Self> {
        Self::as_long_as(text).iter().copied().find(|name| name.as_str().as_bytes() == text)
    }

    /// Those of the same length.
    const fn as_long_as(text: &[u8]) -> &'static [Self] {
        match text.len() {
            2 => &[Self::Te],
            3 => &[Self::Via],
            4 => &[Self::Host, Self::Date],
            5 => &[Self::Allow],
            6 => &[Self::Cookie, Self::Expect],
            7 => &[Self::Trailer, Self::Upgrade],
            9 => &[Self::Forwarded],
            10 => &[Self::Connection, Self::KeepAlive],
            11 => &[Self::GrpcStatus],
            12 => &[Self::ContentType, Self::GrpcMessage, Self::MaxForwards],
            14 => &[Self::ContentLength],
            15 => &[Self::XForwardedFor],
            16 => &[Self::ProxyConnection, Self::XGlooshotError, Self::XGlooshotFault],
            17 => &[Self::TransferEncoding, Self::XForwardedProto],
            18 => &[Self::ProxyAuthenticate],
            19 => &[Self::ProxyAuthorization],
            _ => &[],
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl Names {
    /// None.
    pub(crate) const NONE: Self = Self(0);

    /// This set and one more.
    pub(crate) const fn and(self, name: Name) -> Self {
        Self(self.0 | name.bit())
    }

    /// This set without those of another.
    pub(crate) const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether a name is in it.
    pub(crate) const fn has(self, name: Name) -> bool {
        self.0 & name.bit() != 0
    }

    /// Whether any name is in both.
    pub(crate) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By their bits.
    fn all() -> Vec<Name> {
        let mut all: Vec<Name> = (0..32).flat_map(|length| Name::as_long_as(&vec![b'-'; length])).copied().collect();
        all.sort_by_key(|name| name.bit());
        all
    }

    #[test]
    fn each_name_is_found_by_what_is_written_and_has_a_bit_of_its_own() {
        let last = Name::XGlooshotFault as usize;
        assert_eq!(all().into_iter().map(|name| name as usize).collect::<Vec<_>>(), (0..=last).collect::<Vec<_>>());
        for name in all() {
            assert_eq!(Name::of(name.as_str().as_bytes()), Some(name));
            let only = Names::NONE.and(name);
            assert!(only.has(name) && only.meets(only) && only.without(only) == Names::NONE);
        }
        for unknown in ["", "Host", "hosts", "x-user", "x-glooshot-other"] {
            assert_eq!(Name::of(unknown.as_bytes()), None, "{unknown}");
        }
    }
}

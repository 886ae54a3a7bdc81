//! The names of fields that the proxy knows, as numbers: most of what it looks for in a message is not there, which one bit tells.

/// Makes the list: each name, and how it is written.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A name that the proxy knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Name {
            $($(#[$doc])* $name,)*
        }

        impl Name {
            /// All of them.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name, in lower case.
            pub(crate) const fn as_bytes(self) -> &'static [u8] {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The one that is written so, in lower case. It is told by the length, and then byte by byte.
            pub(crate) const fn of(text: &[u8]) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

names! {
    Allow = b"allow",
    Connection = b"connection",
    ContentLength = b"content-length",
    ContentType = b"content-type",
    Cookie = b"cookie",
    Date = b"date",
    Expect = b"expect",
    Forwarded = b"forwarded",
    GrpcMessage = b"grpc-message",
    GrpcStatus = b"grpc-status",
    Host = b"host",
    KeepAlive = b"keep-alive",
    MaxForwards = b"max-forwards",
    ProxyAuthenticate = b"proxy-authenticate",
    ProxyAuthorization = b"proxy-authorization",
    ProxyConnection = b"proxy-connection",
    Te = b"te",
    Trailer = b"trailer",
    TransferEncoding = b"transfer-encoding",
    Upgrade = b"upgrade",
    Via = b"via",
    XForwardedFor = b"x-forwarded-for",
    XForwardedProto = b"x-forwarded-proto",
    /// Names who is to blame for an answer of the proxy itself.
    XGlooshotError = b"x-glooshot-error",
    /// The marker of an injected fault.
    XGlooshotFault = b"x-glooshot-fault",
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names(u32);

impl Name {
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

    #[test]
    fn each_name_is_found_by_what_is_written_and_has_a_bit_of_its_own() {
        let mut bits = 0;
        for name in Name::ALL {
            assert_eq!(Name::of(name.as_bytes()), Some(*name));
            let only = Names::NONE.and(*name);
            assert!(only.has(*name) && only.meets(only) && only.without(only) == Names::NONE);
            assert_eq!(bits & name.bit(), 0, "{name:?}");
            bits |= name.bit();
        }
        for unknown in ["", "Host", "hosts", "x-user", "x-glooshot-other"] {
            assert_eq!(Name::of(unknown.as_bytes()), None, "{unknown}");
        }
    }
}

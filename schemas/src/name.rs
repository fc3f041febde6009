//! Names of objects: parsed once at the edge, never a bare string again.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name, in bytes: a DNS label's length, because names become queue names and folders.
pub const NAME_BYTES_MAX: usize = 63;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is not a valid name: 1 to 63 of a-z, 0-9 and `-`, beginning with a letter or digit (use `title` for free text)"
)]
pub struct InvalidName {
    pub name: String,
}

/// True for `[a-z0-9][a-z0-9-]{0,62}`.
pub fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    !bytes.is_empty()
        && bytes.len() <= NAME_BYTES_MAX
        && alnum(bytes[0])
        && bytes.iter().all(|&b| alnum(b) || b == b'-')
}

/// What may be named in a definitions file; also the first word of `get KIND`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Distributor,
    Distribution,
    Channel,
    Group,
    Subscriber,
    Hierarchy,
    Sync,
}

impl Kind {
    pub const ALL: [Kind; 7] = [
        Kind::Distributor,
        Kind::Distribution,
        Kind::Channel,
        Kind::Group,
        Kind::Subscriber,
        Kind::Hierarchy,
        Kind::Sync,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Distributor => "distributor",
            Kind::Distribution => "distribution",
            Kind::Channel => "channel",
            Kind::Group => "group",
            Kind::Subscriber => "subscriber",
            Kind::Hierarchy => "hierarchy",
            Kind::Sync => "sync",
        }
    }

    /// The section of a definitions file that holds objects of this kind.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Distributor => "distributors",
            Kind::Distribution => "distributions",
            Kind::Channel => "channels",
            Kind::Group => "groups",
            Kind::Subscriber => "subscribers",
            Kind::Hierarchy => "hierarchies",
            Kind::Sync => "syncs",
        }
    }

    /// Accepts the singular and the plural, as people type both.
    pub fn parse(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.as_str() == text || k.plural() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! name {
    ($($(#[$doc:meta])* $type:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
        #[serde(try_from = "String", into = "String")]
        #[cfg_attr(feature = "generate", schemars(extend("pattern" = r"^[a-z0-9][a-z0-9-]{0,62}$")))]
        pub struct $type(String);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(name: String) -> Result<Self, InvalidName> {
                if is_name(&name) { Ok(Self(name)) } else { Err(InvalidName { name }) }
            }
        }

        impl TryFrom<&str> for $type {
            type Error = InvalidName;
            fn try_from(name: &str) -> Result<Self, InvalidName> {
                Self::try_from(name.to_owned())
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidName;
            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::try_from(name.to_owned())
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

name!(
    DistributorName,
    DistributionName,
    ChannelName,
    SubscriberName,
    GroupName,
    HierarchyName,
    SyncName,
    /// A named installation of the control side; several may share one database.
    ConsoleName,
    /// Something that somebody says has happened.
    EventName,
);

/// What a console is called that nobody named.
pub const CONSOLE_DEFAULT: &str = "main";

impl Default for ConsoleName {
    fn default() -> ConsoleName {
        ConsoleName(CONSOLE_DEFAULT.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_and_nothing_else_passes() {
        for good in ["a", "0", "s1", "region-eu", &"x".repeat(63)] {
            assert!(SubscriberName::try_from(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a.b", "a b", "é", "../x", &"x".repeat(64), "a\n"] {
            assert!(SubscriberName::try_from(bad).is_err(), "{bad}");
        }
    }
}

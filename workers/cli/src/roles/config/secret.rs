//! A value that must not be seen: passwords, tokens, and addresses that may hold one. It knows no place to keep it.

use std::fmt;

use serde::{Deserialize, Deserializer};

#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The value itself, for whoever must use it; never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// An address without its user, password and options.
    pub fn address(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else { return self.0.clone() };
        // Up to the last `@`: a password may hold one, and may hold anything else too.
        let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        format!("{scheme}://{rest}")
    }

    /// True if an address carries a password, in its authority or among its options.
    pub fn holds_password(&self) -> bool {
        let Some((_, rest)) = self.0.split_once("://") else { return false };
        let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
        user.contains(':') || rest.contains("password=")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_opens_it() {
        for (full, shown) in [
            ("postgres://joe:s3cret@db:5432/tide?sslmode=require&password=s3cret", "postgres://db:5432/tide"),
            ("amqp://joe:s3/c@ret@mq:5672/v", "amqp://mq:5672/v"),
            ("sqlite:///srv/tide.sqlite", "sqlite:///srv/tide.sqlite"),
            ("local", "local"),
        ] {
            assert_eq!(Secret::new(full).address(), shown);
            assert!(!format!("{:?}", Secret::new(full)).contains("s3"));
        }
        assert!(Secret::new("amqp://joe:x@mq/v").holds_password());
        assert!(Secret::new("postgres:///tide?host=/run&password=x").holds_password());
        assert!(!Secret::new("amqp://joe@mq/v").holds_password());
        assert!(!Secret::new("postgres://db:5432/tide").holds_password());
    }
}

//! How to reach the broker. It never shows the password.

use std::fmt;
use std::time::Duration;

use lapin::uri::AMQPUri;

use crate::QueueError;

/// Seconds between heartbeats: a half-open connection is noticed within two of them.
const HEARTBEAT_S: u16 = 10;
/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct AmqpConfig {
    url: String,
    /// Shown in the broker's list of connections.
    pub name: String,
    /// Sets the user on each message, which the broker then proves to whoever reads it.
    pub attest_user: bool,
    /// How long an operation waits for a connection, or for a confirmation.
    pub operation_timeout: Duration,
    pub connect_timeout: Duration,
}

impl AmqpConfig {
    /// `amqp://user:password@host:port/vhost`, or `amqps://…`.
    pub fn new(url: impl Into<String>) -> AmqpConfig {
        AmqpConfig {
            url: url.into(),
            name: "tidegate".to_owned(),
            attest_user: true,
            operation_timeout: Duration::from_secs(15),
            connect_timeout: CONNECT_TIMEOUT,
        }
    }

    pub(super) fn uri(&self) -> Result<AMQPUri, QueueError> {
        // The parser's own message may repeat the URL, and with it the password.
        let mut uri: AMQPUri = self.url.parse().map_err(|_| QueueError::Refused {
            reason: "the AMQP URL is not of the form amqp://user:password@host:port/vhost".to_owned(),
        })?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        uri.query.connection_timeout.get_or_insert(self.connect_timeout.as_millis() as u64);
        Ok(uri)
    }
}

impl fmt::Debug for AmqpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_and_no_debug_output_shows_the_password() {
        let config = AmqpConfig::new("amqp://joe:s3cret@localhost:notaport/x");
        let error = config.uri().unwrap_err();
        assert!(!format!("{error} {error:?} {config:?}").contains("s3cret"));
        assert!(AmqpConfig::new("amqp://joe:s3cret@localhost:5672/x").uri().is_ok());
    }
}

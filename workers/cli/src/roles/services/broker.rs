//! The broker: a connection that works, proved by a queue that it declared.

use std::sync::Arc;

use queue::Queue;

use super::patience::Patience;
use crate::roles::config::{Config, ConfigError};
use crate::roles::error::RoleError;

/// `name` is shown in the broker's list of connections.
pub async fn open(config: &Config, name: &str, patience: &Patience) -> Result<Arc<dyn Queue>, RoleError> {
    let missing = ConfigError::Missing { key: "broker", flag: "--broker", variable: "TIDEGATE_BROKER" };
    let url = config.broker.as_ref().ok_or(missing)?;
    connect(url, name, patience).await
}

#[cfg(feature = "services")]
async fn connect(
    url: &crate::roles::config::Secret,
    name: &str,
    patience: &Patience,
) -> Result<Arc<dyn Queue>, RoleError> {
    use super::patience::{Awaited, Failed};
    use queue::amqp::{AmqpConfig, AmqpQueue};
    use schemas::QueueName;

    const REMEDY: &str = "start it, or correct the URL (--broker, TIDEGATE_BROKER, or `broker` in tidegate.toml)";
    let mut settings = AmqpConfig::new(url.expose());
    settings.name = name.to_owned();
    let unusable = |error: queue::QueueError| RoleError::Setting {
        setting: "broker",
        value: url.address(),
        reason: error.to_string(),
    };
    let queue = AmqpQueue::open(settings).map_err(unusable)?;
    let awaited = Awaited { service: "the broker", address: url.address(), remedy: REMEDY };
    let answered = patience
        .until_it_answers(awaited, async || {
            queue.declare(&QueueName::Reports).await.map_err(|error| Failed::of(&error, error.is_transient()))
        })
        .await;
    if let Err(error) = answered {
        queue.close().await;
        return Err(error);
    }
    Ok(queue)
}

#[cfg(not(feature = "services"))]
async fn connect(
    url: &crate::roles::config::Secret,
    _name: &str,
    _patience: &Patience,
) -> Result<Arc<dyn Queue>, RoleError> {
    Err(RoleError::Setting {
        setting: "broker",
        value: url.address(),
        reason: "this build has no broker in it; build with the feature `services`, or use `tidegate up`".to_owned(),
    })
}

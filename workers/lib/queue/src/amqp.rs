//! RabbitMQ by lapin. Two connections, because a broker in need blocks one that publishes, acknowledgements included.
//! It knows nothing of what is in a message.

mod config;
mod consume;
mod convert;
mod link;
mod publish;
mod settle;
mod topology;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use schemas::QueueName;
use tokio_util::sync::CancellationToken;

pub use self::config::AmqpConfig;
use self::link::Link;
use self::publish::Publisher;
use crate::{Consumer, Outgoing, Queue, QueueError};

pub struct AmqpQueue {
    publisher: Publisher,
    /// Consumes, and declares.
    link: Arc<Link>,
    /// What is declared again after a reconnect.
    declared: Arc<Mutex<BTreeSet<QueueName>>>,
    closed: CancellationToken,
}

impl AmqpQueue {
    /// Checks the configuration and returns; connections are made, and made again, in the background. Needs a tokio
    /// runtime.
    pub fn open(config: AmqpConfig) -> Result<Arc<AmqpQueue>, QueueError> {
        let uri = config.uri()?;
        let closed = CancellationToken::new();
        let publishing = Link::start("publish", uri.clone(), &config, closed.clone());
        let link = Link::start("consume", uri.clone(), &config, closed.clone());
        let declared = Arc::new(Mutex::new(BTreeSet::new()));
        tokio::spawn(topology::declare_after_reconnects(link.clone(), declared.clone()));
        let user_id = config.attest_user.then(|| uri.authority.userinfo.username.clone());
        Ok(Arc::new(AmqpQueue { publisher: Publisher::new(publishing, user_id), link, declared, closed }))
    }

    fn declared(&self) -> MutexGuard<'_, BTreeSet<QueueName>> {
        self.declared.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for AmqpQueue {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

#[async_trait]
impl Queue for AmqpQueue {
    async fn declare(&self, queue: &QueueName) -> Result<(), QueueError> {
        let live = self.link.live().await?;
        live.with_channel(async |channel| topology::declare(channel, queue).await).await?;
        self.declared().insert(queue.clone());
        Ok(())
    }

    async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Result<(), QueueError>> {
        self.publisher.publish(messages).await
    }

    async fn consume(&self, queue: &QueueName, prefetch: u16) -> Result<Consumer, QueueError> {
        consume::start(self.link.clone(), queue.clone(), prefetch.max(1)).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<u64, QueueError> {
        let live = self.link.live().await?;
        let name = queue.to_string();
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let found = live
            .with_channel(async |channel| {
                channel
                    .queue_declare(name.as_str().into(), options, FieldTable::default())
                    .await
                    .map_err(convert::error)
            })
            .await;
        found.map(|queue| u64::from(queue.message_count()))
    }

    async fn delete(&self, queue: &QueueName) -> Result<(), QueueError> {
        self.declared().remove(queue);
        let live = self.link.live().await?;
        let name = queue.to_string();
        live.with_channel(async |channel| {
            let deleted = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await;
            deleted.map(|_| ()).map_err(convert::error)
        })
        .await
    }

    fn survives_restart(&self) -> bool {
        true
    }

    async fn close(&self) {
        self.closed.cancel();
        self.publisher.link().ended().await;
        self.link.ended().await;
    }
}

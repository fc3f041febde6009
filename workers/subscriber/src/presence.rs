//! Says every 30 s that the site lives and what it has in hand. A lost one costs nothing; the next follows.

use std::sync::Arc;
use std::time::Duration;

use queue::{Outgoing, Queue};
use schemas::{Beat, Presence, QueueName, SCHEMA, SubscriberName};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::journal::{Journal, JournalError};
use crate::orders::Orders;

pub struct PresenceLoop {
    pub site: SubscriberName,
    pub queue: Arc<dyn Queue>,
    pub journal: Journal,
    pub orders: Arc<Orders>,
    /// Where children reach this site.
    pub url: Option<String>,
    pub public_key: String,
    pub every: Duration,
    /// This start of the site.
    pub run: Uuid,
    pub shutdown: CancellationToken,
}

/// How long the last word may take: the site does not stay for it.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

impl PresenceLoop {
    /// At once, at every change of settings, and then by the clock.
    pub async fn run(self) -> PresenceLoop {
        let mut in_force = self.orders.watch();
        let mut version = self.settings_version();
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return self,
                _ = ticks.tick() => self.say(false).await,
                changed = in_force.changed() => {
                    let now = self.settings_version();
                    if changed.is_ok() && now != version {
                        version = now;
                        self.say(false).await;
                    }
                }
            }
        }
    }

    fn settings_version(&self) -> u64 {
        self.orders.settings().map_or(0, |s| s.version)
    }

    /// The site stops in order.
    pub async fn last(&self) {
        if tokio::time::timeout(LAST_PATIENCE, self.say(true)).await.is_err() {
            tracing::debug!("nobody was told that this site stops");
        }
    }

    async fn say(&self, stopping: bool) {
        let presence = match self.presence(stopping).await {
            Ok(presence) => presence,
            Err(error) => return tracing::warn!(%error, "no presence can be sent"),
        };
        let body = serde_json::to_vec(&Beat::Presence(presence)).unwrap_or_default();
        if let Err(error) = self.queue.declare(&QueueName::Progress).await {
            return tracing::debug!(%error, "no presence can be sent");
        }
        for sent in self.queue.publish(vec![Outgoing::new(QueueName::Progress, body)]).await {
            if let Err(error) = sent {
                tracing::debug!(%error, "a presence was not sent");
            }
        }
    }

    async fn presence(&self, stopping: bool) -> Result<Presence, JournalError> {
        Ok(Presence {
            schema: SCHEMA,
            subscriber: self.site.clone(),
            at_ms: worker::now_ms(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            url: self.url.clone(),
            public_key: self.public_key.clone(),
            settings_version: self.settings_version(),
            open_jobs: self.journal.in_hand().await?,
            run: Some(self.run),
            stopping,
        })
    }
}

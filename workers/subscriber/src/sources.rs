//! Makes readers of the sources that a job names: other subscribers' servers, and the origin. Clients are kept, because
//! they pool their connections. It knows nothing of what is read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use blobs::{ReadBlobs, RelayBlobs, RelayConfig, RetryPolicy, Retrying, SiteKey, TransferLimits};
use schemas::{ContentSource, SubscriberName};

/// Longest time until a connection stands.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Relay clients that are kept; a site has few parents.
const RELAYS_KEPT_MAX: usize = 64;

pub struct SourceBook {
    site: SubscriberName,
    key: SiteKey,
    origin: Arc<dyn ReadBlobs>,
    policy: RetryPolicy,
    relays: Mutex<HashMap<Relay, Arc<dyn ReadBlobs>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Relay {
    subscriber: SubscriberName,
    url: String,
    silence: Duration,
}

impl SourceBook {
    pub fn new(site: SubscriberName, key: SiteKey, origin: Arc<dyn ReadBlobs>, tries_per_source: u32) -> SourceBook {
        let policy = RetryPolicy { tries: tries_per_source, ..RetryPolicy::default() };
        let origin = Arc::new(Retrying::new(origin, policy));
        SourceBook { site, key, origin, policy, relays: Mutex::default() }
    }

    pub fn origin(&self) -> Arc<dyn ReadBlobs> {
        self.origin.clone()
    }

    /// Readers in the order of `sources`. One that cannot be made, such as a relay with a bad URL, is left out: the next
    /// one serves.
    pub fn open(&self, sources: &[ContentSource], silence: Duration) -> Vec<Arc<dyn ReadBlobs>> {
        sources.iter().filter_map(|source| self.open_one(source, silence)).collect()
    }

    fn open_one(&self, source: &ContentSource, silence: Duration) -> Option<Arc<dyn ReadBlobs>> {
        match source {
            ContentSource::Origin {} => Some(self.origin.clone()),
            ContentSource::Relay { subscriber, url } => {
                self.relay(Relay { subscriber: subscriber.clone(), url: url.clone(), silence })
            }
        }
    }

    fn relay(&self, relay: Relay) -> Option<Arc<dyn ReadBlobs>> {
        let mut relays = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = relays.get(&relay) {
            return Some(client.clone());
        }
        let limits =
            TransferLimits { connect: CONNECT_MAX.min(relay.silence), silence: relay.silence, ..Default::default() };
        let config = RelayConfig {
            url: relay.url.clone(),
            relay: relay.subscriber.clone(),
            subscriber: self.site.clone(),
            key: self.key.clone(),
            limits,
        };
        match RelayBlobs::new(config) {
            Ok(client) => {
                let client: Arc<dyn ReadBlobs> = Arc::new(Retrying::new(client, self.policy));
                if relays.len() >= RELAYS_KEPT_MAX {
                    relays.clear();
                }
                relays.insert(relay, client.clone());
                Some(client)
            }
            Err(error) => {
                tracing::warn!(relay = %relay.subscriber, url = %relay.url, %error, "a relay cannot be used");
                None
            }
        }
    }
}

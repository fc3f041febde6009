//! Makes readers of the sources that a job names: other subscribers' servers, and the origin. Clients are kept, because
//! they pool their connections. All of them share the site's rate. It knows nothing of what is read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blobs::{
    BUSY_MAX, Limited, Pace, Patient, Queueing, ReadBlobs, RelayBlobs, RelayConfig, RetryPolicy, Retrying, SiteKey,
    TransferLimits,
};
use schemas::{ContentSource, DistributorName, OriginRate, Priority, SubscriberName};

/// Longest time until a connection stands.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Relay clients that are kept; a site has few parents.
const RELAYS_KEPT_MAX: usize = 64;
/// Distributors' rates that are kept, one for each priority.
const PACES_KEPT_MAX: usize = 1_024;

/// Who asks.
pub struct Asker {
    pub site: SubscriberName,
    pub key: SiteKey,
}

pub struct SourceBook {
    asker: Asker,
    origin: Arc<dyn ReadBlobs>,
    policy: RetryPolicy,
    /// Of everything that is read.
    rate_in: Arc<Pace>,
    relays: Mutex<HashMap<Relay, Arc<dyn ReadBlobs>>>,
    /// What distributors let leave the origin, on this link.
    origin_rates: Mutex<HashMap<(DistributorName, Priority), Arc<Pace>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Relay {
    subscriber: SubscriberName,
    url: String,
    priority: Priority,
    silence: Duration,
}

impl SourceBook {
    pub fn new(asker: Asker, origin: Arc<dyn ReadBlobs>, tries_per_source: u32, rate_in: Arc<Pace>) -> SourceBook {
        let policy = RetryPolicy { tries: tries_per_source, ..RetryPolicy::default() };
        let origin = Arc::new(Retrying::new(origin, policy));
        let (relays, origin_rates) = (Mutex::default(), Mutex::default());
        SourceBook { asker, origin, policy, rate_in, relays, origin_rates }
    }

    /// Readers in the order of `sources`. One that cannot be made, such as a relay with a bad URL, is left out: the next
    /// one serves. A source that says nothing for `silence` is given up.
    pub fn open(&self, sources: &[ContentSource], priority: Priority, silence: Duration) -> Vec<Arc<dyn ReadBlobs>> {
        sources.iter().filter_map(|source| self.open_one(source, priority, silence)).collect()
    }

    fn open_one(&self, source: &ContentSource, priority: Priority, silence: Duration) -> Option<Arc<dyn ReadBlobs>> {
        match source {
            ContentSource::Origin { rate } => Some(self.origin(rate.as_ref(), silence)),
            ContentSource::Relay { subscriber, url } => {
                self.relay(Relay { subscriber: subscriber.clone(), url: url.clone(), priority, silence })
            }
        }
    }

    fn origin(&self, rate: Option<&OriginRate>, silence: Duration) -> Arc<dyn ReadBlobs> {
        let origin = Patient::new(self.origin.clone(), silence);
        match rate {
            Some(rate) => self.limited(Limited::new(origin, self.origin_pace(rate))),
            None => self.limited(origin),
        }
    }

    /// One for all transfers of this distributor and priority; the newest job says how fast.
    fn origin_pace(&self, rate: &OriginRate) -> Arc<Pace> {
        let mut paces = lock(&self.origin_rates);
        if paces.len() >= PACES_KEPT_MAX {
            paces.clear();
        }
        let pace = paces.entry((rate.distributor.clone(), rate.priority)).or_default().clone();
        pace.set(Some(rate.bytes_per_s));
        pace
    }

    fn limited(&self, reader: impl ReadBlobs) -> Arc<dyn ReadBlobs> {
        Arc::new(Limited::new(reader, self.rate_in.clone()))
    }

    fn relay(&self, relay: Relay) -> Option<Arc<dyn ReadBlobs>> {
        let mut relays = lock(&self.relays);
        if let Some(client) = relays.get(&relay) {
            return Some(client.clone());
        }
        match self.client(&relay) {
            Ok(client) => {
                let patient = Patient::new(Retrying::new(client, self.policy), relay.silence);
                let client = self.limited(Queueing::new(patient, BUSY_MAX));
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

    fn client(&self, relay: &Relay) -> Result<RelayBlobs, blobs::RelayError> {
        let limits =
            TransferLimits { connect: CONNECT_MAX.min(relay.silence), silence: relay.silence, ..Default::default() };
        let config = RelayConfig {
            url: relay.url.clone(),
            relay: relay.subscriber.clone(),
            subscriber: self.asker.site.clone(),
            key: self.asker.key.clone(),
            limits,
        };
        Ok(RelayBlobs::new(config)?.for_priority(relay.priority))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

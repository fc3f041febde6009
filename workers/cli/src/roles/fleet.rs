//! Who is defined just now: distributors and subscribers, followed as definitions change.

use std::collections::BTreeMap;
use std::time::Duration;

use records::{Records, RecordsError, SiteRow};
use schemas::{DistributorName, SubscriberName};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_millis(250);

pub struct Fleet {
    pub distributors: watch::Receiver<Vec<DistributorName>>,
    /// With the public key that a site was first seen with, whatever it was called then.
    pub subscribers: watch::Receiver<BTreeMap<SubscriberName, Option<String>>>,
}

/// Ends with `stop`.
pub fn follow(records: Records, stop: CancellationToken) -> Fleet {
    let (distributors, distributors_seen) = watch::channel(Vec::new());
    let (subscribers, subscribers_seen) = watch::channel(BTreeMap::new());
    tokio::spawn(async move {
        let mut version = None;
        loop {
            match look(&records, version).await {
                Ok(None) => {}
                Ok(Some((fleet, mut sites))) => {
                    version = Some(fleet.version);
                    replace(&distributors, fleet.definitions.distributors.into_keys().collect());
                    let mut key = |name: &SubscriberName| sites.remove(name.as_str()).and_then(|site| site.public_key);
                    let with_key = |name: SubscriberName| (name.clone(), key(&name));
                    replace(&subscribers, fleet.definitions.subscribers.into_keys().map(with_key).collect());
                }
                Err(error) => tracing::warn!(%error, "the definitions cannot be read; trying on"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    });
    Fleet { distributors: distributors_seen, subscribers: subscribers_seen }
}

type Sites = BTreeMap<String, SiteRow>;

async fn look(records: &Records, known: Option<u64>) -> Result<Option<(records::Fleet, Sites)>, RecordsError> {
    if known == Some(records.fleet_version().await?) {
        return Ok(None);
    }
    Ok(Some((records.fleet().await?, records.sites().await?)))
}

fn replace<T: PartialEq>(channel: &watch::Sender<T>, value: T) {
    channel.send_if_modified(|held| {
        let differs = *held != value;
        *held = value;
        differs
    });
}

//! Who is defined just now: distributors and subscribers, followed as definitions change.

use std::collections::BTreeSet;
use std::time::Duration;

use records::Records;
use schemas::{DistributorName, SubscriberName};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_millis(250);

pub struct Fleet {
    pub distributors: watch::Receiver<Vec<DistributorName>>,
    pub subscribers: watch::Receiver<BTreeSet<SubscriberName>>,
}

/// Ends with `stop`.
pub fn follow(records: Records, stop: CancellationToken) -> Fleet {
    let (distributors, distributors_seen) = watch::channel(Vec::new());
    let (subscribers, subscribers_seen) = watch::channel(BTreeSet::new());
    tokio::spawn(async move {
        let mut version = None;
        loop {
            match look(&records, version).await {
                Ok(None) => {}
                Ok(Some(fleet)) => {
                    version = Some(fleet.version);
                    replace(&distributors, fleet.definitions.distributors.into_keys().collect());
                    replace(&subscribers, fleet.definitions.subscribers.into_keys().collect());
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

async fn look(records: &Records, known: Option<u64>) -> Result<Option<records::Fleet>, records::RecordsError> {
    if known == Some(records.fleet_version().await?) { Ok(None) } else { records.fleet().await.map(Some) }
}

fn replace<T: PartialEq>(channel: &watch::Sender<T>, value: T) {
    channel.send_if_modified(|held| {
        let differs = *held != value;
        *held = value;
        differs
    });
}

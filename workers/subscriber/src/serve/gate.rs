//! Lets signed requests of known children in, each once. It knows no content.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::header::RANGE;
use axum::http::request::Parts;
use blobs::PublicKey;
use blobs::replay::UsedStamps;
use blobs::signed::{Ask, Stamp, Unsigned};
use schemas::SubscriberName;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Children;

/// Anybody can pretend to be a child whose key is on its way: no more of them are waited for at a time.
const STRANGERS_MAX: usize = 32;

#[derive(Debug)]
pub struct Gate {
    name: SubscriberName,
    children: Children,
    used: Mutex<UsedStamps>,
    /// Places for those who wait to become known.
    strangers: Semaphore,
}

/// A request that may be good: its body is worth reading.
#[derive(Debug)]
pub struct Candidate {
    stamp: Stamp,
    key: PublicKey,
}

impl Gate {
    pub fn new(name: SubscriberName, children: Children) -> Gate {
        Gate { name, children, used: Mutex::default(), strangers: Semaphore::new(STRANGERS_MAX) }
    }

    /// A child whose key is on its way need not go elsewhere: returns when it is known, after `patience`, or at once if too many
    /// wait already.
    pub async fn await_known(&self, head: &Parts, patience: Duration) {
        let Ok(stamp) = Stamp::read(|name| one_header(head, name)) else { return };
        let Ok(_place) = self.strangers.try_acquire() else { return };
        let _ = timeout(patience, self.children.named(&stamp.subscriber)).await;
    }

    /// All that can be said without the body.
    pub fn candidate(&self, head: &Parts, now_ms: u64) -> Result<Candidate, Unsigned> {
        let stamp = Stamp::read(|name| one_header(head, name))?;
        let key = self.children.key_of(&stamp.subscriber).ok_or(Unsigned::UnknownChild)?;
        stamp.check_time(now_ms)?;
        Ok(Candidate { stamp, key })
    }

    /// The child that asks. Its stamp does not work again.
    pub fn admit(
        &self,
        candidate: Candidate,
        head: &Parts,
        body: &[u8],
        now_ms: u64,
    ) -> Result<SubscriberName, Unsigned> {
        let path = head.uri.path_and_query().map_or("", |path| path.as_str());
        let range = one_header(head, RANGE.as_str());
        let ask = Ask { audience: &self.name, method: head.method.as_str(), path, range, body };
        let Candidate { stamp, key } = candidate;
        stamp.check_signature(&key, &ask)?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.children() > self.children.count() {
            used.retain(|child| self.children.key_of(child).is_some());
        }
        used.use_once(&stamp, now_ms)?;
        Ok(stamp.subscriber)
    }
}

/// A header that is sent twice says two things, and counts as none.
fn one_header<'h>(head: &'h Parts, name: &str) -> Option<&'h str> {
    let mut values = head.headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

//! Remembers which stamps were used, so that none works twice, in bounded memory. It knows no key and no request.

use std::collections::{BTreeSet, HashMap};

use schemas::SubscriberName;

use crate::signed::{Nonce, SKEW_MAX, Stamp, Unsigned};

/// Stamps remembered for one child. Beyond it the oldest is forgotten, and stamps as old as that are refused from then
/// on: memory stays bounded and no replay gets through.
pub const STAMPS_PER_CHILD_MAX: usize = 16_384;

#[derive(Debug, Default)]
pub struct UsedStamps {
    children: HashMap<SubscriberName, ChildStamps>,
}

#[derive(Debug, Default)]
struct ChildStamps {
    used: BTreeSet<(u64, Nonce)>,
    /// Timestamps up to here are refused, in milliseconds.
    forgotten_ms: u64,
}

impl UsedStamps {
    /// Only for stamps whose signature and time were found good: nobody else can fill this memory.
    pub fn use_once(&mut self, stamp: &Stamp, now_ms: u64) -> Result<(), Unsigned> {
        let child = self.children.entry(stamp.subscriber.clone()).or_default();
        child.forget_expired(now_ms);
        let fresh = stamp.timestamp_ms > child.forgotten_ms;
        if !fresh || !child.used.insert((stamp.timestamp_ms, stamp.nonce)) {
            return Err(Unsigned::Replayed);
        }
        child.forget_surplus();
        Ok(())
    }

    /// How many children it remembers stamps of.
    pub fn children(&self) -> usize {
        self.children.len()
    }

    /// Drops the memory of children that are no longer served.
    pub fn retain(&mut self, served: impl Fn(&SubscriberName) -> bool) {
        self.children.retain(|name, _| served(name));
    }
}

impl ChildStamps {
    fn forget_expired(&mut self, now_ms: u64) {
        let oldest_ms = now_ms.saturating_sub(SKEW_MAX.as_millis() as u64);
        while self.used.first().is_some_and(|(timestamp_ms, _)| *timestamp_ms < oldest_ms) {
            self.used.pop_first();
        }
    }

    fn forget_surplus(&mut self) {
        while self.used.len() > STAMPS_PER_CHILD_MAX {
            let (timestamp_ms, _) = self.used.pop_first().expect("there is a surplus");
            self.forgotten_ms = self.forgotten_ms.max(timestamp_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(child: &str, timestamp_ms: u64, n: u64) -> Stamp {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&n.to_le_bytes());
        Stamp { subscriber: child.parse().unwrap(), timestamp_ms, nonce, signature: [0; 64] }
    }

    #[test]
    fn a_stamp_works_once_and_children_do_not_disturb_each_other() {
        let mut used = UsedStamps::default();
        let now = 1_000_000;
        assert_eq!(used.use_once(&stamp("paris", now, 1), now), Ok(()));
        assert_eq!(used.use_once(&stamp("paris", now, 1), now + 9), Err(Unsigned::Replayed));
        assert_eq!(used.use_once(&stamp("paris", now, 2), now), Ok(()));
        assert_eq!(used.use_once(&stamp("lyon", now, 1), now), Ok(()));
    }

    #[test]
    fn memory_is_bounded_and_what_was_forgotten_does_not_work_again() {
        let mut used = UsedStamps::default();
        let now = 1_000_000;
        let more = STAMPS_PER_CHILD_MAX as u64 + 10;
        for n in 0..more {
            assert_eq!(used.use_once(&stamp("paris", now + n, n), now), Ok(()));
        }
        assert_eq!(used.children.values().map(|child| child.used.len()).sum::<usize>(), STAMPS_PER_CHILD_MAX);
        for n in [0, 9, 10, more - 1] {
            assert_eq!(used.use_once(&stamp("paris", now + n, n), now), Err(Unsigned::Replayed), "{n}");
        }
        assert_eq!(used.use_once(&stamp("paris", now + more, 0), now), Ok(()));
    }

    #[test]
    fn expired_stamps_leave_the_memory() {
        let mut used = UsedStamps::default();
        assert_eq!(used.use_once(&stamp("paris", 1_000_000, 1), 1_000_000), Ok(()));
        assert_eq!(used.use_once(&stamp("paris", 9_000_000, 1), 9_000_000), Ok(()));
        assert_eq!(used.children.values().next().unwrap().used.len(), 1);
    }
}

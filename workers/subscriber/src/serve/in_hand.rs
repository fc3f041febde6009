//! Whole objects on their way to children: one copy in memory for all who ask for the same, however slowly they take it. It knows
//! no store and no request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use blobs::Key;
use bytes::Bytes;
use tokio::sync::Mutex as Turn;

use super::refusal::Refusal;

#[derive(Debug, Default)]
pub struct InHand {
    table: Mutex<HashMap<Key, Arc<Place>>>,
}

/// Whoever comes first reads, the others wait for it.
type Place = Turn<Weak<Whole>>;

#[derive(Debug)]
struct Whole(Bytes);

struct Share(Arc<Whole>);

impl AsRef<[u8]> for Share {
    fn as_ref(&self) -> &[u8] {
        &self.0.0
    }
}

impl InHand {
    /// What somebody is being given already, else what `read` gives.
    pub async fn get(
        &self,
        key: Key,
        read: impl Future<Output = Result<Option<Bytes>, Refusal>>,
    ) -> Result<Option<Bytes>, Refusal> {
        let place = self.place(key);
        let mut held = place.lock().await;
        if let Some(whole) = held.upgrade() {
            return Ok(Some(Bytes::from_owner(Share(whole))));
        }
        let Some(bytes) = read.await? else { return Ok(None) };
        let whole = Arc::new(Whole(bytes));
        *held = Arc::downgrade(&whole);
        Ok(Some(Bytes::from_owner(Share(whole))))
    }

    fn place(&self, key: Key) -> Arc<Place> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let in_use = |place: &Arc<Place>| place.try_lock().map_or(true, |held| held.strong_count() > 0);
        table.retain(|_, place| Arc::strong_count(place) > 1 || in_use(place));
        table.entry(key).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Digest, StoreId};

    use super::*;

    fn key(name: &[u8]) -> Key {
        Key::index(StoreId(Default::default()), Digest::of(name))
    }

    async fn read(name: &'static [u8]) -> Result<Option<Bytes>, Refusal> {
        tokio::task::yield_now().await;
        Ok(Some(Bytes::from(name.to_vec())))
    }

    #[tokio::test]
    async fn all_who_ask_for_an_object_share_one_copy_until_the_last_has_it() {
        let in_hand = InHand::default();
        let (first, second) = tokio::join!(in_hand.get(key(b"a"), read(b"a")), in_hand.get(key(b"a"), read(b"a")));
        let (first, second) = (first.unwrap().unwrap(), second.unwrap().unwrap());
        assert_eq!(&first[..], b"a");
        assert_eq!(first.as_ptr(), second.as_ptr());
        drop(first);
        let third = in_hand.get(key(b"a"), async { panic!("it is in hand") }).await.unwrap().unwrap();
        assert_eq!(second.as_ptr(), third.as_ptr());
        drop((second, third));
        assert_eq!(in_hand.get(key(b"a"), async { Ok(None) }).await.unwrap(), None, "nobody has it in hand");
    }

    #[tokio::test]
    async fn what_nobody_has_in_hand_takes_no_place() {
        let in_hand = InHand::default();
        for name in [b"a", b"b", b"c"] {
            in_hand.get(key(name), read(name)).await.unwrap();
        }
        assert_eq!(in_hand.table.lock().unwrap().len(), 1);
    }
}

//! Who may fetch here: the children that control named, and their keys. It knows no request.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use blobs::PublicKey;
use schemas::{ChildKey, SubscriberName};
use tokio::sync::Notify;

/// Shared by its clones. Empty, it lets nobody in.
#[derive(Debug, Clone, Default)]
pub struct Children {
    table: Arc<RwLock<Table>>,
    replaced: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Table {
    version: Option<u64>,
    keys: HashMap<SubscriberName, PublicKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key of child {subscriber} is not an Ed25519 public key of 64 hexadecimal digits")]
pub struct InvalidChildKey {
    pub subscriber: SubscriberName,
}

impl Children {
    /// From now on these children and no others. An older version than the one in force changes nothing and gives false.
    pub fn replace(&self, version: u64, children: &[ChildKey]) -> Result<bool, InvalidChildKey> {
        let keys = children.iter().map(read_key).collect::<Result<_, _>>()?;
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.version.is_some_and(|newest| newest > version) {
            return Ok(false);
        }
        *table = Table { version: Some(version), keys };
        drop(table);
        self.replaced.notify_waiters();
        Ok(true)
    }

    /// Returns once this child is among them.
    pub(super) async fn named(&self, child: &SubscriberName) {
        loop {
            let replaced = self.replaced.notified();
            if self.key_of(child).is_some() {
                return;
            }
            replaced.await;
        }
    }

    pub(super) fn key_of(&self, child: &SubscriberName) -> Option<PublicKey> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).keys.get(child).copied()
    }

    pub(super) fn count(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).keys.len()
    }
}

fn read_key(child: &ChildKey) -> Result<(SubscriberName, PublicKey), InvalidChildKey> {
    let key = PublicKey::parse(&child.public_key);
    let invalid = || InvalidChildKey { subscriber: child.subscriber.clone() };
    Ok((child.subscriber.clone(), key.ok_or_else(invalid)?))
}

#[cfg(test)]
mod tests {
    use blobs::SiteKey;

    use super::*;

    fn child(name: &str, public_key: String) -> ChildKey {
        ChildKey { subscriber: name.parse().unwrap(), public_key }
    }

    #[test]
    fn the_newest_list_counts_and_a_bad_key_changes_nothing() {
        let (children, key) = (Children::default(), SiteKey::generate().unwrap());
        let (paris, lyon) = (child("paris", key.public_hex()), child("lyon", key.public_hex()));
        assert_eq!(children.replace(2, std::slice::from_ref(&paris)), Ok(true));
        assert_eq!(children.replace(1, &[]), Ok(false));
        let bad = children.replace(3, &[lyon.clone(), child("tokyo", "00".repeat(32))]).unwrap_err();
        assert_eq!(bad.subscriber.as_str(), "tokyo");
        assert_eq!(children.key_of(&paris.subscriber), Some(key.public()));
        assert_eq!(children.replace(3, std::slice::from_ref(&lyon)), Ok(true));
        assert_eq!(children.key_of(&paris.subscriber), None);
        assert_eq!(children.key_of(&lyon.subscriber), Some(key.public()));
    }
}

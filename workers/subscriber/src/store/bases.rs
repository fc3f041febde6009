//! Which earlier revisions are held, so that a new one may come as a patch. It knows no patch.

use std::cmp::Reverse;
use std::fs;

use blobs::{Key, ObjectKind};
use schemas::{IndexRef, StoreId};

use super::{Store, StoreError, objects};

/// Headers looked at, newest files first: a store without retention holds many.
const HEADERS_LOOKED_AT_MAX: usize = 64;

impl Store {
    /// The index of the newest held revision among the `reach` ones before `number`. A header is held only once everything
    /// that it names was.
    pub fn base(&self, store: StoreId, number: u64, reach: u64) -> Result<Option<IndexRef>, StoreError> {
        let mut found: Option<(u64, IndexRef)> = None;
        for key in self.newest_headers(store)? {
            let Some(bytes) = self.object(&key)? else { continue };
            let Ok(header) = package::header::decode(&bytes) else { continue };
            let reached = header.number < number && header.number.saturating_add(reach) >= number;
            let newer = found.is_none_or(|(number, _)| number < header.number);
            if reached && newer && self.holds(&Key::index(store, header.index.digest)) {
                found = Some((header.number, header.index));
            }
        }
        Ok(found.map(|(_, index)| index))
    }

    fn newest_headers(&self, store: StoreId) -> Result<Vec<Key>, StoreError> {
        let folder = self.root.join(store.to_string()).join(ObjectKind::Header.folder());
        let mut keys = Vec::new();
        for name in objects::names_in(&folder)? {
            let Ok(digest) = name.parse() else { continue };
            let written = fs::metadata(folder.join(&name)).and_then(|metadata| metadata.modified());
            keys.extend(written.ok().map(|at| (at, Key::header(store, digest))));
        }
        keys.sort_unstable_by_key(|(at, _)| Reverse(*at));
        keys.truncate(HEADERS_LOOKED_AT_MAX);
        Ok(keys.into_iter().map(|(_, key)| key).collect())
    }
}

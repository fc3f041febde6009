//! Which earlier revisions are held, so that a new one may come as a patch. It knows no patch.

use std::cmp::Reverse;
use std::fs;

use blobs::{Key, ObjectKind};
use schemas::{IndexRef, StoreId};

use super::{Store, StoreError, objects};

/// Headers looked at, newest files first: a store without retention holds many.
const HEADERS_LOOKED_AT_MAX: usize = 64;

impl Store {
    /// The indexes of the `reach` revisions before `number`, as far as their headers and they themselves are held, newest
    /// first. A header is held only once everything that it names was.
    pub fn bases(&self, store: StoreId, number: u64, reach: u64) -> Result<Vec<IndexRef>, StoreError> {
        let mut found = Vec::new();
        for key in self.newest_headers(store)? {
            let Some(bytes) = self.object(&key)? else { continue };
            let Ok(header) = package::header::decode(&bytes) else { continue };
            let reached = header.number < number && header.number + reach >= number;
            if reached && self.holds(&Key::index(store, header.index.digest)) {
                found.push((header.number, header.index));
            }
        }
        found.sort_unstable_by_key(|(number, _)| Reverse(*number));
        Ok(found.into_iter().map(|(_, index)| index).collect())
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

//! Where read-through goes: per distribution the sources of its newest job, else the default ones. It reads nothing itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use blobs::ReadBlobs;
use schemas::StoreId;

/// Shared by its clones.
#[derive(Clone, Default)]
pub struct Upstreams {
    table: Arc<RwLock<Table>>,
}

#[derive(Default)]
struct Table {
    by_store: HashMap<StoreId, Vec<Arc<dyn ReadBlobs>>>,
    otherwise: Vec<Arc<dyn ReadBlobs>>,
}

impl Upstreams {
    /// In the order in which they are tried.
    pub fn set(&self, store: StoreId, sources: Vec<Arc<dyn ReadBlobs>>) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).by_store.insert(store, sources);
    }

    /// For distributions without sources of their own.
    pub fn set_default(&self, sources: Vec<Arc<dyn ReadBlobs>>) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).otherwise = sources;
    }

    /// When a distribution leaves the store.
    pub fn forget(&self, store: StoreId) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).by_store.remove(&store);
    }

    pub(super) fn of(&self, store: StoreId) -> Vec<Arc<dyn ReadBlobs>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.by_store.get(&store).unwrap_or(&table.otherwise).clone()
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let names = |sources: &[Arc<dyn ReadBlobs>]| sources.iter().map(|s| s.name().to_owned()).collect::<Vec<_>>();
        let by_store = table.by_store.iter().map(|(store, sources)| (store, names(sources)));
        f.debug_map().entries(by_store).entry(&"otherwise", &names(&table.otherwise)).finish()
    }
}

//! The sources of one job, in order: which gave what, and which are passed by for now. It knows nothing of frames.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use blobs::{BlobError, Extent, Key, Pieces, ReadBlobs, pieces};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use schemas::SourceBytes;

/// Damaged objects after which a source is passed by for the rest of a round.
const CORRUPT_MAX: u64 = 8;
/// Longest wait for what nobody needs; a relay that reads it through gives up sooner.
const OPTIONAL_WAIT_MAX: Duration = Duration::from_secs(10);

pub struct Supply {
    suppliers: Vec<Supplier>,
    last_cause: Mutex<Option<String>>,
}

pub struct Supplier {
    blobs: Arc<dyn ReadBlobs>,
    passed_by: AtomicBool,
    bytes: AtomicU64,
    corrupt: AtomicU64,
    corrupt_in_round: AtomicU64,
}

impl Supply {
    /// `before` is what was counted before a restart.
    pub fn new(sources: Vec<Arc<dyn ReadBlobs>>, before: &[SourceBytes]) -> Supply {
        let supplier = |blobs: Arc<dyn ReadBlobs>| {
            let counted = before.iter().find(|b| b.source == blobs.name());
            Supplier {
                bytes: AtomicU64::new(counted.map_or(0, |c| c.bytes)),
                corrupt: AtomicU64::new(counted.map_or(0, |c| c.corrupt)),
                blobs,
                passed_by: AtomicBool::new(false),
                corrupt_in_round: AtomicU64::new(0),
            }
        };
        Supply { suppliers: sources.into_iter().map(supplier).collect(), last_cause: Mutex::new(None) }
    }

    /// Those that are worth asking in this round, in order.
    pub fn in_order(&self) -> impl Iterator<Item = &Supplier> {
        self.suppliers.iter().filter(|s| !s.passed_by.load(Relaxed))
    }

    /// Every source gets another chance.
    pub fn begin_round(&self) {
        for supplier in &self.suppliers {
            supplier.passed_by.store(false, Relaxed);
            supplier.corrupt_in_round.store(0, Relaxed);
        }
    }

    /// A whole object from one source. `None`: it did not give it, which is noted, and the next is to be asked.
    pub async fn ask(&self, supplier: &Supplier, key: &Key, bytes_max: u64) -> Option<Bytes> {
        let answer = supplier.whole(key, bytes_max).await;
        answer.inspect_err(|error| self.failed(supplier, error)).ok()
    }

    /// Asks for what is of use and not needed. The first source that says anything decides: where it is not, what it
    /// would spare is. A source that says nothing is not passed by for that.
    pub async fn ask_optional(&self, key: &Key, bytes_max: u64) -> Option<(&Supplier, Bytes)> {
        for supplier in self.in_order() {
            match tokio::time::timeout(OPTIONAL_WAIT_MAX, supplier.whole(key, bytes_max)).await {
                Ok(Ok(bytes)) => return Some((supplier, bytes)),
                Ok(Err(BlobError::Transient { .. } | BlobError::Refused { .. })) => {}
                Ok(Err(_)) | Err(_) => return None,
            }
        }
        None
    }

    /// It did not give, or not to the end, what it was asked for; it says itself when it was silent for too long.
    pub fn failed(&self, supplier: &Supplier, error: &BlobError) {
        // One object that is absent, too large or unreadable says nothing of the others.
        let whole_source = matches!(error, BlobError::Transient { .. } | BlobError::Refused { .. });
        tracing::debug!(source = supplier.name(), %error, whole_source, "a source did not give what was asked for");
        if whole_source {
            supplier.passed_by.store(true, Relaxed);
        }
        self.remember(error.to_string());
    }

    /// It gave something with the wrong digest.
    pub fn corrupt(&self, supplier: &Supplier, what: &str) {
        tracing::warn!(source = supplier.name(), what, "a source gave damaged content; the next one is asked");
        supplier.corrupt.fetch_add(1, Relaxed);
        if supplier.corrupt_in_round.fetch_add(1, Relaxed) + 1 >= CORRUPT_MAX {
            supplier.passed_by.store(true, Relaxed);
        }
        self.remember(format!("{what} from {} is damaged", supplier.name()));
    }

    fn remember(&self, cause: String) {
        *self.last_cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
    }

    /// What went wrong last.
    pub fn cause(&self) -> String {
        let cause = self.last_cause.lock().unwrap_or_else(PoisonError::into_inner).clone();
        cause.unwrap_or_else(|| "no source could be asked".to_owned())
    }

    pub fn bytes(&self) -> u64 {
        self.suppliers.iter().map(|s| s.bytes.load(Relaxed)).sum()
    }

    /// What each gave; those that gave nothing are left out.
    pub fn report(&self) -> Vec<SourceBytes> {
        let said = self.suppliers.iter().map(|s| SourceBytes {
            source: s.name().to_owned(),
            bytes: s.bytes.load(Relaxed),
            corrupt: s.corrupt.load(Relaxed),
        });
        said.filter(|s| s.bytes > 0 || s.corrupt > 0).collect()
    }
}

impl Supplier {
    pub fn name(&self) -> &str {
        self.blobs.name()
    }

    /// Every piece is counted as it comes, whatever becomes of it.
    pub fn read(&self, key: &Key, extent: Extent) -> Pieces<'_> {
        let count = |piece: &Bytes| {
            self.bytes.fetch_add(piece.len() as u64, Relaxed);
        };
        self.blobs.read(key, extent).inspect_ok(count).boxed()
    }

    async fn whole(&self, key: &Key, bytes_max: u64) -> Result<Bytes, BlobError> {
        pieces::joined(self.read(key, Extent::Whole { bytes_max })).await
    }
}

//! A source that counts what is read from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use blobs::{BlobError, Extent, Key, Pieces, ReadBlobs};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

pub struct Counting {
    inner: Arc<dyn ReadBlobs>,
    bytes: AtomicU64,
    objects: AtomicU64,
}

impl Counting {
    pub fn of(inner: impl ReadBlobs) -> Arc<Counting> {
        Arc::new(Counting { inner: Arc::new(inner), bytes: AtomicU64::new(0), objects: AtomicU64::new(0) })
    }

    /// Bytes that left the source.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// How often a whole object was asked for.
    pub fn objects(&self) -> u64 {
        self.objects.load(Relaxed)
    }
}

#[async_trait]
impl ReadBlobs for Counting {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        self.inner.size(key).await
    }

    fn read(&self, key: &Key, extent: Extent) -> Pieces<'_> {
        if matches!(extent, Extent::Whole { .. }) {
            self.objects.fetch_add(1, Relaxed);
        }
        let count = |piece: &Bytes| {
            self.bytes.fetch_add(piece.len() as u64, Relaxed);
        };
        self.inner.read(key, extent).inspect_ok(count).boxed()
    }
}

//! A shared store is a store: `Arc<dyn Blobs>` goes wherever a store goes. It adds no behaviour.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use schemas::StoreId;

use crate::{BlobError, Blobs, Key, ReadBlobs};

#[async_trait]
impl<B: ReadBlobs + ?Sized> ReadBlobs for Arc<B> {
    fn name(&self) -> &str {
        (**self).name()
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        (**self).size(key).await
    }

    async fn get(&self, key: &Key, bytes_max: u64) -> Result<Bytes, BlobError> {
        (**self).get(key, bytes_max).await
    }

    async fn get_ranges(&self, key: &Key, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, BlobError> {
        (**self).get_ranges(key, ranges).await
    }
}

#[async_trait]
impl<B: Blobs + ?Sized> Blobs for Arc<B> {
    async fn put(&self, key: &Key, body: Bytes) -> Result<(), BlobError> {
        (**self).put(key, body).await
    }

    async fn delete(&self, key: &Key) -> Result<(), BlobError> {
        (**self).delete(key).await
    }

    async fn list(&self, store: StoreId) -> Result<Vec<(Key, u64)>, BlobError> {
        (**self).list(store).await
    }

    async fn stores(&self) -> Result<Vec<StoreId>, BlobError> {
        (**self).stores().await
    }
}

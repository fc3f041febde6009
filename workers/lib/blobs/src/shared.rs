//! A shared store is a store: `Arc<dyn Blobs>` goes wherever a store goes. It adds no behaviour.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use schemas::StoreId;

use crate::{BlobError, Blobs, Extent, Key, Pieces, ReadBlobs};

#[async_trait]
impl<B: ReadBlobs + ?Sized> ReadBlobs for Arc<B> {
    fn name(&self) -> &str {
        (**self).name()
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        (**self).size(key).await
    }

    fn read(&self, key: &Key, extent: Extent) -> Pieces<'_> {
        (**self).read(key, extent)
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

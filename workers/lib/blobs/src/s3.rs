//! Objects in a bucket of an S3-compatible server. It makes no second try (wrap it in `Retrying`) and checks no digest.

mod config;
mod fault;
mod upload;

use std::fmt::Display;
use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use schemas::{Digest, StoreId};
use uuid::Uuid;

pub use config::{Checksums, S3Config, S3Credentials};
pub use fault::BucketError;

use crate::body::{self, BodyFault, Length};
use crate::{BlobError, Blobs, Extent, Key, Pieces, ReadBlobs, pieces, span};

/// What results call the bucket that builders write to.
const NAME: &str = "origin";
/// Range reads under way at once, for one call.
const READS_AT_ONCE: usize = 8;
/// Longest single read: touching ranges are joined up to here.
const READ_BYTES_MAX: u64 = 8 << 20;
/// Most objects that one listing returns.
pub const LIST_OBJECTS_MAX: usize = 1_000_000;

#[derive(Debug, Clone)]
pub struct S3Blobs {
    config: S3Config,
    client: Client,
}

impl S3Blobs {
    /// Opens no connection yet. Without credentials in `config` the usual AWS chain is asked (environment, profile, …).
    pub async fn open(config: S3Config) -> S3Blobs {
        let client = config.client().await;
        S3Blobs { config, client }
    }

    /// Makes the bucket if it is not there.
    pub async fn ensure_bucket(&self) -> Result<(), BucketError> {
        let bucket = &self.config.bucket;
        match self.within(0, self.client.head_bucket().bucket(bucket).send()).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(fault)) if fault::status(&fault) == Some(404) => {}
            Ok(Err(fault)) => return Err(fault::of_bucket(bucket, &fault)),
            Err(late) => return Err(BucketError::Transient { bucket: bucket.clone(), reason: late.to_string() }),
        }
        let create = self.client.create_bucket().bucket(bucket).set_create_bucket_configuration(self.config.location());
        match self.within(0, create.send()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(fault)) if fault.code() == Some("BucketAlreadyOwnedByYou") => Ok(()),
            Ok(Err(fault)) => Err(fault::of_bucket(bucket, &fault)),
            Err(late) => Err(BucketError::Transient { bucket: bucket.clone(), reason: late.to_string() }),
        }
    }

    fn path(&self, key: &Key) -> String {
        self.config.path(key)
    }

    /// Runs one request that moves `bytes` upwards; a body that comes down is timed while it is read.
    async fn within<T>(&self, bytes: u64, request: impl Future<Output = T>) -> Result<T, Late> {
        let limits = &self.config.limits;
        let limit = limits.connect + limits.silence + Duration::from_secs(bytes / limits.rate_min_bytes_per_s.max(1));
        tokio::time::timeout(limit, request).await.map_err(|_| Late(limit))
    }

    async fn call<T, E>(
        &self,
        key: &Key,
        bytes: u64,
        request: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, BlobError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match self.within(bytes, request).await {
            Ok(answer) => answer.map_err(|fault| fault::of_object(key, NAME, &fault)),
            Err(late) => Err(transient(key, late)),
        }
    }

    fn body(&self, key: Key, output: GetObjectOutput, length: Length) -> Pieces<'_> {
        let parts = stream::unfold(output.body, async |mut body| body.next().await.map(|part| (part, body)));
        let pieces = body::pieces(Box::pin(parts), length, &self.config.limits);
        pieces.map_err(move |fault| body_fault(&key, fault, length)).boxed()
    }

    async fn whole(&self, key: Key, bytes_max: u64) -> Result<Pieces<'_>, BlobError> {
        let request = self.client.get_object().bucket(&self.config.bucket).key(self.path(&key));
        let output = self.call(&key, 0, request.send()).await?;
        let length = match output.content_length().and_then(|bytes| u64::try_from(bytes).ok()) {
            Some(bytes) if bytes > bytes_max => {
                return Err(BlobError::TooLarge { key, source_name: NAME.to_owned(), bytes, bytes_max });
            }
            Some(bytes) => Length::Exactly(bytes),
            None => Length::AtMost(bytes_max),
        };
        Ok(self.body(key, output, length))
    }

    async fn range(&self, key: Key, range: Range<u64>) -> Result<Pieces<'_>, BlobError> {
        let (first, last) = (range.start, range.end - 1);
        let request = self.client.get_object().bucket(&self.config.bucket).key(self.path(&key));
        let output = self.call(&key, 0, request.range(format!("bytes={first}-{last}")).send()).await?;
        let answered = output.content_range().unwrap_or_default();
        if !answered.starts_with(&format!("bytes {first}-{last}/")) {
            let reason = format!("bytes {first}-{last} asked for, `{:.60}` answered", answered);
            return Err(BlobError::Damaged { key, source_name: NAME.to_owned(), reason });
        }
        Ok(self.body(key, output, Length::Exactly(range.end - range.start)))
    }
}

#[async_trait]
impl ReadBlobs for S3Blobs {
    fn name(&self) -> &str {
        NAME
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, BlobError> {
        let request = self.client.head_object().bucket(&self.config.bucket).key(self.path(key));
        match self.call(key, 0, request.send()).await {
            Ok(output) => Ok(output.content_length().and_then(|bytes| u64::try_from(bytes).ok())),
            Err(BlobError::Absent { .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    fn read(&self, key: &Key, extent: Extent) -> Pieces<'_> {
        let key = *key;
        match extent {
            Extent::Whole { bytes_max } => pieces::of_answer(self.whole(key, bytes_max)),
            Extent::Ranges(ranges) if span::total_bytes(&ranges).is_none() => pieces::empty_range(key, NAME),
            Extent::Ranges(ranges) => {
                let spans = span::join_touching(&ranges, READ_BYTES_MAX).into_iter();
                pieces::in_order(spans.map(|span| pieces::of_answer(self.range(key, span))).collect(), READS_AT_ONCE)
            }
        }
    }
}

#[async_trait]
impl Blobs for S3Blobs {
    async fn put(&self, key: &Key, body: Bytes) -> Result<(), BlobError> {
        if body.len() > upload::SINGLE_PUT_BYTES_MAX {
            return self.put_in_parts(key, body).await;
        }
        let bytes = body.len() as u64;
        let request = self.client.put_object().bucket(&self.config.bucket).key(self.path(key));
        self.call(key, bytes, request.body(ByteStream::from(body)).send()).await.map(drop)
    }

    async fn delete(&self, key: &Key) -> Result<(), BlobError> {
        let request = self.client.delete_object().bucket(&self.config.bucket).key(self.path(key));
        match self.call(key, 0, request.send()).await {
            Err(BlobError::Absent { .. }) => Ok(()),
            ended => ended.map(drop),
        }
    }

    async fn list(&self, store: StoreId) -> Result<Vec<(Key, u64)>, BlobError> {
        let any = Key::header(store, Digest([0; 32]));
        let prefix = self.config.folder(store);
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let request = self.client.list_objects_v2().bucket(&self.config.bucket).prefix(&prefix);
            let page = self.call(&any, 0, request.set_continuation_token(next).send()).await?;
            found.extend(page.contents().iter().filter_map(|object| self.config.listed(object)));
            next = page.next_continuation_token().map(str::to_owned);
            if found.len() > LIST_OBJECTS_MAX {
                let reason = format!("more than {LIST_OBJECTS_MAX} objects in one distribution");
                return Err(BlobError::Permanent { key: any, source_name: NAME.to_owned(), reason });
            }
            if page.is_truncated() != Some(true) || next.is_none() {
                break;
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    async fn stores(&self) -> Result<Vec<StoreId>, BlobError> {
        let any = Key::header(StoreId(Uuid::nil()), Digest([0; 32]));
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let request = self.client.list_objects_v2().bucket(&self.config.bucket).prefix(self.config.root());
            let page = self.call(&any, 0, request.delimiter("/").set_continuation_token(next).send()).await?;
            found.extend(page.common_prefixes().iter().filter_map(|folder| self.config.store(folder)));
            next = page.next_continuation_token().map(str::to_owned);
            if found.len() > LIST_OBJECTS_MAX {
                let reason = format!("more than {LIST_OBJECTS_MAX} distributions");
                return Err(BlobError::Permanent { key: any, source_name: NAME.to_owned(), reason });
            }
            if page.is_truncated() != Some(true) || next.is_none() {
                break;
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct Late(Duration);

fn transient(key: &Key, reason: impl Display) -> BlobError {
    BlobError::Transient { key: *key, source_name: NAME.to_owned(), reason: reason.to_string() }
}

fn body_fault(key: &Key, fault: BodyFault, length: Length) -> BlobError {
    match (fault, length) {
        (fault, _) if fault.is_transient() => transient(key, fault),
        (BodyFault::Longer(bytes_max), Length::AtMost(_)) => {
            BlobError::TooLarge { key: *key, source_name: NAME.to_owned(), bytes: bytes_max + 1, bytes_max }
        }
        (fault, _) => BlobError::Damaged { key: *key, source_name: NAME.to_owned(), reason: fault.to_string() },
    }
}

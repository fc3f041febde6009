//! Large objects go up in parts; an upload that does not end well is aborted, so that no parts are left to be paid for.

use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::S3Blobs;
use crate::{BlobError, Key};

/// Above it an object goes up in parts. Packs stay below.
pub const SINGLE_PUT_BYTES_MAX: usize = 24 << 20;
const PART_BYTES: usize = 16 << 20;
/// Parts under way at once.
const PARTS_AT_ONCE: usize = 3;

impl S3Blobs {
    pub(super) async fn put_in_parts(&self, key: &Key, body: Bytes) -> Result<(), BlobError> {
        let begin = self.client.create_multipart_upload().bucket(&self.config.bucket).key(self.path(key));
        let begun = self.call(key, 0, begin.send()).await?;
        let id = begun.upload_id().unwrap_or_default().to_owned();
        let upload = Upload::new(self, key, id);
        let parts = upload.put_parts(body).await?;
        upload.complete(parts).await
    }
}

struct Upload<'a> {
    blobs: &'a S3Blobs,
    key: Key,
    id: String,
    completed: AtomicBool,
}

impl<'a> Upload<'a> {
    fn new(blobs: &'a S3Blobs, key: &Key, id: String) -> Upload<'a> {
        Upload { blobs, key: *key, id, completed: AtomicBool::new(false) }
    }

    async fn put_parts(&self, body: Bytes) -> Result<Vec<CompletedPart>, BlobError> {
        let cuts = (0..body.len()).step_by(PART_BYTES);
        let parts = cuts.zip(1..).map(|(from, number)| {
            let part = body.slice(from..body.len().min(from + PART_BYTES));
            self.put_part(number, part)
        });
        stream::iter(parts.collect::<Vec<_>>()).buffered(PARTS_AT_ONCE).try_collect().await
    }

    async fn put_part(&self, number: i32, part: Bytes) -> Result<CompletedPart, BlobError> {
        let bytes = part.len() as u64;
        let request = self.blobs.client.upload_part().bucket(&self.blobs.config.bucket).key(self.blobs.path(&self.key));
        let request = request.upload_id(&self.id).part_number(number).body(ByteStream::from(part));
        let answer = self.blobs.call(&self.key, bytes, request.send()).await?;
        Ok(CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag().map(str::to_owned)).build())
    }

    async fn complete(self, parts: Vec<CompletedPart>) -> Result<(), BlobError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.blobs.client.complete_multipart_upload().bucket(&self.blobs.config.bucket);
        let request = request.key(self.blobs.path(&self.key)).upload_id(&self.id).multipart_upload(parts);
        self.blobs.call(&self.key, 0, request.send()).await?;
        self.completed.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Runs on every way out, a cancelled put included.
impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if self.completed.load(Ordering::Relaxed) {
            return;
        }
        let (client, bucket, path) =
            (self.blobs.client.clone(), self.blobs.config.bucket.clone(), self.blobs.path(&self.key));
        let id = std::mem::take(&mut self.id);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(abort(client, bucket, path, id));
        }
    }
}

async fn abort(client: Client, bucket: String, path: String, id: String) {
    let request = client.abort_multipart_upload().bucket(bucket).key(&path).upload_id(id);
    if let Err(fault) = request.send().await {
        tracing::warn!(path, %fault, "an upload in parts could not be aborted; the bucket's lifecycle rule must remove it");
    }
}

//! One suite for every store that builders write to.

use blobs::{DiskBlobs, RetryPolicy, Retrying};
use testkit::blobs_suite;

#[tokio::test]
async fn disk_conforms() {
    let root = tempfile::tempdir().unwrap();
    blobs_suite::reads_and_writes(&DiskBlobs::open(root.path()).unwrap()).await;
}

#[tokio::test]
async fn a_retried_store_conforms() {
    let root = tempfile::tempdir().unwrap();
    let disk = DiskBlobs::open(root.path()).unwrap();
    blobs_suite::reads_and_writes(&Retrying::new(disk, RetryPolicy::default())).await;
}

#[cfg(feature = "s3")]
#[tokio::test]
async fn s3_conforms() {
    let server = testkit::s3::spawn().unwrap();
    let origin = blobs::S3Blobs::open(server.config("origin")).await;
    origin.ensure_bucket().await.unwrap();
    origin.ensure_bucket().await.expect("a bucket that is there is no error");
    blobs_suite::reads_and_writes(&origin).await;
}

#[cfg(feature = "s3")]
#[tokio::test]
async fn s3_conforms_below_a_prefix() {
    let server = testkit::s3::spawn().unwrap();
    let config = blobs::S3Config { prefix: "site/a".to_owned(), ..server.config("shared") };
    let origin = blobs::S3Blobs::open(config).await;
    origin.ensure_bucket().await.unwrap();
    blobs_suite::reads_and_writes(&origin).await;
}

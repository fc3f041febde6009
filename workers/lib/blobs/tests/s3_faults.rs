//! What an S3 server's refusals, failures and drips become.
#![allow(clippy::single_range_in_vec_init)] // one range is what is meant
#![cfg(feature = "s3")]

use std::time::Duration;

use blobs::{BlobError, Blobs, BucketError, Extent, Key, ReadBlobs, S3Blobs, S3Config, S3Credentials, TransferLimits};
use bytes::Bytes;
use futures::StreamExt;
use schemas::Digest;
use testkit::blobs_suite::new_store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn key() -> Key {
    Key::pack(new_store(), Digest::of(b"x"))
}

fn impatient() -> TransferLimits {
    let (connect, silence) = (Duration::from_millis(500), Duration::from_millis(500));
    TransferLimits { connect, silence, rate_min_bytes_per_s: 1 << 20, rate_window: Duration::from_millis(100) }
}

fn config_of(url: String) -> S3Config {
    let credentials = Some(S3Credentials::new("access", "secret"));
    S3Config { endpoint: Some(url), credentials, limits: impatient(), ..S3Config::new("origin") }
}

/// Answers every request with `head`, then sends `drip` every 20 ms for ever (if it is not empty).
async fn answering(head: &'static str, drip: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(head.as_bytes()).await;
                while !drip.is_empty() && socket.write_all(drip).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                let _ = socket.shutdown().await;
            });
        }
    });
    url
}

async fn get_from(head: &'static str, drip: &'static [u8]) -> BlobError {
    let origin = S3Blobs::open(config_of(answering(head, drip).await)).await;
    origin.get(&key(), 1 << 20).await.unwrap_err()
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_no_secret_is_told() {
    let server = testkit::s3::spawn().unwrap();
    let right = S3Blobs::open(server.config("origin")).await;
    right.ensure_bucket().await.unwrap();
    let credentials = Some(S3Credentials::new(testkit::s3::ACCESS_KEY, "wrong-secret"));
    let wrong = S3Blobs::open(S3Config { credentials, ..server.config("origin") }).await;
    let fault = wrong.put(&key(), Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(fault, BlobError::Refused { .. }), "{fault}");
    assert!(!format!("{fault} {fault:?} {wrong:?}").contains("wrong-secret"));
    let bucket = wrong.ensure_bucket().await.unwrap_err();
    assert!(matches!(bucket, BucketError::Refused { .. }), "{bucket}");
}

#[tokio::test]
async fn a_missing_bucket_is_named_as_such_and_not_tried_again() {
    let head = concat!(
        "HTTP/1.1 404 Not Found\r\ncontent-type: application/xml\r\ncontent-length: 84\r\n\r\n",
        "<Error><Code>NoSuchBucket</Code><Message>The bucket does not exist</Message></Error>",
    );
    let origin = S3Blobs::open(config_of(answering(head, b"").await)).await;
    let put = origin.put(&key(), Bytes::from_static(b"x")).await.unwrap_err();
    let get = origin.get(&key(), 1).await.unwrap_err();
    for fault in [put, get] {
        assert!(matches!(fault, BlobError::Permanent { .. }), "{fault}");
        assert!(fault.to_string().contains("NoSuchBucket"), "{fault}");
    }
}

#[tokio::test]
async fn busy_and_failing_servers_are_worth_another_try() {
    for head in [
        "HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        "nonsense",
        "",
    ] {
        let fault = get_from(head, b"").await;
        assert!(fault.is_transient(), "{head:?}: {fault}");
    }
}

#[tokio::test]
async fn a_drip_and_silence_end_as_transient() {
    let drip = get_from("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b".").await;
    assert!(drip.is_transient() && drip.to_string().contains("slower than"), "{drip}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = S3Blobs::open(config_of(format!("http://{}", listener.local_addr().unwrap()))).await;
    assert!(silent.size(&key()).await.unwrap_err().is_transient());
    assert!(silent.put(&key(), Bytes::from_static(b"x")).await.unwrap_err().is_transient());
    drop(listener);
    assert!(silent.size(&key()).await.unwrap_err().is_transient(), "nobody listens");
}

#[tokio::test]
async fn what_came_before_the_line_broke_is_given() {
    let head = "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-9/20\r\ncontent-length: 10\r\n\r\nabcde";
    let origin = S3Blobs::open(config_of(answering(head, b"").await)).await;
    let mut given = origin.read(&key(), Extent::Ranges(vec![0..4, 4..10]));
    assert_eq!(given.next().await.unwrap().unwrap(), "abcde");
    assert!(given.next().await.unwrap().unwrap_err().is_transient());
}

#[tokio::test]
async fn a_whole_object_or_another_range_is_no_answer_to_a_range() {
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole",
        "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 1-5/9\r\ncontent-length: 5\r\n\r\nother",
        "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-4/9\r\ncontent-length: 9\r\n\r\ntoo long!",
    ] {
        let origin = S3Blobs::open(config_of(answering(head, b"").await)).await;
        let fault = origin.get_ranges(&key(), &[0..5]).await.unwrap_err();
        assert!(matches!(fault, BlobError::Damaged { .. }), "{head:?}: {fault}");
    }
}

#[tokio::test]
async fn an_object_that_lies_about_its_length_is_not_read_beyond_the_limit() {
    let fault = get_from("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", b"x").await;
    assert!(matches!(fault, BlobError::TooLarge { bytes: 99_999_999_999, .. }), "{fault}");
    let endless = get_from("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", &[0; 1 << 19]).await;
    assert!(matches!(endless, BlobError::TooLarge { .. }), "{endless}");
}

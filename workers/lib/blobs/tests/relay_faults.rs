//! What a relay's refusals, failures, lies and drips become at the child.
#![allow(clippy::single_range_in_vec_init)] // one range is what is meant

use std::time::Duration;

use blobs::{BlobError, Extent, Key, ReadBlobs, RelayBlobs, RelayConfig, SiteKey, TransferLimits};
use futures::StreamExt;
use schemas::Digest;
use testkit::blobs_suite::new_store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn key() -> Key {
    Key::pack(new_store(), Digest::of(b"x"))
}

fn child_of(url: String) -> RelayBlobs {
    let (connect, silence) = (Duration::from_millis(500), Duration::from_millis(500));
    let limits =
        TransferLimits { connect, silence, rate_min_bytes_per_s: 1 << 20, rate_window: Duration::from_millis(100) };
    let (relay, subscriber) = ("region".parse().unwrap(), "paris".parse().unwrap());
    RelayBlobs::new(RelayConfig { url, relay, subscriber, key: SiteKey::generate().unwrap(), limits }).unwrap()
}

/// Answers every request with `answer`, then sends `drip` every 20 ms for ever (if it is not empty).
async fn answering(answer: String, drip: &'static [u8]) -> RelayBlobs {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(answer.as_bytes()).await;
                while !drip.is_empty() && socket.write_all(drip).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                let _ = socket.shutdown().await;
            });
        }
    });
    child_of(url)
}

async fn status(status: &str) -> BlobError {
    let relay = answering(format!("HTTP/1.1 {status}\r\ncontent-length: 10\r\n\r\nclock-skew"), b"").await;
    let one = relay.get_ranges(&key(), &[0..5]).await.unwrap_err();
    let many = relay.get_ranges(&key(), &[0..5, 9..10]).await.unwrap_err();
    let whole = relay.get(&key(), 5).await.unwrap_err();
    assert_eq!(std::mem::discriminant(&one), std::mem::discriminant(&many));
    assert_eq!(std::mem::discriminant(&one), std::mem::discriminant(&whole));
    one
}

#[tokio::test]
async fn refusals_and_absence_mean_the_next_source_and_failures_another_try() {
    for refused in ["401 Unauthorized", "403 Forbidden"] {
        let fault = status(refused).await;
        assert!(matches!(&fault, BlobError::Refused { reason, .. } if reason.contains("clock-skew")), "{fault}");
    }
    assert!(matches!(status("404 Not Found").await, BlobError::Absent { .. }));
    assert!(matches!(status("416 Range Not Satisfiable").await, BlobError::Damaged { .. }));
    assert!(matches!(status("302 Found\r\nlocation: http://127.0.0.1:1/").await, BlobError::Permanent { .. }));
    for failing in ["500 Internal Server Error", "502 Bad Gateway", "503 Busy", "429 Slow Down", "408 Late"] {
        assert!(status(failing).await.is_transient(), "{failing}");
    }
}

#[tokio::test]
async fn a_server_that_says_when_to_come_again_is_busy_and_not_broken() {
    let busy = |after: &str| format!("503 Busy\r\nretry-after: {after}");
    for (after, seconds) in [("7", 7), ("999999", 60)] {
        let fault = status(&busy(after)).await;
        let want = Duration::from_secs(seconds);
        assert!(matches!(fault, BlobError::Busy { again_after, .. } if again_after == want), "{fault}");
        assert!(!fault.is_transient(), "it would be tried again at once");
    }
    assert!(status(&busy("Sat, 21 Nov 2026 08:00:00 GMT")).await.is_transient(), "a date is not waited for");
}

#[tokio::test]
async fn a_whole_object_or_another_range_is_no_answer_to_a_range() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole",
        "HTTP/1.1 206 Partial\r\ncontent-range: bytes 1-5/9\r\ncontent-length: 5\r\n\r\nother",
        "HTTP/1.1 206 Partial\r\ncontent-length: 5\r\n\r\nother",
        "HTTP/1.1 206 Partial\r\ncontent-range: bytes 0-4/9\r\ncontent-length: 9\r\n\r\ntoo long!",
        "HTTP/1.1 206 Partial\r\ncontent-range: bytes 0-4/9\r\ncontent-length: 3\r\n\r\nfew",
        "HTTP/1.1 206 Partial\r\ncontent-range: bytes 0-4/9\r\nconnection: close\r\n\r\ntoo long!",
    ] {
        let fault = answering(answer.to_owned(), b"").await.get_ranges(&key(), &[0..5]).await.unwrap_err();
        assert!(!fault.is_transient(), "{answer:?}: {fault}");
    }
}

#[tokio::test]
async fn an_answer_to_many_ranges_is_exactly_as_long_as_their_sum() {
    let answer = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length));
    for (length, good) in [(6, true), (5, false), (7, false)] {
        let read = answering(answer(length), b"").await.get_ranges(&key(), &[0..5, 9..10]).await;
        assert_eq!(read.is_ok(), good, "{length}");
        assert!(read.is_ok_and(|parts| parts == ["xxxxx", "x"]) || !good);
    }
}

#[tokio::test]
async fn wrong_bytes_of_the_right_length_are_passed_on_for_the_caller_to_judge() {
    let answer = "HTTP/1.1 206 Partial\r\ncontent-range: bytes 0-4/9\r\ncontent-length: 5\r\n\r\nwrong".to_owned();
    let parts = answering(answer, b"").await.get_ranges(&key(), &[0..5]).await.unwrap();
    assert_eq!(parts, ["wrong"]);
}

#[tokio::test]
async fn a_drip_silence_and_a_broken_line_end_as_transient() {
    let drip = answering("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".to_owned(), b".").await;
    let fault = drip.get(&key(), 1 << 20).await.unwrap_err();
    assert!(fault.is_transient() && fault.to_string().contains("slower than"), "{fault}");
    let broken = answering("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nbroken".to_owned(), b"").await;
    assert!(broken.get(&key(), 1 << 20).await.unwrap_err().is_transient());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = child_of(format!("http://{}", listener.local_addr().unwrap()));
    assert!(silent.get(&key(), 1).await.unwrap_err().is_transient());
    drop(listener);
    assert!(silent.get(&key(), 1).await.unwrap_err().is_transient());
}

#[tokio::test]
async fn what_came_before_the_line_broke_is_given() {
    let one = "HTTP/1.1 206 Partial\r\ncontent-range: bytes 0-9/20\r\ncontent-length: 10\r\n\r\nabcde";
    let many = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabcde";
    for (answer, ranges) in [(one, vec![0..10]), (many, vec![0..4, 8..14])] {
        let relay = answering(answer.to_owned(), b"").await;
        let mut given = relay.read(&key(), Extent::Ranges(ranges));
        assert_eq!(given.next().await.unwrap().unwrap(), "abcde");
        assert!(given.next().await.unwrap().unwrap_err().is_transient());
    }
}

#[tokio::test]
async fn an_endless_body_is_not_read_beyond_the_limit() {
    let endless = answering("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned(), &[0; 1 << 19]).await;
    assert!(matches!(endless.get(&key(), 1 << 20).await.unwrap_err(), BlobError::TooLarge { .. }));
    let huge = answering("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_owned(), b"x").await;
    assert!(matches!(huge.get(&key(), 1 << 20).await.unwrap_err(), BlobError::TooLarge { .. }));
}

#[test]
fn an_address_that_is_none_is_refused() {
    for url in
        ["", "host:1", "ftp://host", "http://", "http://a/b", "http://a?x=1", "http://user@a", "file:///etc/passwd"]
    {
        let (relay, subscriber) = ("region".parse().unwrap(), "paris".parse().unwrap());
        let key = SiteKey::generate().unwrap();
        let config = RelayConfig { url: url.to_owned(), relay, subscriber, key, limits: TransferLimits::default() };
        assert!(RelayBlobs::new(config).is_err(), "{url}");
    }
}

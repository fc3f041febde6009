//! Bounds of time, number and rate.

use blobs::{BlobError, ReadBlobs, RelayBlobs, SiteKey, wire};
use schemas::{Priority, RatesByPriority};
use std::sync::Arc;
use std::time::Duration;
use subscriber::serve::ServeLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::parent::*;

#[tokio::test]
async fn the_server_ends_when_told_and_lets_go_of_its_port() {
    let revision = Revision::of(10_000).await;
    let parent = Parent::start(vec![Arc::new(revision.origin.clone())]).await;
    let (child, addr) = (parent.child(), parent.serving.addr());
    child.get(&revision.index_key, 1 << 20).await.unwrap();
    parent.stop.cancel();
    timeout(PATIENCE, parent.serving.ended()).await.expect("it did not end");
    assert!(TcpStream::connect(addr).await.is_err());
    assert!(child.get(&revision.index_key, 1 << 20).await.unwrap_err().is_transient());
}

fn impatient() -> ServeLimits {
    let short = Duration::from_millis(300);
    ServeLimits { request_max: short, stall_max: short, drain_max: short, ..ServeLimits::default() }
}

#[tokio::test]
async fn a_connection_without_a_request_and_one_that_drips_its_head_are_closed() {
    let parent = Parent::start_with(Vec::new(), impatient()).await;
    for begun in ["", "GET /v1/content/"] {
        let mut socket = TcpStream::connect(parent.serving.addr()).await.unwrap();
        socket.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("it was not closed").unwrap();
    }
}

#[tokio::test]
async fn a_child_that_takes_nothing_is_cut_off() {
    let revision = Revision::of(14 << 20).await;
    let parent = Parent::start_with(Vec::new(), impatient()).await;
    revision.put_frames(&parent.store);
    let path = wire::content_path(&revision.pack);
    let range = wire::range_header(&(0..revision.pack_bytes.len() as u64));
    let request = ByHand {
        signed_path: &path,
        sent_path: &path,
        signed_body: b"",
        sent_body: b"",
        signed_range: Some(&range),
        sent_range: Some(&range),
        timestamp_ms: now_ms(),
    };
    let headers = request.headers(&parent).into_iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{}\r\n", headers.collect::<String>());
    let mut socket = TcpStream::connect(parent.serving.addr()).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(impatient().stall_max * 4).await;
    let mut taken = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut taken)).await.expect("it was not cut off");
    assert!(taken.starts_with(b"HTTP/1.1 206"));
    assert!(taken.len() < revision.pack_bytes.len(), "it was served whole");
}

#[tokio::test]
async fn who_connects_beyond_the_limit_waits_for_a_place() {
    let revision = Revision::of(10_000).await;
    let limits = ServeLimits { connections_max: 1, ..impatient() };
    let parent = Parent::start_with(vec![Arc::new(revision.origin.clone())], limits).await;
    let idle = TcpStream::connect(parent.serving.addr()).await.unwrap();
    let read = timeout(PATIENCE, parent.child().get(&revision.index_key, 1 << 20)).await;
    assert!(read.expect("it never got a place").is_ok());
    drop(idle);
}

/// Bytes per second, of one priority.
fn rate(priority: Priority, bytes_per_s: u64) -> RatesByPriority {
    let mut rates = RatesByPriority::default();
    *match priority {
        Priority::High => &mut rates.high,
        Priority::Medium => &mut rates.medium,
        Priority::Low => &mut rates.low,
    } = Some(bytes_per_s);
    rates
}

async fn time_of(child: RelayBlobs, revision: &Revision) -> Duration {
    let began = std::time::Instant::now();
    let parts = child.get_ranges(&revision.pack, &revision.ranges()).await.unwrap();
    assert!(parts.concat() == revision.pack_bytes);
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn children_together_get_no_more_than_the_rate_of_the_priority() {
    let revision = Revision::of(2 << 20).await;
    let parent = Parent::start(vec![]).await;
    revision.put_frames(&parent.store);
    parent.outflow.set(rate(Priority::Low, 4 << 20), None);
    let began = std::time::Instant::now();
    let (one, other) = (parent.child().for_priority(Priority::Low), parent.child().for_priority(Priority::Low));
    tokio::join!(time_of(one, &revision), time_of(other, &revision));
    assert!(began.elapsed() > Duration::from_millis(550), "4 MiB at 4 MiB/s took {:?}", began.elapsed());
    parent.outflow.set(rate(Priority::Low, 1 << 10), None);
    let urgent = timeout(PATIENCE, time_of(parent.child().for_priority(Priority::High), &revision));
    urgent.await.expect("another priority has its own rate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_beyond_the_limit_is_told_to_come_again_and_gets_everything_later() {
    let revision = Revision::of(1 << 20).await;
    let short = Duration::from_millis(50);
    let parent = Parent::start_with(vec![], ServeLimits { place_max: short, ..ServeLimits::default() }).await;
    revision.put_frames(&parent.store);
    let second = SiteKey::generate().unwrap();
    parent.children.replace(2, &[listed("paris", &parent.child_key), listed("lyon", &second)]).unwrap();
    parent.outflow.set(rate(Priority::Medium, 512 << 10), Some(1));
    let (paris, lyon) = (parent.child(), parent.child_as("lyon", "region", &second));
    let key = revision.pack;
    let first = tokio::spawn(async move { time_of(paris, &revision).await });
    while parent.served().is_empty() {
        tokio::task::yield_now().await;
    }
    let refused = lyon.get_ranges(&key, &[0..10]).await.unwrap_err();
    assert!(
        matches!(refused, BlobError::Busy { again_after, .. } if again_after >= Duration::from_secs(1)),
        "{refused}"
    );
    let staying = blobs::Queueing::new(lyon, PATIENCE);
    assert_eq!(staying.get_ranges(&key, &[0..10]).await.unwrap()[0].len(), 10);
    assert!(first.await.unwrap() > Duration::from_secs(1));
}

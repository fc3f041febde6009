//! A queue is read from when the broker is there until the shutdown, one by one or in batches.

mod rig;

use std::sync::Arc;

use queue::local::LocalQueue;
use queue::{Delivery, Outgoing, Queue, QueueError};
use rig::{Faulty, faulty, until, within};
use schemas::QueueName;
use tokio_util::sync::CancellationToken;
use worker::QueueReader;

const NAME: QueueName = QueueName::Reports;

async fn queue_of(messages: usize) -> Arc<Faulty> {
    let queue = faulty(LocalQueue::new());
    queue.declare(&NAME).await.unwrap();
    for number in 0..messages {
        queue.publish(vec![Outgoing::new(NAME, vec![number as u8])]).await.pop().unwrap().unwrap();
    }
    queue
}

async fn open(queue: &Faulty, shutdown: &CancellationToken) -> QueueReader {
    within(QueueReader::open(queue, &NAME, 100, shutdown)).await.unwrap().expect("nobody asked for a shutdown")
}

fn away() -> QueueError {
    QueueError::Unavailable { reason: "a test".to_owned() }
}

#[tokio::test]
async fn a_reader_waits_for_the_broker_and_then_reads() {
    let queue = queue_of(1).await;
    queue.consume_faults.lock().unwrap().extend([away(), away()]);
    let mut reader = open(&queue, &CancellationToken::new()).await;
    assert!(queue.consume_faults.lock().unwrap().is_empty());
    assert_eq!(within(reader.next()).await.unwrap().body[..], [0]);
}

#[tokio::test]
async fn a_refusal_ends_the_wait_with_an_error() {
    let queue = queue_of(0).await;
    let refused = QueueError::Refused { reason: "a test".to_owned() };
    queue.consume_faults.lock().unwrap().push_back(refused.clone());
    let opened = within(QueueReader::open(&*queue, &NAME, 1, &CancellationToken::new())).await;
    assert_eq!(opened.err(), Some(refused));
}

#[tokio::test]
async fn a_shutdown_ends_the_wait_for_a_broker_that_never_comes() {
    let queue = queue_of(0).await;
    queue.consume_faults.lock().unwrap().extend(vec![away(); 10_000]);
    let shutdown = CancellationToken::new();
    let opening = tokio::spawn({
        let (queue, shutdown) = (queue.clone(), shutdown.clone());
        async move { QueueReader::open(&*queue, &NAME, 1, &shutdown).await.map(|reader| reader.is_some()) }
    });
    until("a first try", async || queue.consume_faults.lock().unwrap().len() < 10_000).await;
    shutdown.cancel();
    assert_eq!(within(opening).await.unwrap(), Ok(false));
}

#[tokio::test]
async fn a_batch_is_what_is_there_and_never_more_than_asked_for() {
    let queue = queue_of(5).await;
    let mut reader = open(&queue, &CancellationToken::new()).await;
    let first = within(reader.next_batch(3)).await.unwrap();
    let second = within(reader.next_batch(3)).await.unwrap();
    let bodies = |batch: &[Delivery]| batch.iter().map(|delivery| delivery.body[0]).collect::<Vec<_>>();
    assert_eq!((bodies(&first), bodies(&second)), (vec![0, 1, 2], vec![3, 4]));
}

#[tokio::test]
async fn a_shutdown_comes_before_what_is_still_there_and_leaves_it_in_the_queue() {
    let queue = queue_of(3).await;
    let shutdown = CancellationToken::new();
    let mut reader = open(&queue, &shutdown).await;
    within(reader.next()).await.unwrap().ack().await.unwrap();
    shutdown.cancel();
    assert!(within(reader.next()).await.is_none());
    assert!(within(reader.next_batch(3)).await.is_none());
    drop(reader);
    until("both went back", async || queue.depth(&NAME).await == Ok(2)).await;
}

#[tokio::test]
async fn a_closed_queue_ends_the_reading() {
    let queue = queue_of(0).await;
    let mut reader = open(&queue, &CancellationToken::new()).await;
    queue.close().await;
    assert!(within(reader.next()).await.is_none());
}

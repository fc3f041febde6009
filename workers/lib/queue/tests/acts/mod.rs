//! Posting and taking, with a time-out.
#![allow(dead_code)]

use std::time::Duration;

use queue::{Consumer, Delivery, Outgoing, Queue};
use schemas::QueueName;

pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it took more than 60 s")
}

pub fn scratch() -> QueueName {
    QueueName::Scratch("suite".to_owned())
}

pub fn message(queue: &QueueName, text: &str) -> Outgoing {
    Outgoing::new(queue.clone(), text.to_owned())
}

pub async fn post(queue: &dyn Queue, to: &QueueName, texts: impl IntoIterator<Item = String>) {
    let messages = texts.into_iter().map(|text| message(to, &text)).collect();
    for sent in within(queue.publish(messages)).await {
        sent.unwrap();
    }
}

pub async fn take(consumer: &mut Consumer) -> Delivery {
    within(consumer.next()).await.expect("the consumer has ended")
}

pub fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.body.to_vec()).unwrap()
}

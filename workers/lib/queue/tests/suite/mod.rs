//! What every queue keeps, whoever implements it. Each check gets a queue with nothing in it.

use std::collections::BTreeMap;
use std::time::Duration;

use queue::{Address, Consumer, Queue, QueueError, TRANSIENT_MESSAGES_MAX};
use schemas::QueueName;

use crate::acts::{message, post, scratch, take, text, within};

/// Nothing comes, although everything that was on its way had time to.
pub async fn nothing_comes(consumer: &mut Consumer) {
    let more = tokio::time::timeout(Duration::from_millis(300), consumer.next()).await;
    if let Ok(Some(delivery)) = more {
        panic!("unexpected: {}", text(&delivery));
    }
}

async fn ready(queue: &dyn Queue, name: &QueueName, count: u64) {
    for _ in 0..400 {
        if within(queue.depth(name)).await.unwrap() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{name} never held {count}, but {}", queue.depth(name).await.unwrap());
}

pub async fn messages_come_in_order(queue: &dyn Queue) {
    for name in [scratch(), QueueName::Reports] {
        queue.declare(&name).await.unwrap();
        post(queue, &name, (0..700).map(|n| n.to_string())).await;
        let mut consumer = queue.consume(&name, 50).await.unwrap();
        for n in 0..700 {
            let delivery = take(&mut consumer).await;
            assert_eq!((text(&delivery), delivery.redelivered), (n.to_string(), false));
            delivery.ack().await.unwrap();
        }
        ready(queue, &name, 0).await;
    }
}

pub async fn properties_and_headers_come_through(queue: &dyn Queue) {
    let mut consumer = queue.consume(&scratch(), 1).await.unwrap();
    let mut sent = message(&scratch(), "{}");
    sent.message_id = Some("id-1".to_owned());
    sent.correlation_id = Some("asked-1".to_owned());
    sent.reply_to = Some("tidegate.scratch.answers".to_owned());
    sent.headers = BTreeMap::from([("x-tidegate-reason".to_owned(), "message-malformed — ünïcode".to_owned())]);
    within(queue.publish(vec![sent.clone()])).await.pop().unwrap().unwrap();
    let came = take(&mut consumer).await;
    assert_eq!(came.message_id, sent.message_id);
    assert_eq!(came.correlation_id, sent.correlation_id);
    assert_eq!(came.reply_to, sent.reply_to);
    assert_eq!(came.headers, sent.headers);
    came.ack().await.unwrap();
}

pub async fn a_reply_finds_the_askers_queue(queue: &dyn Queue) {
    let answers = QueueName::Scratch("answers".to_owned());
    let mut consumer = queue.consume(&answers, 1).await.unwrap();
    let mut answer = message(&scratch(), "yes");
    answer.to = Address::Reply(answers.to_string());
    within(queue.publish(vec![answer])).await.pop().unwrap().unwrap();
    take(&mut consumer).await.ack().await.unwrap();
}

pub async fn a_dropped_delivery_comes_again_before_the_next(queue: &dyn Queue) {
    for name in [scratch(), QueueName::Reports] {
        queue.declare(&name).await.unwrap();
        post(queue, &name, ["a".to_owned(), "b".to_owned()]).await;
        let mut consumer = queue.consume(&name, 1).await.unwrap();
        drop(take(&mut consumer).await);
        let again = take(&mut consumer).await;
        assert_eq!((text(&again).as_str(), again.redelivered), ("a", true));
        again.requeue().await.unwrap();
        let again = take(&mut consumer).await;
        assert_eq!((text(&again).as_str(), again.redelivered), ("a", true));
        again.ack().await.unwrap();
        let next = take(&mut consumer).await;
        assert_eq!((text(&next).as_str(), next.redelivered), ("b", false));
        next.ack().await.unwrap();
    }
}

pub async fn no_more_than_the_prefetch_is_in_hand(queue: &dyn Queue) {
    queue.declare(&scratch()).await.unwrap();
    post(queue, &scratch(), (0..10).map(|n| n.to_string())).await;
    let mut consumer = queue.consume(&scratch(), 3).await.unwrap();
    let mut in_hand = Vec::new();
    for _ in 0..3 {
        in_hand.push(take(&mut consumer).await);
    }
    nothing_comes(&mut consumer).await;
    ready(queue, &scratch(), 7).await;
    in_hand.pop().unwrap().ack().await.unwrap();
    take(&mut consumer).await.ack().await.unwrap();
}

pub async fn a_dropped_consumer_gives_back_what_it_holds_but_not_what_was_taken(queue: &dyn Queue) {
    queue.declare(&scratch()).await.unwrap();
    post(queue, &scratch(), (0..6).map(|n| n.to_string())).await;
    let mut consumer = queue.consume(&scratch(), 5).await.unwrap();
    let taken = take(&mut consumer).await;
    drop(consumer);
    ready(queue, &scratch(), 5).await;
    taken.ack().await.unwrap();
    let mut consumer = queue.consume(&scratch(), 10).await.unwrap();
    for n in 1..6 {
        let delivery = take(&mut consumer).await;
        assert_eq!(text(&delivery), n.to_string());
        delivery.ack().await.unwrap();
    }
    nothing_comes(&mut consumer).await;
}

pub async fn a_stopped_consumer_takes_nothing_more(queue: &dyn Queue) {
    queue.declare(&scratch()).await.unwrap();
    post(queue, &scratch(), (0..3).map(|n| n.to_string())).await;
    let mut consumer = queue.consume(&scratch(), 1).await.unwrap();
    let taken = take(&mut consumer).await;
    within(consumer.stop()).await;
    // There is room for one more now, but nobody to take it.
    taken.ack().await.unwrap();
    ready(queue, &scratch(), 2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    ready(queue, &scratch(), 2).await;
}

pub async fn consumers_share_the_work(queue: &dyn Queue) {
    queue.declare(&scratch()).await.unwrap();
    let mut one = queue.consume(&scratch(), 1).await.unwrap();
    let mut two = queue.consume(&scratch(), 1).await.unwrap();
    post(queue, &scratch(), ["a".to_owned(), "b".to_owned()]).await;
    let (first, second) = (take(&mut one).await, take(&mut two).await);
    let mut both = [text(&first), text(&second)];
    both.sort();
    assert_eq!(both, ["a", "b"]);
    first.ack().await.unwrap();
    second.ack().await.unwrap();
}

pub async fn an_unroutable_message_is_an_error_and_its_neighbours_arrive(queue: &dyn Queue) {
    queue.declare(&scratch()).await.unwrap();
    queue.declare(&QueueName::Reports).await.unwrap();
    let mut lost = message(&scratch(), "lost");
    lost.to = Address::Reply("tidegate.scratch.nobody".to_owned());
    let mut batch = Vec::new();
    // In the middle of others, whose confirmations come together with its own.
    for n in 0..40 {
        batch.push(message(&scratch(), &n.to_string()));
        batch.push(message(&QueueName::Reports, "{}"));
        if n % 10 == 5 {
            batch.push(lost.clone());
        }
    }
    let sent = within(queue.publish(batch.clone())).await;
    for (message, sent) in batch.iter().zip(&sent) {
        if message.to == lost.to {
            let unroutable = QueueError::Unroutable { queue: "tidegate.scratch.nobody".to_owned() };
            assert_eq!(*sent, Err(unroutable));
        } else {
            assert_eq!(*sent, Ok(()));
        }
    }
    ready(queue, &scratch(), 40).await;
    ready(queue, &QueueName::Reports, 40).await;
    // And alone, to a queue that was never declared.
    let missing = QueueName::Scratch("missing".to_owned());
    let alone = within(queue.publish(vec![message(&missing, "x")])).await.pop().unwrap();
    assert!(matches!(alone, Err(QueueError::Unroutable { .. })), "{alone:?}");
    assert!(matches!(queue.depth(&missing).await, Err(QueueError::Unroutable { .. })));
}

pub async fn a_large_batch_arrives_whole(queue: &dyn Queue) {
    queue.declare(&QueueName::Reports).await.unwrap();
    post(queue, &QueueName::Reports, (0..3_000).map(|n| n.to_string())).await;
    ready(queue, &QueueName::Reports, 3_000).await;
}

pub async fn many_publish_at_once(queue: &dyn Queue) {
    queue.declare(&scratch()).await.unwrap();
    let all = (0..200).map(|n| async move { post(queue, &scratch(), [n.to_string()]).await });
    within(futures::future::join_all(all)).await;
    ready(queue, &scratch(), 200).await;
}

pub async fn a_transient_queue_drops_its_oldest_when_full(queue: &dyn Queue) {
    queue.declare(&QueueName::Progress).await.unwrap();
    let over = 100;
    post(queue, &QueueName::Progress, (0..TRANSIENT_MESSAGES_MAX + over).map(|n| n.to_string())).await;
    ready(queue, &QueueName::Progress, TRANSIENT_MESSAGES_MAX as u64).await;
    let mut consumer = queue.consume(&QueueName::Progress, 1).await.unwrap();
    assert_eq!(text(&take(&mut consumer).await), over.to_string());
}

pub async fn builder_control_reaches_every_builder_and_waits_for_none(queue: &dyn Queue) {
    queue.declare(&QueueName::BuilderControl).await.unwrap();
    post(queue, &QueueName::BuilderControl, ["nobody hears".to_owned()]).await;
    let mut one = queue.consume(&QueueName::BuilderControl, 5).await.unwrap();
    let mut two = queue.consume(&QueueName::BuilderControl, 5).await.unwrap();
    post(queue, &QueueName::BuilderControl, ["both hear".to_owned()]).await;
    for consumer in [&mut one, &mut two] {
        let delivery = take(consumer).await;
        assert_eq!(text(&delivery), "both hear");
        delivery.ack().await.unwrap();
    }
    drop(one);
    post(queue, &QueueName::BuilderControl, ["one hears".to_owned()]).await;
    assert_eq!(text(&take(&mut two).await), "one hears");
}

pub async fn a_queue_deleted_underneath_its_consumer_is_there_again(queue: &dyn Queue) {
    for name in [scratch(), QueueName::Build("hq".parse().unwrap())] {
        let mut consumer = queue.consume(&name, 1).await.unwrap();
        post(queue, &name, ["before".to_owned(), "waiting".to_owned()]).await;
        let before = take(&mut consumer).await;
        queue.delete(&name).await.unwrap();
        // What was in hand belongs to a queue that is gone.
        let _ = before.ack().await;
        let there_again = async {
            while within(queue.publish(vec![message(&name, "after")])).await.pop().unwrap().is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(there_again).await;
        let after = take(&mut consumer).await;
        assert_eq!(text(&after), "after");
        after.ack().await.unwrap();
        queue.delete(&name).await.unwrap();
        queue.delete(&QueueName::Scratch("never-was".to_owned())).await.unwrap();
    }
}

pub async fn close_ends_consumers_and_refuses_publishers(queue: &dyn Queue) {
    queue.declare(&scratch()).await.unwrap();
    let mut consumer = queue.consume(&scratch(), 1).await.unwrap();
    within(queue.close()).await;
    assert!(within(consumer.next()).await.is_none());
    let refused = within(queue.publish(vec![message(&scratch(), "late")])).await.pop().unwrap();
    assert_eq!(refused, Err(QueueError::Closed));
    assert!(matches!(queue.consume(&scratch(), 1).await, Err(QueueError::Closed)));
}

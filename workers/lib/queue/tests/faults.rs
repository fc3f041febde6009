//! A broker that restarts, dies, falls silent or is full. Each test breaks an instance of its own.

mod acts;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acts::{message, post, scratch, take, text, within};
use queue::amqp::{AmqpConfig, AmqpQueue};
use queue::{Consumer, Queue, QueueError};
use schemas::QueueName;
use testkit::{Private, Proxy, Service, Vhost};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

fn open(url: &str, operation_timeout: Duration) -> Arc<AmqpQueue> {
    let mut config = AmqpConfig::new(url);
    config.operation_timeout = operation_timeout;
    AmqpQueue::open(config).unwrap()
}

/// Publishes numbers until told to stop; returns those that were confirmed.
fn publish_numbers(queue: Arc<AmqpQueue>, to: QueueName, stop: CancellationToken) -> JoinHandle<BTreeSet<String>> {
    tokio::spawn(async move {
        let mut confirmed = BTreeSet::new();
        let mut next = 0;
        while !stop.is_cancelled() {
            let numbers: Vec<String> = (next..next + 20).map(|n: u32| format!("{n:06}")).collect();
            next += 20;
            let messages = numbers.iter().map(|number| message(&to, number)).collect();
            let sent = queue.publish(messages).await;
            let ok = numbers.into_iter().zip(sent).filter(|(_, sent)| sent.is_ok());
            confirmed.extend(ok.map(|(number, _)| number));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        confirmed
    })
}

/// Acknowledges whatever comes, until told to stop.
fn collect(mut consumer: Consumer, seen: Arc<std::sync::Mutex<BTreeSet<String>>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(delivery) = consumer.next().await {
            let number = text(&delivery);
            // Counted only if the broker took the acknowledgement: else it comes again.
            if delivery.ack().await.is_ok() {
                seen.lock().unwrap().insert(number);
            }
        }
    })
}

#[tokio::test]
async fn nothing_confirmed_is_lost_when_the_broker_restarts_or_is_killed() {
    let Some(broker) = Private::start(Service::Rabbitmq) else { return };
    let queue = open(broker.url(), Duration::from_secs(5));
    let site = QueueName::Site("paris".parse().unwrap(), "protect".parse().unwrap());
    let stop = CancellationToken::new();
    let mut watched = Vec::new();
    for name in [QueueName::Reports, site] {
        queue.declare(&name).await.unwrap();
        let seen = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
        let consumer = queue.consume(&name, 64).await.unwrap();
        let collecting = collect(consumer, seen.clone());
        watched.push((publish_numbers(queue.clone(), name, stop.clone()), seen, collecting));
    }
    let grows = async |what: &str| {
        for (_, seen, _) in &watched {
            let before = seen.lock().unwrap().len();
            let since = Instant::now();
            while seen.lock().unwrap().len() < before + 100 {
                assert!(since.elapsed() < Duration::from_secs(60), "the consumer does not go on: {what}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    grows("at first").await;
    broker.restart().await;
    grows("after a restart").await;
    broker.kill().await;
    broker.up().await;
    grows("after a kill").await;
    stop.cancel();
    for (publishing, seen, _) in watched {
        let confirmed = within(publishing).await.unwrap();
        let since = Instant::now();
        loop {
            let missing = confirmed.difference(&seen.lock().unwrap()).count();
            if missing == 0 {
                break;
            }
            assert!(since.elapsed() < Duration::from_secs(30), "{missing} of {} confirmed are lost", confirmed.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(confirmed.len() >= 300);
    }
    queue.close().await;
}

#[tokio::test]
async fn a_full_brokers_block_is_told_and_acknowledgements_still_pass() {
    let Some(broker) = Private::start(Service::Rabbitmq) else { return };
    let queue = open(broker.url(), Duration::from_secs(2));
    let mut consumer = queue.consume(&scratch(), 1).await.unwrap();
    post(queue.as_ref(), &scratch(), ["before".to_owned(), "waiting".to_owned()]).await;
    broker.rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "1"]).await;
    // The first publish makes the broker block the connection, and say so; the next is told at once why.
    let mut told = String::new();
    for _ in 0..10 {
        if let Err(error) = within(queue.publish(vec![message(&scratch(), "during")])).await.pop().unwrap() {
            assert!(error.is_transient(), "{error}");
            told = error.to_string();
            if told.contains("blocks publishers") {
                break;
            }
        }
    }
    assert!(told.contains("blocks publishers"), "{told}");
    take(&mut consumer).await.ack().await.unwrap();
    assert_eq!(text(&take(&mut consumer).await), "waiting");
    broker.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    let mut published = false;
    for _ in 0..10 {
        published = within(queue.publish(vec![message(&scratch(), "after")])).await.pop().unwrap().is_ok();
        if published {
            break;
        }
    }
    assert!(published);
    queue.close().await;
}

#[tokio::test]
async fn a_half_open_connection_is_noticed_within_two_heartbeats() {
    let Some(vhost) = Vhost::fresh() else { return };
    let proxy = Proxy::start(vhost.server()).await;
    let heartbeat_s = 2;
    let queue = open(&format!("{}?heartbeat={heartbeat_s}", vhost.url_by(&proxy)), Duration::from_secs(15));
    let mut consumer = queue.consume(&scratch(), 1).await.unwrap();
    post(queue.as_ref(), &scratch(), ["before".to_owned()]).await;
    take(&mut consumer).await.ack().await.unwrap();

    let direct = vhost.open();
    proxy.silence();
    let since = Instant::now();
    post(direct.as_ref(), &scratch(), ["after".to_owned()]).await;
    let after = take(&mut consumer).await;
    assert_eq!(text(&after), "after");
    // Two heartbeats, half a second of looking, and the time to connect again.
    assert!(since.elapsed() < Duration::from_secs(2 * heartbeat_s + 6), "{:?}", since.elapsed());
    after.ack().await.unwrap();
    // The publishing connection may be in its last heartbeat still.
    while within(queue.publish(vec![message(&scratch(), "and on")])).await.pop().unwrap().is_err() {}
    direct.close().await;
    queue.close().await;
}

#[tokio::test]
async fn a_cut_connection_brings_unsettled_deliveries_back_and_makes_old_ones_stale() {
    let Some(vhost) = Vhost::fresh() else { return };
    let proxy = Proxy::start(vhost.server()).await;
    let queue = open(&vhost.url_by(&proxy), Duration::from_secs(15));
    for name in [scratch(), QueueName::Reports] {
        let mut consumer = queue.consume(&name, 3).await.unwrap();
        post(queue.as_ref(), &name, (0..3).map(|n| n.to_string())).await;
        let in_hand = [take(&mut consumer).await, take(&mut consumer).await, take(&mut consumer).await];
        proxy.cut();
        for n in 0..3 {
            let again = take(&mut consumer).await;
            assert_eq!((text(&again), again.redelivered), (n.to_string(), true));
            again.ack().await.unwrap();
        }
        for old in in_hand {
            assert_eq!(old.ack().await, Err(QueueError::Stale));
        }
        assert_eq!(queue.depth(&name).await, Ok(0));
    }
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_under_way_when_the_connection_dies_ends() {
    let Some(vhost) = Vhost::fresh() else { return };
    let proxy = Proxy::start(vhost.server()).await;
    let queue = open(&vhost.url_by(&proxy), Duration::from_secs(15));
    let direct = vhost.open();
    let mut consumer = queue.consume(&scratch(), 64).await.unwrap();
    post(direct.as_ref(), &scratch(), (0..1_000).map(|n| n.to_string())).await;
    for cut in 0..20 {
        for count in 0..60 {
            let delivery = take(&mut consumer).await;
            if count == 10 + cut {
                proxy.cut();
            }
            let ended = tokio::time::timeout(Duration::from_secs(5), delivery.ack()).await;
            if ended.expect("an acknowledgement never ended").is_ok() {
                post(direct.as_ref(), &scratch(), ["more".to_owned()]).await;
            }
        }
    }
    direct.close().await;
    queue.close().await;
}

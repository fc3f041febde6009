//! What only a broker has: its proof of the sender, its exchange for everybody, its dead letters.

mod acts;

use acts::{message, post, scratch, take, text, within};
use queue::Queue;
use queue::amqp::{AmqpConfig, AmqpQueue};
use schemas::QueueName;
use std::time::Duration;
use testkit::Vhost;

#[tokio::test]
async fn the_broker_proves_who_published() {
    let Some(vhost) = Vhost::fresh() else { return };
    let queue = vhost.open();
    let mut consumer = queue.consume(&scratch(), 1).await.unwrap();
    post(queue.as_ref(), &scratch(), ["x".to_owned()]).await;
    let delivery = take(&mut consumer).await;
    assert!(delivery.user_id.is_some());
    delivery.ack().await.unwrap();

    let mut anonymous = AmqpConfig::new(vhost.url.clone());
    anonymous.attest_user = false;
    let anonymous = AmqpQueue::open(anonymous).unwrap();
    post(anonymous.as_ref(), &scratch(), ["x".to_owned()]).await;
    assert_eq!(take(&mut consumer).await.user_id, None);
    anonymous.close().await;
    queue.close().await;
}

#[tokio::test]
async fn any_client_may_post_a_request_to_the_exchange_with_any_key() {
    let Some(vhost) = Vhost::fresh() else { return };
    let queue = vhost.open();
    let mut requests = queue.consume(&QueueName::Requests, 1).await.unwrap();
    for key in ["", "build", "a.b.c"] {
        let body =
            format!(r#"{{"properties":{{}},"routing_key":"{key}","payload":"{key}!","payload_encoding":"string"}}"#);
        let (status, answer) = vhost.ask("POST", "exchanges", "/tidegate.requests/publish", &body).unwrap();
        assert_eq!((status, answer.as_str()), (200, r#"{"routed":true}"#));
        let delivery = take(&mut requests).await;
        assert_eq!(text(&delivery), format!("{key}!"));
        delivery.ack().await.unwrap();
    }
    queue.close().await;
}

#[tokio::test]
async fn a_message_that_nobody_acknowledges_ends_as_a_dead_letter() {
    let Some(vhost) = Vhost::fresh() else { return };
    let queue = vhost.open();
    let build = QueueName::Build("hq".parse().unwrap());
    let mut letters = queue.consume(&QueueName::Dead, 1).await.unwrap();
    let mut consumer = queue.consume(&build, 1).await.unwrap();
    post(queue.as_ref(), &build, ["poison".to_owned()]).await;
    let mut deliveries = 0;
    let letter = loop {
        tokio::select! {
            delivery = consumer.next() => {
                deliveries += 1;
                assert!(deliveries < 100, "it comes for ever");
                delivery.unwrap().requeue().await.unwrap();
            }
            letter = take(&mut letters) => break letter,
        }
    };
    assert_eq!(text(&letter), "poison");
    assert_eq!(letter.headers["x-first-death-reason"], "delivery_limit");
    assert_eq!(letter.headers["x-first-death-queue"], "tidegate.build.hq");
    letter.ack().await.unwrap();
    queue.close().await;
}

#[tokio::test]
async fn a_queue_of_another_form_is_refused_in_the_brokers_words() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (status, _) = vhost.ask("PUT", "queues", "/tidegate.reports", r#"{"durable":true}"#).unwrap();
    assert_eq!(status, 201);
    let queue = vhost.open();
    for refused in [queue.declare(&QueueName::Reports).await, queue.consume(&QueueName::Reports, 1).await.map(drop)] {
        let error = refused.unwrap_err();
        assert!(!error.is_transient(), "{error}");
        assert!(error.to_string().contains("tidegate.reports"), "{error}");
    }
    // The refusal closed a channel, and nothing else.
    post_after_declare(queue.as_ref()).await;
    queue.close().await;
}

async fn post_after_declare(queue: &dyn Queue) {
    queue.declare(&scratch()).await.unwrap();
    post(queue, &scratch(), ["x".to_owned()]).await;
}

#[tokio::test]
async fn work_queues_are_quorum_queues_and_site_queues_are_not() {
    let Some(vhost) = Vhost::fresh() else { return };
    let queue = vhost.open();
    let (hq, paris) = ("hq".parse().unwrap(), "paris".parse().unwrap());
    let site = QueueName::Site(paris, "protect".parse().unwrap());
    let kinds = [
        (QueueName::Requests, "quorum"),
        (QueueName::Build(hq), "quorum"),
        (QueueName::Reports, "quorum"),
        (QueueName::Dead, "quorum"),
        (site, "classic"),
        (QueueName::Control("paris".parse().unwrap()), "classic"),
        (QueueName::Progress, "classic"),
    ];
    for (name, kind) in kinds {
        queue.declare(&name).await.unwrap();
        let (_, description) = vhost.ask("GET", "queues", &format!("/{name}"), "").unwrap();
        assert!(description.contains(&format!(r#""type":"{kind}""#)), "{name}: {description}");
    }
    queue.close().await;
}

#[tokio::test]
async fn without_a_broker_an_operation_fails_in_time_and_names_the_place_only() {
    // Nothing listens there: the port is reserved.
    let mut config = AmqpConfig::new("amqp://joe:s3cret@127.0.0.1:1/vhost");
    config.operation_timeout = Duration::from_millis(300);
    let queue = AmqpQueue::open(config).unwrap();
    let error = within(queue.publish(vec![message(&scratch(), "x")])).await.pop().unwrap().unwrap_err();
    assert!(error.is_transient());
    assert!(error.to_string().contains("127.0.0.1:1") && !error.to_string().contains("s3cret"), "{error}");
    // A consumer waits for the broker instead.
    let mut consumer = within(queue.consume(&scratch(), 1)).await.unwrap();
    queue.close().await;
    assert!(within(consumer.next()).await.is_none());
}

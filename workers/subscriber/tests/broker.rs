//! A site on a real broker that goes away while a lane has work, and comes back.

mod fixture;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use blobs::DiskBlobs;
use fixture::gate::{gate, wait_until};
use fixture::origin::tree;
use fixture::*;
use queue::Queue;
use queue::amqp::{AmqpConfig, AmqpQueue};
use schemas::{Event, JobId, QueueName};
use testkit::{Proxy, Vhost};

/// Until the site's connection is seen to be gone, and until it is there again.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(2);

/// Work in hand comes to its end without the broker, its report waits, and the message, which the broker delivers again because
/// nobody had acknowledged it, starts nothing; then the lane goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_broker_lost_and_back_while_a_lane_has_work_costs_nothing_but_time() {
    let Some(vhost) = Vhost::fresh() else { return };
    let proxy = Proxy::start(vhost.server()).await;
    let mut config = AmqpConfig::new(vhost.url_by(&proxy));
    config.operation_timeout = OPERATION_TIMEOUT;
    let sites_own = AmqpQueue::open(config).unwrap();

    let mut world = World::on(tempfile::tempdir().unwrap(), vhost.open()).await;
    let v1 = world.origin().publish(1, &tree(&world.path("v1"), 20, 20_000, 1), None).await;
    let swaps = Arc::new(AtomicU32::new(0));
    let (hold, held) = gate();
    let mut config = world.config();
    // The broker keeps the message all the while.
    config.started_after = Duration::from_secs(60);
    config.observe = Some(Arc::new({
        let swaps = swaps.clone();
        move |step| {
            swaps.fetch_add(u32::from(step == "swapped"), SeqCst);
            held(step)
        }
    }));
    let origin = Arc::new(DiskBlobs::open(world.path("origin")).unwrap());
    let site = world.start_by(sites_own.clone(), config, origin);
    world.subscribe().await;
    world.publish(&send_then_extract("a", 1, v1.store, v1.revision)).await;
    world.publish(&send("b", 2, v1.store, v1.revision)).await;
    hold.reached("download").await;

    proxy.shut();
    let queue = QueueName::Site(paris(), protect());
    wait_until(async || world.queue.depth(&queue).await == Ok(2)).await;
    hold.open();
    wait_until(async || world.target().exists() && content(&world.target()) == content(&v1.tree)).await;
    assert!(world.rest().await.is_empty(), "it cannot have reported");

    proxy.open();
    let mut ends: BTreeMap<JobId, Event> = BTreeMap::new();
    while !ends.contains_key(&job("b")) {
        let report = world.report().await;
        let first = ends.entry(report.job).or_insert_with(|| report.event.clone());
        assert_eq!(*first, report.event, "another end of the same job");
    }
    for name in ["a", "a-extract", "b"] {
        assert!(matches!(ends[&job(name)], Event::Succeeded { .. }), "{name}: {ends:?}");
    }
    wait_until(async || world.queue.depth(&queue).await == Ok(0)).await;
    site.stop().await;
    assert_eq!(swaps.load(SeqCst), 1, "it was extracted once");
    sites_own.close().await;
    world.queue.close().await;
}

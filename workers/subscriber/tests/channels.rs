//! Channels come and go by settings while the site runs: a lane for each that is subscribed, and for no other.

mod fixture;

use fixture::gate::{gate, wait_until};
use fixture::origin::{Published, tree};
use fixture::*;
use schemas::{ChannelName, Control, JobMessage, Lane, QueueName, SendTask, Settings, Task};

fn tools() -> ChannelName {
    "tools".try_into().unwrap()
}

fn tools_queue() -> QueueName {
    QueueName::Site(paris(), tools())
}

/// A send by the channel `tools`.
fn by_tools(name: &str, n: u64, v1: &Published) -> JobMessage {
    let message = send(name, n, v1.store, v1.revision);
    let Task::Send(task) = message.task.clone() else { unreachable!("it is a send") };
    let task = Task::Send(SendTask { channel: tools(), ..task });
    JobMessage { lane: Lane::site(paris(), tools()), task, ..message }
}

async fn published(world: &World) -> Published {
    world.origin().publish(1, &tree(&world.path("v1"), 20, 20_000, 1), None).await
}

/// Returns once the site says that these settings are in force.
async fn subscribe_to(world: &World, version: u64, channels: Vec<ChannelName>) {
    world.control(&Control::Settings(Settings { channels, ..world.settings(version) })).await;
    while world.presence().await.settings_version != version {}
}

/// Returns once nobody reads the queue of `tools`: what is put there stays. A lane that still does refuses what it cannot read.
async fn nobody_takes(world: &World) {
    let depth = async |queue: &QueueName| world.queue.depth(queue).await.unwrap();
    loop {
        world.post(tools_queue(), b"{".to_vec()).await;
        wait_until(async || depth(&tools_queue()).await + depth(&QueueName::Dead).await > 0).await;
        if depth(&tools_queue()).await > 0 {
            let mut left = world.queue.consume(&tools_queue(), 1).await.unwrap();
            return left.next().await.unwrap().ack().await.unwrap();
        }
        world.dead_letter().await;
    }
}

#[tokio::test]
async fn a_channel_that_is_added_is_worked_on_and_one_that_is_dropped_is_left_alone() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    world.queue.declare(&tools_queue()).await.unwrap();
    world.publish(&by_tools("before", 1, &v1)).await;
    let site = world.start();
    subscribe_to(&world, 1, vec![protect()]).await;
    world.publish(&send("a", 1, v1.store, v1.revision)).await;
    sent(&world.end_of(job("a")).await);
    assert_eq!(world.queue.depth(&tools_queue()).await, Ok(1), "it is not subscribed to it");

    subscribe_to(&world, 2, vec![protect(), tools()]).await;
    sent(&world.end_of(job("before")).await);

    subscribe_to(&world, 3, vec![protect()]).await;
    nobody_takes(&world).await;
    world.publish(&by_tools("meanwhile", 2, &v1)).await;
    world.publish(&send("b", 2, v1.store, v1.revision)).await;
    sent(&world.end_of(job("b")).await);
    assert_eq!(world.queue.depth(&tools_queue()).await, Ok(1), "it is not subscribed to it any more");

    subscribe_to(&world, 4, vec![protect(), tools()]).await;
    sent(&world.end_of(job("meanwhile")).await);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn work_in_hand_of_a_channel_that_is_dropped_comes_to_its_end() {
    let mut world = World::new().await;
    let v1 = published(&world).await;
    world.queue.declare(&tools_queue()).await.unwrap();
    let (hold, held) = gate();
    let mut config = world.config();
    config.observe = Some(held);
    let site = world.start_with(config);
    subscribe_to(&world, 1, vec![protect(), tools()]).await;
    world.publish(&by_tools("a", 1, &v1)).await;
    hold.reached("download").await;
    subscribe_to(&world, 2, vec![protect()]).await;
    hold.open();
    sent(&world.end_of(job("a")).await);
    nobody_takes(&world).await;
    site.stop().await;
}

//! Ten sites below one relay whose store is empty: each asks it for the same revision at once, and the origin is read once.

mod fixture;

use std::collections::BTreeMap;

use blobs::{DiskBlobs, ReadBlobs};
use fixture::origin::{Published, tree};
use fixture::*;
use schemas::{
    Beat, ChildKey, ContentSource, Control, JobMessage, Lane, QueueName, SendTask, Settings, SubscriberName, Task,
};
use subscriber::Config;
use testkit::Counting;

const CHILDREN: usize = 10;
const FILES: u32 = 40;
const FILE_BYTES: usize = 100_000;

fn child(number: usize) -> SubscriberName {
    format!("child-{number}").as_str().try_into().unwrap()
}

/// Keys and addresses, as the sites say them of themselves.
async fn presences(world: &World, mut wanted: Vec<SubscriberName>) -> BTreeMap<SubscriberName, schemas::Presence> {
    let mut beats = world.queue.consume(&QueueName::Progress, 100).await.unwrap();
    let mut found = BTreeMap::new();
    while !wanted.is_empty() {
        let delivery = tokio::time::timeout(PATIENCE, beats.next()).await.expect("presences come").unwrap();
        if let Beat::Presence(presence) = serde_json::from_slice(&delivery.body).unwrap() {
            wanted.retain(|name| *name != presence.subscriber);
            found.insert(presence.subscriber.clone(), presence);
        }
        delivery.ack().await.unwrap();
    }
    found
}

async fn control(world: &World, to: SubscriberName, control: &Control) {
    world.post(QueueName::Control(to), serde_json::to_vec(control).unwrap()).await;
}

/// The send to one child, from its parent alone.
fn message(number: usize, v1: &Published, parent_url: &str) -> JobMessage {
    let message = send(&format!("to-{number}"), 1, v1.store, v1.revision);
    let Task::Send(task) = message.task.clone() else { unreachable!() };
    let sources = vec![ContentSource::Relay { subscriber: region(), url: parent_url.to_owned() }];
    let task = Task::Send(SendTask { subscriber: child(number), sources, ..task });
    JobMessage { lane: Lane::site(child(number), protect()), task, ..message }
}

#[tokio::test]
async fn ten_sites_below_an_empty_relay_read_the_origin_once() {
    let mut world = World::new().await;
    let v1 = world.origin().publish(1, &tree(&world.path("v1"), FILES, FILE_BYTES, 5), None).await;
    let origin = Counting::of(DiskBlobs::open(world.path("origin")).unwrap());
    let names: Vec<SubscriberName> = (0..CHILDREN).map(child).chain([region()]).collect();
    let mut running = Vec::new();
    for name in &names {
        for queue in [QueueName::Control(name.clone()), QueueName::Site(name.clone(), protect())] {
            world.queue.declare(&queue).await.unwrap();
        }
        let mut config = Config::new(name.clone(), world.path(name.as_str()));
        config.listen = (*name == region()).then(|| "127.0.0.1:0".parse().unwrap());
        running.push(world.start_on(config, origin.clone()));
        let settings = Settings { subscriber: name.clone(), ..world.settings(1) };
        control(&world, name.clone(), &Control::Settings(settings)).await;
    }
    let present = presences(&world, names).await;
    let key = |n| ChildKey { subscriber: child(n), public_key: present[&child(n)].public_key.clone() };
    control(&world, region(), &Control::Children { version: 1, children: (0..CHILDREN).map(key).collect() }).await;
    let parent_url = present[&region()].url.clone().unwrap();
    for number in 0..CHILDREN {
        let body = serde_json::to_vec(&message(number, &v1, &parent_url)).unwrap();
        world.post(QueueName::Site(child(number), protect()), body).await;
    }
    let mut ended = 0;
    while ended < CHILDREN {
        let report = world.report().await;
        if report.event.is_terminal() {
            assert_eq!(sent(&report).bytes_fetched, sent(&report).bytes_needed);
            ended += 1;
        }
    }
    let header = origin.size(&v1.header_key()).await.unwrap().unwrap();
    let once = v1.index.totals().stored_bytes + v1.sealed.at.bytes + header;
    assert_eq!((origin.bytes(), origin.objects()), (once, 2), "frames, index and header, each once");
    for site in running {
        site.stop().await;
    }
}

//! Two sites in two tiers: the child is served by its parent, and passes it by when it must.

mod fixture;

use std::time::Duration;

use fixture::gate::wait_until;
use fixture::origin::{Published, tree};
use fixture::*;
use schemas::{
    ChildKey, ContentSource, Control, ExtractOutcome, JobMessage, Lane, QueueName, SendTask, Settings, Task,
};
use subscriber::Config;

const FILES: u32 = 30;
const FILE_BYTES: usize = 50_000;
const SEED: u64 = 3;
/// Far below the three files that change, far above their patch and a header.
const PATCHED_BYTES_MAX: u64 = 20_000;

struct Tiers {
    world: World,
    v1: Published,
    parent: Running,
    child: Running,
    parent_url: String,
}

impl Tiers {
    /// `known`: the parent has the child's key.
    async fn start(known: bool) -> Tiers {
        Tiers::start_keeping(known, subscriber::store::SERVED_KEPT).await
    }

    /// The parent keeps for so long what its child asked for.
    async fn start_keeping(known: bool, served_kept: Duration) -> Tiers {
        let world = World::new().await;
        let v1 = world.origin().publish(1, &tree(&world.path("v1"), FILES, FILE_BYTES, SEED), None).await;
        for queue in [QueueName::Control(region()), QueueName::Site(region(), protect())] {
            queue::Queue::declare(&*world.queue, &queue).await.unwrap();
        }
        let mut config = Config::new(region(), world.path("region"));
        config.listen = Some("127.0.0.1:0".parse().unwrap());
        config.served_kept = served_kept;
        let parent = world.start_with(config);
        let parent_url = world.presence_of(&region()).await.url.unwrap();
        let child = world.start();
        let public_key = world.presence().await.public_key;
        let settings = Settings { subscriber: region(), ..world.settings(1) };
        world.post(QueueName::Control(region()), serde_json::to_vec(&Control::Settings(settings)).unwrap()).await;
        if known {
            let children = vec![ChildKey { subscriber: paris(), public_key }];
            let children = Control::Children { version: 1, children };
            world.post(QueueName::Control(region()), serde_json::to_vec(&children).unwrap()).await;
        }
        world.subscribe().await;
        Tiers { world, v1, parent, child, parent_url }
    }

    /// The parent's own send, from the origin.
    async fn send_to_parent(&mut self) {
        let v1 = self.v1.clone();
        self.send_to_parent_of(&v1).await;
    }

    async fn send_to_parent_of(&mut self, published: &Published) -> schemas::SendResult {
        let n = published.revision.number;
        let name = format!("{n}-to-region");
        let message = send(&name, n, published.store, published.revision);
        let Task::Send(task) = message.task.clone() else { unreachable!() };
        let message = JobMessage {
            lane: Lane::site(region(), protect()),
            task: Task::Send(SendTask { subscriber: region(), ..task }),
            ..message
        };
        self.world.post(QueueName::Site(region(), protect()), serde_json::to_vec(&message).unwrap()).await;
        sent(&self.world.end_of(job(&name)).await).clone()
    }

    async fn send_to_child(&mut self) -> schemas::SendResult {
        let v1 = self.v1.clone();
        self.send_to_child_of(&v1).await
    }

    async fn send_to_child_of(&mut self, published: &Published) -> schemas::SendResult {
        let n = published.revision.number;
        let name = format!("{n}-to-paris");
        let message = send_then_extract(&name, n, published.store, published.revision);
        let Task::Send(task) = message.task.clone() else { unreachable!() };
        let relay = ContentSource::Relay { subscriber: region(), url: self.parent_url.clone() };
        let task = SendTask { sources: vec![relay, ContentSource::ORIGIN], ..task };
        self.world.publish(&JobMessage { task: Task::Send(task), ..message }).await;
        let report = self.world.end_of(job(&name)).await;
        let extract = self.world.end_of(job(&format!("{name}-extract"))).await;
        assert_eq!(extracted(&extract).outcome, ExtractOutcome::Installed);
        assert_eq!(content(&self.world.target()), content(&published.tree));
        sent(&report).clone()
    }

    /// Three files of the tree get an insertion in their middle.
    async fn publish_v2(&self) -> Published {
        let tree = tree(&self.world.path("v2"), FILES, FILE_BYTES, SEED);
        for n in [4, 8, 21] {
            let path = tree.join(format!("d{}/f{n}.bin", n % 7));
            let mut content = std::fs::read(&path).unwrap();
            content.splice(FILE_BYTES / 2..FILE_BYTES / 2, *b"an insertion");
            std::fs::write(&path, content).unwrap();
        }
        self.world.origin().publish(2, &tree, Some(&self.v1)).await
    }

    async fn stop(self) {
        self.child.stop().await;
        self.parent.stop().await;
    }

    fn sources(result: &schemas::SendResult) -> Vec<&str> {
        result.sources.iter().map(|s| s.source.as_str()).collect()
    }
}

#[tokio::test]
async fn a_child_takes_everything_from_its_parent() {
    let mut tiers = Tiers::start(true).await;
    tiers.send_to_parent().await;
    let result = tiers.send_to_child().await;
    assert_eq!(Tiers::sources(&result), ["region"]);
    assert_eq!(result.bytes_fetched, result.bytes_needed);
    tiers.child.stop().await;
    tiers.parent.stop().await;
}

#[tokio::test]
async fn what_came_for_a_child_alone_goes_when_no_child_asks_for_it_any_more() {
    let mut tiers = Tiers::start_keeping(true, Duration::from_secs(1)).await;
    let result = tiers.send_to_child().await;
    assert_eq!(Tiers::sources(&result), ["region"]);
    let folder = tiers.world.path("region/store").join(tiers.v1.store.to_string());
    wait_until(async || ["headers", "indexes", "packs"].iter().all(|kind| is_empty(&folder.join(kind)))).await;
    tiers.stop().await;
}

fn is_empty(folder: &std::path::Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

#[tokio::test]
async fn a_parent_that_lacks_the_revision_reads_it_through() {
    let mut tiers = Tiers::start(true).await;
    let result = tiers.send_to_child().await;
    assert_eq!(Tiers::sources(&result), ["region"]);
    tiers.child.stop().await;
    tiers.parent.stop().await;
}

#[tokio::test]
async fn a_parent_that_refuses_its_child_is_passed_by() {
    let mut tiers = Tiers::start(false).await;
    tiers.send_to_parent().await;
    let result = tiers.send_to_child().await;
    assert_eq!(Tiers::sources(&result), ["origin"]);
    tiers.child.stop().await;
    tiers.parent.stop().await;
}

#[tokio::test]
async fn a_parent_without_room_is_passed_by_for_what_it_lacks() {
    let mut tiers = Tiers::start(true).await;
    let settings = Settings { subscriber: region(), free_space_floor: Some(1 << 60), ..tiers.world.settings(2) };
    let control = serde_json::to_vec(&Control::Settings(settings)).unwrap();
    tiers.world.post(QueueName::Control(region()), control).await;
    while tiers.world.presence_of(&region()).await.settings_version != 2 {}
    let result = tiers.send_to_child().await;
    assert_eq!(Tiers::sources(&result), ["origin"]);
    assert!(!tiers.world.path("region/store").join(tiers.v1.header_key().to_string()).exists());
    tiers.stop().await;
}

#[tokio::test]
async fn a_parent_that_is_down_is_passed_by() {
    let Tiers { mut world, v1, parent, child, parent_url } = Tiers::start(true).await;
    parent.stop().await;
    let message = send_then_extract("to-paris", 1, v1.store, v1.revision);
    let Task::Send(task) = message.task.clone() else { unreachable!() };
    let relay = ContentSource::Relay { subscriber: region(), url: parent_url };
    let task = SendTask { sources: vec![relay, ContentSource::ORIGIN], ..task };
    world.publish(&JobMessage { task: Task::Send(task), ..message }).await;
    let report = world.end_of(job("to-paris")).await;
    assert_eq!(Tiers::sources(sent(&report)), ["origin"]);
    child.stop().await;
}

/// Another child holds the only place with an answer that it takes its time to read.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_stays_with_a_parent_that_has_no_place_for_it_yet() {
    let mut tiers = Tiers::start(true).await;
    tiers.send_to_parent().await;
    let presence = tiers.world.presence().await;
    let (lyon, tokyo) = (blobs::SiteKey::generate().unwrap(), blobs::SiteKey::generate().unwrap());
    let children = vec![
        ChildKey { subscriber: paris(), public_key: presence.public_key },
        ChildKey { subscriber: "lyon".try_into().unwrap(), public_key: lyon.public_hex() },
        ChildKey { subscriber: "tokyo".try_into().unwrap(), public_key: tokyo.public_hex() },
    ];
    let children = Control::Children { version: 2, children };
    tiers.world.post(QueueName::Control(region()), serde_json::to_vec(&children).unwrap()).await;
    let mut settings = Settings { subscriber: region(), ..tiers.world.settings(2) };
    (settings.concurrent_relays, settings.rate_out.high) = (Some(1), Some(150_000));
    tiers.world.post(QueueName::Control(region()), serde_json::to_vec(&Control::Settings(settings)).unwrap()).await;
    while tiers.world.presence_of(&region()).await.settings_version != 2 {}
    let child = |name: &str, key| {
        let (url, subscriber) = (tiers.parent_url.clone(), name.try_into().unwrap());
        let config = blobs::RelayConfig { url, relay: region(), subscriber, key, limits: Default::default() };
        blobs::RelayBlobs::new(config).unwrap().for_priority(schemas::Priority::High)
    };
    let (slow, next) = (child("lyon", lyon), child("tokyo", tokyo));
    let pack = blobs::Key::pack(tiers.v1.store, tiers.v1.index.packs[0].digest);
    let held = tokio::spawn(async move { blobs::ReadBlobs::get(&slow, &pack, 64 << 20).await.unwrap().len() });
    let is_full = |answer| matches!(answer, Err(blobs::BlobError::Busy { .. }));
    while !is_full(blobs::ReadBlobs::size(&next, &pack).await) {}
    let result = tiers.send_to_child().await;
    assert_eq!(Tiers::sources(&result), ["region"], "it went to the origin");
    assert!(held.await.unwrap() > 1_000_000);
    tiers.child.stop().await;
    tiers.parent.stop().await;
}

#[tokio::test]
async fn a_parent_hands_down_the_patches_that_it_took_itself_and_can_serve_the_frames_too() {
    let mut tiers = Tiers::start(true).await;
    tiers.send_to_parent().await;
    tiers.send_to_child().await;
    let v2 = tiers.publish_v2().await;
    let patch = tiers.world.origin().patch_frames(&tiers.v1, &v2).await;
    let result = tiers.send_to_parent_of(&v2).await;
    assert_eq!(result.bytes_fetched, result.bytes_needed);
    assert!(result.bytes_fetched < PATCHED_BYTES_MAX, "{result:?}");
    let store = subscriber::store::Store::open(tiers.world.path("region/store")).unwrap();
    assert_eq!(store.missing(v2.store, &v2.index).unwrap(), [0u32; 0], "it has every frame that the index names");

    let key = blobs::Key::patch(v2.store, patch.digest());
    std::fs::remove_file(tiers.world.origin().object(key)).unwrap();
    let result = tiers.send_to_child_of(&v2).await;
    assert_eq!(Tiers::sources(&result), ["region"]);
    assert_eq!(result.bytes_fetched, result.bytes_needed);
    assert!(result.bytes_fetched < PATCHED_BYTES_MAX, "{result:?}");
    tiers.stop().await;
}

#[tokio::test]
async fn a_parent_that_took_frames_reads_a_later_patch_through() {
    let mut tiers = Tiers::start(true).await;
    tiers.send_to_parent().await;
    tiers.send_to_child().await;
    let v2 = tiers.publish_v2().await;
    let result = tiers.send_to_parent_of(&v2).await;
    assert!(result.bytes_fetched > 3 * FILE_BYTES as u64, "no patch is there yet, and nobody waits: {result:?}");
    tiers.world.origin().patch_frames(&tiers.v1, &v2).await;
    let result = tiers.send_to_child_of(&v2).await;
    assert_eq!(Tiers::sources(&result), ["region"]);
    assert!(result.bytes_fetched < PATCHED_BYTES_MAX, "{result:?}");
    tiers.stop().await;
}

#[tokio::test]
async fn a_child_that_has_no_revision_to_start_from_takes_frames_of_a_parent_that_was_patched() {
    let mut tiers = Tiers::start(true).await;
    tiers.send_to_parent().await;
    let v2 = tiers.publish_v2().await;
    tiers.world.origin().patch_frames(&tiers.v1, &v2).await;
    tiers.send_to_parent_of(&v2).await;
    let result = tiers.send_to_child_of(&v2).await;
    assert_eq!(Tiers::sources(&result), ["region"]);
    assert!(result.bytes_fetched > u64::from(FILES) * FILE_BYTES as u64, "{result:?}");
    tiers.stop().await;
}

/// A leaf that keeps no packs: what patches start from is read from its files, unless they were changed on the spot.
#[tokio::test]
async fn a_leaf_patches_what_its_extracted_tree_holds() {
    for changed_on_the_spot in [false, true] {
        let mut tiers = Tiers::start(true).await;
        tiers.send_to_child().await;
        let v2 = tiers.publish_v2().await;
        tiers.world.origin().patch_frames(&tiers.v1, &v2).await;
        let store = subscriber::store::Store::open(tiers.world.path("site/store")).unwrap();
        let Tiers { world, v1, parent, child, parent_url } = tiers;
        child.stop().await;
        store.retain(v1.store, |key| key.kind != blobs::ObjectKind::Pack).unwrap();
        if changed_on_the_spot {
            std::fs::write(world.target().join("d1/f8.bin"), "by somebody else").unwrap();
        }
        let child = world.start();
        let mut tiers = Tiers { world, v1, parent, child, parent_url };
        let result = tiers.send_to_child_of(&v2).await;
        assert_eq!(result.bytes_fetched < PATCHED_BYTES_MAX, !changed_on_the_spot, "{result:?}");
        tiers.stop().await;
    }
}

//! Content that the origin lost comes back with the next build, whatever the hints say.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blobs::{Blobs, Key, ReadBlobs};
use builder::verify::verify;
use builder::{Builder, Ended, Patcher};
use package::patch::PatchName;
use schemas::{BuildResult, BuildTask, Digest, NewRevision, RevisionRef};
use support::{Place, noise, reference};
use tokio_util::sync::CancellationToken;
use worker::Context;

const DAY: Duration = Duration::from_secs(86_400);

/// Its hints are trusted: they distrust what changed just before a build, and this one's begin a day later.
fn trusting(place: &Place) -> Builder {
    let later = || (SystemTime::now() + DAY).duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    place.builder().with_clock(later)
}

async fn build(place: &Place, number: u64, previous: Option<RevisionRef>) -> BuildResult {
    trusting(place).build(&place.task(number, previous), &Context::detached()).await.unwrap()
}

/// One revision for each of these files, each with a pack of its own.
async fn revisions(place: &Place, files: &[&str]) -> Vec<NewRevision> {
    let mut revisions: Vec<NewRevision> = Vec::new();
    for (file, number) in files.iter().zip(1..) {
        place.write(file, noise(file, 100_000));
        let built = build(place, number, revisions.last().map(named)).await;
        revisions.extend(built.revision);
    }
    revisions
}

fn named(revision: &NewRevision) -> RevisionRef {
    RevisionRef { number: revision.number, header: revision.header }
}

fn new_pack(place: &Place, revision: &NewRevision) -> Key {
    let new: Vec<Digest> = revision.packs.iter().filter(|pack| pack.new).map(|pack| pack.digest).collect();
    assert_eq!(new.len(), 1);
    Key::pack(place.store, new[0])
}

async fn lose(place: &Place, packs: &[Key]) {
    for pack in packs {
        place.blobs.delete(pack).await.unwrap();
    }
}

/// Everything that the revision names is there, and every frame of it opens.
async fn assert_whole(place: &Place, revision: RevisionRef) {
    let blobs: Arc<dyn Blobs> = place.blobs.clone();
    let checked = verify(&blobs, place.store, Some(&[revision.header]), &|_| {}).await.unwrap();
    assert_eq!((checked.damaged, checked.revisions), (vec![], [revision.number].into()));
    assert!(checked.frames > 0);
}

async fn assert_settled(place: &Place, on: RevisionRef) {
    let next = build(place, on.number + 1, Some(on)).await;
    assert_eq!((next.revision, next.files_read, next.bytes_uploaded), (None, 0, 0));
}

#[tokio::test]
async fn what_is_lost_at_the_origin_is_stored_again_though_no_file_changed() {
    let place = Place::new();
    let before = revisions(&place, &["b", "a"]).await;
    lose(&place, &[new_pack(&place, &before[0]), new_pack(&place, &before[1])]).await;
    let again = build(&place, 3, Some(named(&before[1]))).await;
    assert_eq!((again.files_read, again.bytes_read), (2, 200_000));
    let revision = again.revision.as_ref().expect("its header names the new pack");
    assert_eq!((revision.files, revision.packs.len(), revision.packs[0].new), (2, 1, true));
    assert!(again.bytes_uploaded > 200_000);
    assert_whole(&place, reference(&again)).await;
    assert_settled(&place, reference(&again)).await;
}

#[tokio::test]
async fn what_comes_back_under_its_own_names_makes_no_revision() {
    let place = Place::new();
    place.write("big", noise("b", 40_000_000));
    let first = build(&place, 1, None).await;
    let revision = first.revision.as_ref().unwrap();
    let packs: Vec<Key> = revision.packs.iter().map(|pack| Key::pack(place.store, pack.digest)).collect();
    for lost in [&packs[1..2], &packs] {
        lose(&place, lost).await;
        let again = build(&place, 2, Some(reference(&first))).await;
        let bytes = revision.packs.iter().filter(|pack| lost.contains(&Key::pack(place.store, pack.digest)));
        assert_eq!((again.revision, again.files_read), (None, 1));
        assert_eq!(again.bytes_uploaded, bytes.map(|pack| pack.bytes).sum::<u64>());
        assert_whole(&place, reference(&first)).await;
    }
    assert_settled(&place, reference(&first)).await;
}

#[tokio::test]
async fn a_pack_of_another_length_is_replaced() {
    let place = Place::new();
    let before = revisions(&place, &["a", "b"]).await;
    let (pack, on) = (new_pack(&place, &before[0]), named(&before[1]));
    let bytes = place.blobs.size(&pack).await.unwrap().unwrap();
    for wrong in [0, bytes / 2, bytes - 1, bytes + 1] {
        place.resize(pack, wrong);
        let again = build(&place, 3, Some(on)).await;
        assert_eq!((again.revision, again.files_read, again.bytes_uploaded), (None, 1, bytes), "{wrong} bytes");
        assert_whole(&place, on).await;
    }
}

#[tokio::test]
async fn where_one_of_several_packs_is_lost_only_files_in_it_are_read() {
    let place = Place::new();
    let before = revisions(&place, &["a", "b", "c"]).await;
    for revision in &before {
        lose(&place, &[new_pack(&place, revision)]).await;
        let again = build(&place, 4, Some(named(&before[2]))).await;
        assert_eq!((again.revision, again.files_read, again.bytes_read), (None, 1, 100_000));
        assert_whole(&place, named(&before[2])).await;
    }
}

#[tokio::test]
async fn a_pack_of_which_less_is_needed_comes_back_under_another_name_beside_those_that_are_there() {
    let place = Place::new();
    place.write("a", noise("a", 100_000)).write("b", noise("b", 100_000));
    let first = build(&place, 1, None).await.revision.unwrap();
    place.write("a", "changed");
    let second = build(&place, 2, Some(named(&first))).await.revision.unwrap();
    lose(&place, &[new_pack(&place, &first)]).await;
    let third = build(&place, 3, Some(named(&second))).await;
    assert_eq!((third.files_read, third.bytes_read), (1, 100_000));
    let packs = &third.revision.as_ref().unwrap().packs;
    let old: Vec<Digest> = packs.iter().filter(|pack| !pack.new).map(|pack| pack.digest).collect();
    assert_eq!((packs.len(), old), (2, vec![new_pack(&place, &second).digest]));
    assert!(packs.iter().all(|pack| pack.digest != new_pack(&place, &first).digest));
    assert_whole(&place, reference(&third)).await;
    assert_settled(&place, reference(&third)).await;
}

#[tokio::test]
async fn what_no_file_holds_any_more_is_not_missed() {
    let place = Place::new();
    let before = revisions(&place, &["a", "b"]).await;
    lose(&place, &[new_pack(&place, &before[0])]).await;
    std::fs::remove_file(place.source.path().join("a")).unwrap();
    let third = build(&place, 3, Some(named(&before[1]))).await;
    assert_eq!((third.files_read, third.revision.as_ref().unwrap().packs.len()), (0, 1));
    assert_whole(&place, reference(&third)).await;
}

#[tokio::test]
async fn a_build_that_reads_everything_stores_again_only_what_is_lost() {
    let place = Place::new();
    let before = revisions(&place, &["a", "b"]).await;
    let pack = new_pack(&place, &before[0]);
    let bytes = place.blobs.size(&pack).await.unwrap().unwrap();
    lose(&place, &[pack]).await;
    let task = BuildTask { read_all: true, ..place.task(3, Some(named(&before[1]))) };
    let again = trusting(&place).build(&task, &Context::detached()).await.unwrap();
    assert_eq!((again.files_read, again.bytes_uploaded, again.changed_unseen), (2, bytes, 0));
    assert_eq!(again.revision, None);
    assert_whole(&place, named(&before[1])).await;
}

/// With insertions, far enough from each other to change a chunk each.
fn edited(mut content: Vec<u8>) -> Vec<u8> {
    for at in (0..content.len()).step_by(200_000).rev() {
        content.splice(at..at, *b"an insertion");
    }
    content
}

#[tokio::test]
async fn what_is_lost_is_no_base_of_a_patch_and_hinders_no_other() {
    for (is_b_lost, patched) in [(false, true), (true, false)] {
        let place = Place::new();
        let b = noise("b", 900_000);
        let first = revisions(&place, &["a"]).await.remove(0);
        place.write("b", &b);
        let second = build(&place, 2, Some(named(&first))).await.revision.unwrap();
        lose(&place, &[new_pack(&place, &first)]).await;
        if is_b_lost {
            lose(&place, &[new_pack(&place, &second)]).await;
        }
        place.write("a", edited(noise("a", 100_000))).write("b", edited(b));
        let builder = trusting(&place).with_patcher(Patcher::start(place.blobs.clone(), CancellationToken::new()));
        let third = builder.build(&place.task(3, Some(named(&second))), &Context::detached()).await.unwrap();
        assert_whole(&place, reference(&third)).await;
        let name = PatchName::frames(second.index, third.revision.unwrap().index, 0);
        let stored = place.blobs.size(&Key::patch(place.store, name.digest())).await.unwrap();
        assert_eq!(stored.is_some(), patched);
        builder.patched().await;
    }
}

#[tokio::test]
async fn a_build_looks_once_at_what_is_stored_and_a_first_one_not_at_all() {
    let place = Place::new();
    let first = build(&place, 1, None).await;
    assert_eq!(place.blobs.lists.load(Ordering::SeqCst), 0);
    build(&place, 2, Some(reference(&first))).await;
    assert_eq!(place.blobs.lists.load(Ordering::SeqCst), 1);
    place.blobs.fail_lists.store(true, Ordering::SeqCst);
    let ended = trusting(&place).build(&place.task(2, Some(reference(&first))), &Context::detached()).await;
    match ended.unwrap_err() {
        Ended::Fault(fault) => assert_eq!((fault.code.as_str(), fault.permanent), ("storage-unavailable", false)),
        other => panic!("{other:?} instead of a fault"),
    }
}

//! Build tasks against a store on disk.

mod support;

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blobs::{Blobs, Key, ObjectKind, ReadBlobs};
use builder::{Ended, Patcher};
use package::hints::{HintsWriter, content_id};
use package::limits::{HEADER_BYTES_MAX, INDEX_BYTES_MAX, PATCH_BYTES_MAX};
use package::patch::{FramesPatch, IndexContent, PatchName, apply_index};
use package::walk::Stat;
use package::{EntryKind, Index, decode_frame, header, verify_frame};
use schemas::{BuildResult, Fault, IndexRef};
use support::{Place, noise, reference};
use tokio_util::sync::CancellationToken;
use worker::Context;

const DAY: Duration = Duration::from_secs(86_400);

fn fault(ended: Ended) -> Fault {
    match ended {
        Ended::Fault(fault) => fault,
        other => panic!("{other:?} instead of a fault"),
    }
}

async fn stored_index(place: &Place, header_digest: schemas::Digest) -> Index {
    let bytes = place.blobs.get(&Key::header(place.store, header_digest), HEADER_BYTES_MAX).await.unwrap();
    let head = header::open(&bytes, &header_digest).unwrap();
    let bytes = place.blobs.get(&Key::index(place.store, head.index.digest), INDEX_BYTES_MAX).await.unwrap();
    header::open_index(&head, &bytes).unwrap()
}

#[tokio::test]
async fn a_first_build_puts_packs_then_the_index_then_the_header() {
    let place = Place::new();
    place.write("a/x.txt", "hello").write("big", noise("b", 40_000_000));
    let result = place.build(1, None).await.unwrap();
    let revision = result.revision.clone().unwrap();
    assert_eq!((revision.number, revision.files, revision.directories, result.files_read), (1, 2, 2, 2));
    assert_eq!((result.bytes, result.bytes_read), (40_000_005, 40_000_005));
    let kinds = place.kinds_put();
    let (packs, rest) = kinds.split_at(kinds.len() - 2);
    assert_eq!(rest, [ObjectKind::Index, ObjectKind::Header]);
    assert!(packs.len() == revision.packs.len() && packs.iter().all(|kind| *kind == ObjectKind::Pack));
    assert!(revision.packs.len() >= 3 && revision.packs.iter().all(|pack| pack.new));
    assert!(place.blobs.in_flight_most.load(Ordering::SeqCst) <= 2);
    let index = stored_index(&place, revision.header).await;
    assert_eq!(index.totals().bytes, 40_000_005);
    let listed: u64 = place.blobs.list(place.store).await.unwrap().iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(listed, result.bytes_uploaded);
}

#[tokio::test]
async fn unchanged_content_makes_no_revision_and_writes_nothing() {
    let place = Place::new();
    place.write("a", "1").write("b", "2");
    let first = place.build(1, None).await.unwrap();
    let puts = place.kinds_put().len();
    let second = place.build(2, Some(reference(&first))).await.unwrap();
    assert_eq!((second.revision, second.files, second.bytes_uploaded), (None, 2, 0));
    assert_eq!(place.kinds_put().len(), puts);
}

#[tokio::test]
async fn hints_spare_reading_unless_everything_shall_be_read() {
    let place = Place::new();
    place.write("a", "1").write("b", "22");
    // Hints distrust what changed just before a build: this one begins a day later.
    let later = || (SystemTime::now() + DAY).duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    let builder = place.builder().with_clock(later);
    let build = async |task| builder.build(&task, &Context::detached()).await.unwrap();
    let first = build(place.task(1, None)).await;
    let second = build(place.task(2, Some(reference(&first)))).await;
    assert_eq!((second.revision, second.files_read, second.bytes_read), (None, 0, 0));
    place.write("c", "333");
    let third = build(place.task(2, Some(reference(&first)))).await;
    assert_eq!((third.files_read, third.bytes_read), (1, 3));
    let task = place.task(3, Some(reference(&third)));
    let fourth = build(schemas::BuildTask { read_all: true, ..task }).await;
    assert_eq!((fourth.revision, fourth.files_read), (None, 3));
}

/// The hints on disk, rewritten as if `a` had been changed within one tick of the clock after it was read: they know it as it
/// stands now, with the content that it had.
fn hide_the_change_of_a(place: &Place, index: &Index) {
    use std::os::unix::fs::MetadataExt;
    let path = place.work.path().join("antivirus").join(format!("{}.hints", place.store));
    let machine = {
        let bytes = std::fs::read(&path).unwrap();
        String::from_utf8(bytes[9..9 + usize::from(bytes[8])].to_vec()).unwrap()
    };
    let mut writer = HintsWriter::new(&machine, i64::MAX);
    for entry in &index.entries {
        let EntryKind::File { refs, .. } = &entry.kind else { continue };
        let meta = std::fs::metadata(place.source.path().join(&entry.path)).unwrap();
        let stat = Stat {
            bytes: meta.len(),
            mtime_ns: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
            ctime_ns: meta.ctime() * 1_000_000_000 + meta.ctime_nsec(),
            inode: meta.ino(),
            device: meta.dev(),
        };
        writer.add(&entry.path, &stat, &content_id(index.chunks_of(refs).map(|chunk| &chunk.digest)));
    }
    std::fs::write(path, writer.finish()).unwrap();
}

#[tokio::test]
async fn a_build_that_reads_everything_finds_what_had_changed_without_a_sign_and_says_how_much() {
    let place = Place::new();
    place.write("a", "1").write("b", "22");
    let first = place.build(1, None).await.unwrap();
    let path = place.source.path().join("a");
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    place.write("a", "9");
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    hide_the_change_of_a(&place, &stored_index(&place, reference(&first).header).await);
    let trusting = place.build(2, Some(reference(&first))).await.unwrap();
    assert_eq!((trusting.revision, trusting.files_read, trusting.changed_unseen), (None, 0, 0));
    hide_the_change_of_a(&place, &stored_index(&place, reference(&first).header).await);
    let task = schemas::BuildTask { read_all: true, ..place.task(2, Some(reference(&first))) };
    let reading = place.builder().build(&task, &Context::detached()).await.unwrap();
    assert_eq!((reading.files_read, reading.changed_unseen), (2, 1));
    assert!(reading.revision.is_some());
}

#[tokio::test]
async fn a_change_adds_one_small_pack_and_names_the_old_ones() {
    let place = Place::new();
    place.write("a", "1").write("big", noise("b", 20_000_000));
    let first = place.build(1, None).await.unwrap();
    place.write("a", "2");
    let second = place.build(2, Some(reference(&first))).await.unwrap();
    let revision = second.revision.unwrap();
    let new: Vec<u64> = revision.packs.iter().filter(|pack| pack.new).map(|pack| pack.bytes).collect();
    assert_eq!(new, [1]);
    assert!(revision.packs.len() >= 3);
    assert!(second.bytes_uploaded < 50_000, "{} bytes", second.bytes_uploaded);
}

#[tokio::test]
async fn a_build_that_died_before_its_header_is_taken_over_and_what_it_uploaded_is_used() {
    for died_at in [ObjectKind::Index, ObjectKind::Header] {
        let (place, whole) = (Place::new(), Place::new());
        for place in [&place, &whole] {
            place.write("big", noise("b", 40_000_000));
            let file = std::fs::File::open(place.source.path().join("big")).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
            let root = std::fs::File::open(place.source.path()).unwrap();
            root.set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        *place.blobs.fail_at.lock().unwrap() = Some(died_at);
        let died = fault(place.build(1, None).await.unwrap_err());
        assert_eq!((died.code.as_str(), died.permanent), ("storage-unavailable", false));
        assert!(!place.kinds_put().contains(&ObjectKind::Header), "no half revision is visible");
        *place.blobs.fail_at.lock().unwrap() = None;
        let retried = place.build(1, None).await.unwrap();
        let packs = retried.revision.as_ref().unwrap().packs.len() as u64;
        assert_eq!(retried.objects_reused, packs + u64::from(died_at == ObjectKind::Header));
        assert_eq!(reference(&retried), reference(&whole.build(1, None).await.unwrap()), "the same digest");
    }
}

#[tokio::test]
async fn a_store_that_fails_in_the_middle_ends_the_build_with_its_fault() {
    let place = Place::new();
    place.write("big", noise("b", 80_000_000));
    *place.blobs.fail_at.lock().unwrap() = Some(ObjectKind::Pack);
    let ended = tokio::time::timeout(Duration::from_secs(30), place.build(1, None)).await.unwrap();
    assert_eq!(fault(ended.unwrap_err()).code, "storage-unavailable");
}

#[tokio::test]
async fn a_previous_revision_that_is_damaged_or_gone_costs_storing_everything_again() {
    for gone in [false, true] {
        let place = Place::new();
        place.write("a", noise("a", 100_000));
        let first = place.build(1, None).await.unwrap();
        let key = Key::header(place.store, reference(&first).header);
        if gone {
            place.blobs.delete(&key).await.unwrap()
        } else {
            place.damage(key)
        }
        place.write("b", "2");
        let second = place.build(2, Some(reference(&first))).await.unwrap();
        let revision = second.revision.unwrap();
        assert!(revision.packs.iter().all(|pack| pack.new));
        assert_eq!(stored_index(&place, revision.header).await.totals().files, 2);
    }
}

#[tokio::test]
async fn faults_of_sources_have_stable_codes_and_say_whether_to_try_again() {
    let place = Place::new();
    let mut task = place.task(1, None);
    task.sources[0].path = "/nothing/there".to_owned();
    let missing = fault(place.builder().build(&task, &Context::detached()).await.unwrap_err());
    assert_eq!((missing.code.as_str(), missing.permanent), ("source-missing", true));
    place.write("back\\slash", "x");
    let unsafe_entry = fault(place.build(1, None).await.unwrap_err());
    assert_eq!((unsafe_entry.code.as_str(), unsafe_entry.permanent), ("entry-unsafe", true));
    assert!(place.kinds_put().is_empty());
}

#[tokio::test]
async fn a_cancelled_or_drained_build_ends_soon_and_leaves_no_header() {
    let place = Place::new();
    place.write("big", noise("b", 60_000_000));
    for (cancelled, expected) in [(true, Ended::Cancelled), (false, Ended::Yielded)] {
        let context = Context::detached();
        if cancelled {
            context.cancel.cancel()
        } else {
            context.drain.cancel()
        }
        let ended = place.builder().build(&place.task(1, None), &context).await.unwrap_err();
        assert_eq!(ended, expected);
    }
    assert!(!place.kinds_put().contains(&ObjectKind::Header));
}

#[tokio::test]
async fn hints_lie_where_the_distributor_says_unless_the_builder_was_told() {
    let place = Place::new();
    place.write("file", b"content");
    let defined = tempfile::tempdir().unwrap();
    let working_dir = Some(defined.path().to_str().unwrap().to_owned());
    let task = schemas::BuildTask { working_dir, ..place.task(1, None) };
    let hints = |folder: &std::path::Path| std::fs::read_dir(folder.join("antivirus")).map_or(0, |files| files.count());
    place.builder().build(&task, &Context::detached()).await.unwrap();
    assert_eq!((hints(place.work.path()), hints(defined.path())), (1, 0));
    builder::Builder::new(place.blobs.clone(), None, 2).build(&task, &Context::detached()).await.unwrap();
    assert_eq!(hints(defined.path()), 1);
}

/// Many files, so that the index is worth a patch, and one that is edited in its middle.
async fn first_of_two(place: &Place) -> BuildResult {
    for n in 0..300 {
        place.write(&format!("d{}/{n}", n % 7), format!("file {n}"));
    }
    place.write("large", noise("large", 900_000));
    place.build(1, None).await.unwrap()
}

fn edit(place: &Place) {
    let mut content = noise("large", 900_000);
    content.splice(450_000..450_000, *b"an insertion");
    place.write("large", content).write("d3/3", "edited");
}

async fn index_ref(place: &Place, result: &BuildResult) -> IndexRef {
    let digest = reference(result).header;
    let bytes = place.blobs.get(&Key::header(place.store, digest), HEADER_BYTES_MAX).await.unwrap();
    header::open(&bytes, &digest).unwrap().index
}

#[tokio::test]
async fn a_new_index_leaves_a_patch_against_the_one_before_it_before_its_header() {
    let place = Place::new();
    let first = first_of_two(&place).await;
    edit(&place);
    let second = place.build(2, Some(reference(&first))).await.unwrap();
    let kinds = place.kinds_put();
    assert_eq!(kinds.last(), Some(&ObjectKind::Header));
    assert_eq!(kinds.iter().filter(|kind| **kind == ObjectKind::Patch).count(), 1);
    let (base, new) = (index_ref(&place, &first).await, index_ref(&place, &second).await);
    let name = PatchName::index(base.digest, new.digest);
    let patch = place.blobs.get(&Key::patch(place.store, name.digest()), new.bytes / 5).await.unwrap();
    let base = place.blobs.get(&Key::index(place.store, base.digest), INDEX_BYTES_MAX).await.unwrap();
    let given = apply_index(&name, &patch, &IndexContent::of(&base).unwrap(), &new).unwrap();
    assert_eq!(given.bytes, place.blobs.get(&Key::index(place.store, new.digest), INDEX_BYTES_MAX).await.unwrap());
}

#[tokio::test]
async fn the_patch_of_a_large_index_is_there_when_its_build_ends_too() {
    let place = Place::new();
    let first = first_of_two(&place).await;
    edit(&place);
    let builder = place.builder().with_large_index(0);
    let second = builder.build(&place.task(2, Some(reference(&first))), &Context::detached()).await.unwrap();
    let (base, new) = (index_ref(&place, &first).await.digest, index_ref(&place, &second).await.digest);
    let key = Key::patch(place.store, PatchName::index(base, new).digest());
    assert!(place.blobs.size(&key).await.unwrap().is_some());
    let kinds = place.kinds_put();
    let last_of = |kind| kinds.iter().rposition(|put| *put == kind);
    assert!(last_of(ObjectKind::Patch) > last_of(ObjectKind::Header), "{kinds:?}");
}

#[tokio::test]
async fn patches_of_a_small_change_are_there_when_its_build_ends_and_give_the_frames_that_it_stored() {
    let place = Place::new();
    let first = first_of_two(&place).await;
    edit(&place);
    let patcher = Patcher::start(place.blobs.clone(), CancellationToken::new());
    let builder = place.builder().with_patcher(patcher);
    let second = builder.build(&place.task(2, Some(reference(&first))), &Context::detached()).await.unwrap();
    assert_eq!(place.kinds_put().iter().filter(|kind| **kind == ObjectKind::Patch).count(), 2, "index and frames");
    let digests = (index_ref(&place, &first).await.digest, index_ref(&place, &second).await.digest);
    let (base, new) =
        (stored_index(&place, reference(&first).header).await, stored_index(&place, reference(&second).header).await);
    let name = PatchName::frames(digests.0, digests.1, 0);
    let object = place.blobs.get(&Key::patch(place.store, name.digest()), PATCH_BYTES_MAX).await.unwrap();
    let patch = FramesPatch::open(&name, &object, &base.chunks, &new).unwrap();
    let region = &patch.regions[0].0;
    let mut content = Vec::new();
    for &at in &region.bases {
        let chunk = &base.chunks[at as usize];
        let frame = &base.frames[chunk.frame as usize];
        let key = Key::pack(place.store, base.packs[frame.pack as usize].digest);
        let range = frame.offset..frame.offset + u64::from(frame.stored_bytes);
        let stored = place.blobs.get_ranges(&key, &[range]).await.unwrap().remove(0);
        let raw = decode_frame(frame, &stored).unwrap();
        content.extend_from_slice(&raw[chunk.offset as usize..][..chunk.bytes as usize]);
    }
    let frames = patch.frames(0, &object, &content, &new).unwrap();
    let new_frames = new.frames.iter().filter(|frame| base.frames.iter().all(|old| old.digest != frame.digest));
    assert_eq!(frames.len(), new_frames.count());
    for (at, stored) in &frames {
        verify_frame(&new.frames[*at as usize], stored).unwrap();
    }
    assert!(object.len() < 3_000 && region.stored_bytes(&new) > 60_000, "{} bytes", object.len());
}

#[tokio::test]
async fn patches_that_cannot_be_made_within_the_build_follow_it() {
    let place = Place::new();
    let first = first_of_two(&place).await;
    edit(&place);
    place.blobs.reads_to_fail.store(1, Ordering::SeqCst);
    let builder = place.builder().with_patcher(Patcher::start(place.blobs.clone(), CancellationToken::new()));
    let second = builder.build(&place.task(2, Some(reference(&first))), &Context::detached()).await.unwrap();
    builder.patched().await;
    let digests = (index_ref(&place, &first).await.digest, index_ref(&place, &second).await.digest);
    let name = PatchName::frames(digests.0, digests.1, 0);
    assert!(place.blobs.size(&Key::patch(place.store, name.digest())).await.unwrap().is_some());
}

#[tokio::test]
async fn a_store_that_takes_no_patch_has_the_revision_all_the_same() {
    let place = Place::new();
    let first = first_of_two(&place).await;
    edit(&place);
    *place.blobs.fail_at.lock().unwrap() = Some(ObjectKind::Patch);
    let builder = place.builder().with_patcher(Patcher::start(place.blobs.clone(), CancellationToken::new()));
    let second = builder.build(&place.task(2, Some(reference(&first))), &Context::detached()).await.unwrap();
    builder.patched().await;
    assert_eq!(stored_index(&place, reference(&second).header).await.totals().files, 301);
    assert!(!place.kinds_put().contains(&ObjectKind::Patch));
}

#[tokio::test]
async fn a_stopped_patcher_takes_nothing_and_ends() {
    let place = Place::new();
    let first = first_of_two(&place).await;
    edit(&place);
    let stop = CancellationToken::new();
    stop.cancel();
    let builder = place.builder().with_patcher(Patcher::start(place.blobs.clone(), stop));
    let second = builder.build(&place.task(2, Some(reference(&first))), &Context::detached()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), builder.patched()).await.expect("it ends");
    let digests = (index_ref(&place, &first).await.digest, index_ref(&place, &second).await.digest);
    let name = PatchName::frames(digests.0, digests.1, 0);
    assert_eq!(place.blobs.size(&Key::patch(place.store, name.digest())).await.unwrap(), None);
}

#[tokio::test]
async fn revisions_before_the_last_one_get_their_patches_too() {
    let place = Place::new();
    let first = first_of_two(&place).await;
    place.write("d2/2", "changed once");
    let second = place.build(2, Some(reference(&first))).await.unwrap();
    edit(&place);
    let gone = schemas::RevisionRef { number: 0, header: schemas::Digest::of(b"gone") };
    let task = place.task(3, Some(reference(&second)));
    let task = schemas::BuildTask { earlier: vec![gone, reference(&first)], ..task };
    let builder = place.builder().with_patcher(Patcher::start(place.blobs.clone(), CancellationToken::new()));
    let third = builder.build(&task, &Context::detached()).await.unwrap();
    builder.patched().await;
    let new = index_ref(&place, &third).await.digest;
    for base in [&first, &second] {
        let base = index_ref(&place, base).await.digest;
        for name in [PatchName::index(base, new), PatchName::frames(base, new, 0)] {
            let key = Key::patch(place.store, name.digest());
            assert!(place.blobs.size(&key).await.unwrap().is_some(), "{name:?}");
        }
    }
}

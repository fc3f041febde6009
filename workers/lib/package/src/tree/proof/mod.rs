//! Crash proof: an installation's operations are recorded, cut off after each of them, what was not synced is lost in
//! several ways, and from every state that this leaves a reader sees the old or the new tree, and the next call makes it
//! the new one.

mod model;
pub mod recorder;
#[path = "../../../tests/tree/support.rs"]
#[allow(dead_code, reason = "shared with the tests of `tree`")]
mod support;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use crate::tree::catalog::{STAMP_BYTES, open_sealed, pack, sealed, unpack};
use crate::tree::{Modification, verify};

use model::{Data, Laid, Model};
use recorder::{Op, Record};
use support::{CHUNK, MERGE, MIRROR, Revision, Site, Tree, Way, content, install_at, prepare_at};

/// One recording at a time in this process.
static ALONE: Mutex<()> = Mutex::new(());
/// Ways in which what was not synced is lost by chance, for each cut.
const CHANCES: u64 = 3;

/// What a crash does to what was not synced. Within one directory names are lost from the end; what is in one directory
/// says nothing of another; a file's bytes and its mode and time go by themselves.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Nothing,
    Everything,
    /// Names, lengths, modes and times are there, bytes are not.
    Bytes,
    Chance(u64),
}

fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn install(folder: &Path, way: Way, revision: &Revision) {
    let (target, state) = (folder.join("target"), folder.join("state"));
    install_at(&target, &state, &Site::new(), way, revision, &|_| Ok(())).unwrap();
}

fn revision(number: u64) -> Revision {
    let mut tree = Tree::new().directory("d").link("l", "d").file("big", content(number / 2, 3 * CHUNK + 7));
    for n in 0..4u64 {
        let text = if n % 2 == number % 2 { format!("{n} of {number}") } else { format!("{n}") };
        tree = tree.file(&format!("d/f{n}"), text);
    }
    tree = tree.file("same", "same").name("same2", "same").file("holes", vec![0; 9 * CHUNK]).sparse("holes");
    tree = tree.directory(&format!("in-{number}")).file(&format!("in-{number}/x"), "x");
    tree.revision(number)
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

/// The directory whose names an operation changes.
fn directory_of(op: &Op) -> Option<PathBuf> {
    match op {
        Op::Create { path }
        | Op::MakeDirectory { path }
        | Op::MakeLink { path, .. }
        | Op::Unlink { path }
        | Op::RemoveDirectory { path } => Some(parent(path)),
        Op::Name { to, .. } | Op::Rename { to, .. } => Some(parent(to)),
        _ => None,
    }
}

fn is_synced_by(op: &Op, sync: &Op) -> bool {
    let Op::Sync { path: synced } = sync else { return matches!(sync, Op::SyncAll) };
    match op {
        Op::Write { path, .. } | Op::Truncate { path, .. } | Op::Mode { path, .. } | Op::Time { path, .. } => {
            path == synced
        }
        op => directory_of(op).as_deref() == Some(synced),
    }
}

fn chance(seed: u64, what: &str) -> u64 {
    let digest = schemas::Digest::of(format!("{seed} {what}").as_bytes());
    u64::from_le_bytes(digest.0[..8].try_into().unwrap())
}

/// The state after the first `cut` operations and a crash.
fn crashed(base: &Model, records: &[Record], cut: usize, loss: Loss) -> Model {
    let done = &records[..cut];
    let is_durable = |at: usize| done[at + 1..].iter().any(|later| is_synced_by(&done[at].op, &later.op));
    let mut names_lost: HashMap<PathBuf, bool> = HashMap::new();
    let mut model = base.clone();
    for (at, record) in done.iter().enumerate() {
        if is_durable(at) {
            model.apply(record, Data::Written);
            continue;
        }
        let word = format!("{:?}", directory_of(&record.op));
        let data = match (loss, &record.op) {
            (Loss::Nothing, _) => Some(Data::Written),
            (Loss::Everything, _) => None,
            (Loss::Bytes, _) => Some(Data::Zeros),
            (Loss::Chance(seed), op) => match directory_of(op) {
                Some(directory) => {
                    let lost = names_lost.entry(directory).or_insert(false);
                    *lost |= chance(seed, &format!("{word} {at}")).is_multiple_of(6);
                    (!*lost).then_some(Data::Written)
                }
                None => match chance(seed, &format!("{at}")) % 3 {
                    0 => Some(Data::Written),
                    1 => Some(Data::Zeros),
                    _ => None,
                },
            },
        };
        if let Some(data) = data {
            model.apply(record, data);
        }
    }
    model
}

/// The records name things by inode: those of the laid-out state are others.
fn translate(folder: &Path, laid: &Laid) {
    let state = folder.join("state");
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".json") {
            let Ok(mut value) = serde_json::from_slice::<Value>(&fs::read(&path).unwrap()) else { continue };
            value["target"] = folder.join("target").to_str().unwrap().into();
            translate_value(&mut value, laid);
            fs::write(&path, serde_json::to_vec(&value).unwrap()).unwrap();
        } else if name.contains("-stamps-")
            && let Some(bytes) = open_sealed(fs::read(&path).unwrap())
        {
            let stamps = bytes.chunks_exact(STAMP_BYTES).map(|bytes| {
                let recorded = unpack(bytes);
                laid.stamps.iter().find(|(then, _)| *then == recorded).map_or(recorded, |(_, now)| *now)
            });
            fs::write(&path, sealed(stamps.flat_map(|stamp| pack(&stamp)).collect())).unwrap();
        }
    }
}

fn translate_value(value: &mut Value, laid: &Laid) {
    match value {
        Value::Object(fields) if fields.contains_key("born_ns") => {
            let recorded = serde_json::from_value(Value::Object(fields.clone())).unwrap();
            let now = laid.nodes.iter().find(|(then, _)| then.is(&recorded)).map(|(_, now)| *now);
            match now {
                Some(now) => *value = serde_json::to_value(now).unwrap(),
                None => fields["ino"] = u64::MAX.into(),
            }
        }
        Value::Object(fields) => {
            if let Some(ino) = fields.get("ino").and_then(Value::as_u64) {
                let now = laid.stamps.iter().find(|(then, _)| then.ino == ino);
                fields["ino"] = now.map_or(u64::MAX, |(_, now)| now.ino).into();
            }
            fields.values_mut().for_each(|field| translate_value(field, laid));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| translate_value(item, laid)),
        _ => {}
    }
}

/// Times of directories are moved by laying the state out, and in a merge they are everybody's.
fn is(folder: &Path, revision: Option<&Revision>, is_merge: bool) -> bool {
    let Some(revision) = revision else { return !folder.join("target").exists() };
    let found = verify(&folder.join("target"), &revision.index).unwrap();
    let is_directory = |path: &str| folder.join("target").join(path).symlink_metadata().is_ok_and(|meta| meta.is_dir());
    let wrong = |m: &&crate::tree::Modified| {
        !(is_directory(&m.path) && (m.what == Modification::Time || (is_merge && m.what == Modification::Mode)))
    };
    found.missing.is_empty() && !found.modified.iter().any(|m| wrong(&m)) && (is_merge || found.extra.is_empty())
}

/// Records the installation of revision `before + 1` over `before`, and tries every crash of it.
fn prove(way: Way, before: u64, is_merge: bool) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let real = folder();
    fs::create_dir(real.path().join("state")).unwrap();
    (1..=before).for_each(|number| install(real.path(), way, &revision(number)));
    let base = Model::load(real.path());
    recorder::start(real.path());
    install(real.path(), way, &revision(before + 1));
    let records = recorder::stop();
    assert!(records.len() > 30, "{} operations", records.len());
    let old = (before > 0).then(|| revision(before));
    let (mut old_seen, mut new_seen) = (0, 0);
    for cut in 0..=records.len() {
        let chances = (0..CHANCES).map(|n| Loss::Chance(cut as u64 * CHANCES + n));
        for loss in [Loss::Nothing, Loss::Everything, Loss::Bytes].into_iter().chain(chances) {
            let at = folder();
            let laid = crashed(&base, &records, cut, loss).lay_out(at.path());
            translate(at.path(), &laid);
            let what =
                || format!("{loss:?} after {cut} of {}: {:?}", records.len(), records[..cut].last().map(|r| &r.op));
            let new = revision(before + 1);
            let (is_old, is_new) = (is(at.path(), old.as_ref(), is_merge), is(at.path(), Some(&new), is_merge));
            assert!(is_merge || is_old || is_new, "a reader sees neither: {}", what());
            (old_seen, new_seen) = (old_seen + u32::from(is_old), new_seen + u32::from(is_new));
            if is_merge
                && !is_new
                && let Some(old) = &old
            {
                install(at.path(), way, old);
                assert!(is(at.path(), Some(old), true), "not undone: {}", what());
            }
            install(at.path(), way, &new);
            assert!(is(at.path(), Some(&new), is_merge), "not finished: {}", what());
        }
    }
    assert!(old_seen > 10 && new_seen > 3, "{old_seen} {new_seen}");
}

fn prepare(folder: &Path, revision: &Revision) -> bool {
    let (target, state) = (folder.join("target"), folder.join("state"));
    prepare_at(&target, &state, &Site::new(), revision, &AtomicBool::new(false)).unwrap()
}

#[test]
fn every_crash_of_making_the_standby_tree_ahead_leaves_the_target_and_is_no_obstacle() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let real = folder();
    fs::create_dir(real.path().join("state")).unwrap();
    let (one, two) = (revision(1), revision(2));
    install(real.path(), MIRROR, &one);
    let base = Model::load(real.path());
    recorder::start(real.path());
    assert!(prepare(real.path(), &one));
    let records = recorder::stop();
    assert!(records.len() > 20, "{} operations", records.len());
    for cut in 0..=records.len() {
        let chances = (0..CHANCES).map(|n| Loss::Chance(cut as u64 * CHANCES + n));
        for loss in [Loss::Nothing, Loss::Everything, Loss::Bytes].into_iter().chain(chances) {
            let at = folder();
            let laid = crashed(&base, &records, cut, loss).lay_out(at.path());
            translate(at.path(), &laid);
            let what = || format!("{loss:?} after {cut}: {:?}", records[..cut].last().map(|record| &record.op));
            assert!(is(at.path(), Some(&one), false), "the target changed: {}", what());
            prepare(at.path(), &one);
            assert!(is(at.path(), Some(&one), false), "the target changed: {}", what());
            install(at.path(), MIRROR, &two);
            assert!(is(at.path(), Some(&two), false), "not installed: {}", what());
        }
    }
}

#[test]
fn every_crash_of_a_first_mirror_leaves_nothing_or_all() {
    prove(MIRROR, 0, false);
}

#[test]
fn every_crash_of_a_mirror_that_links_leaves_the_old_or_the_new_tree() {
    prove(MIRROR, 1, false);
}

#[test]
fn every_crash_of_a_mirror_that_changes_the_standby_tree_leaves_the_old_or_the_new_tree() {
    prove(MIRROR, 2, false);
}

#[test]
fn every_crash_of_a_merge_can_be_undone_and_done() {
    prove(MERGE, 1, true);
}

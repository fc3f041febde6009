//! Crash proof: an installation's operations are recorded, cut off after each of them, what was not synced is lost in
//! several ways, and from every state that this leaves a reader sees the old or the new tree (of a merge: at each path what the one
//! or the other has there, and all of the one once it is recovered), and the next call makes it the new one.

mod model;
mod picture;
pub mod recorder;
#[path = "../../../tests/tree/support.rs"]
#[allow(dead_code, reason = "shared with the tests of `tree`")]
mod support;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::tree::catalog::{STAMP_BYTES, open_sealed, pack, sealed, unpack};
use crate::tree::{Modification, Step, recover, verify};

use model::{Data, Laid, Model};
use picture::Picture;
use recorder::{Op, Record};
use support::{CHUNK, MERGE, MIRROR, Revision, Site, Tree, Way, content, install_at, prepare_at};

/// One recording at a time in this process.
static ALONE: Mutex<()> = Mutex::new(());
/// Ways in which what was not synced is lost by chance, for each cut.
const CHANCES: u64 = 3;
const STAGING: &str = ".tidegate-merge";

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
    tree =
        if number.is_multiple_of(2) { tree.directory("kind").file("kind/x", "x") } else { tree.file("kind", "kind") };
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

/// Times of directories are moved by laying the state out.
fn is(folder: &Path, revision: Option<&Revision>) -> bool {
    let Some(revision) = revision else { return !folder.join("target").exists() };
    let found = verify(&folder.join("target"), &revision.index).unwrap();
    let is_directory = |path: &str| folder.join("target").join(path).symlink_metadata().is_ok_and(|meta| meta.is_dir());
    let is_moved = |m: &crate::tree::Modified| is_directory(&m.path) && m.what == Modification::Time;
    found.missing.is_empty() && found.extra.is_empty() && found.modified.iter().all(is_moved)
}

/// What was there, and what was then done to it.
struct Recording {
    base: Model,
    records: Vec<Record>,
}

/// `work` in a folder where the revisions up to `before` were installed; `look` is called before and after it.
fn record<T>(way: Way, before: u64, work: impl FnOnce(&Path), look: impl Fn(&Path) -> T) -> (Recording, [T; 2]) {
    let real = folder();
    fs::create_dir(real.path().join("state")).unwrap();
    (1..=before).for_each(|number| install(real.path(), way, &revision(number)));
    let (base, old) = (Model::load(real.path()), look(real.path()));
    recorder::start(real.path());
    work(real.path());
    let records = recorder::stop();
    assert!(records.len() > 20, "{} operations", records.len());
    (Recording { base, records }, [old, look(real.path())])
}

impl Recording {
    /// Cuts it off everywhere and loses in every way what was not synced; `proof` gets a folder and its story.
    fn crash_everywhere(&self, mut proof: impl FnMut(&Path, &str)) {
        for cut in 0..=self.records.len() {
            let chances = (0..CHANCES).map(|n| Loss::Chance(cut as u64 * CHANCES + n));
            for loss in [Loss::Nothing, Loss::Everything, Loss::Bytes].into_iter().chain(chances) {
                let at = folder();
                let laid = crashed(&self.base, &self.records, cut, loss).lay_out(at.path());
                translate(at.path(), &laid);
                let last = self.records[..cut].last().map(|record| &record.op);
                proof(at.path(), &format!("{loss:?} after {cut} of {}: {last:?}", self.records.len()));
            }
        }
    }
}

/// Records the installation of revision `before + 1` over `before`, and tries every crash of it.
fn prove_mirror(before: u64) {
    let _alone = alone();
    let (old, new) = ((before > 0).then(|| revision(before)), revision(before + 1));
    let (recording, _) = record(MIRROR, before, |real| install(real, MIRROR, &new), |_| ());
    let (mut old_seen, mut new_seen) = (0, 0);
    recording.crash_everywhere(|at, what| {
        let (is_old, is_new) = (is(at, old.as_ref()), is(at, Some(&new)));
        assert!(is_old || is_new, "a reader sees neither: {what}");
        (old_seen, new_seen) = (old_seen + u32::from(is_old), new_seen + u32::from(is_new));
        install(at, MIRROR, &new);
        assert!(is(at, Some(&new)), "not finished: {what}");
    });
    assert!(old_seen > 10 && new_seen > 3, "{old_seen} {new_seen}");
}

/// Records a merge over the first revision and tries every crash of it. Gives how often it ended in the old and in the new tree.
fn prove_merge(work: impl FnOnce(&Path, &Revision)) -> (u32, u32) {
    let _alone = alone();
    let new = revision(2);
    let look = |at: &Path| Picture::of(&at.join("target"), STAGING);
    let (recording, [old_shown, _]) = record(MERGE, 1, |real| work(real, &new), look);
    let new_shown = shown_when_merged(&new, look);
    let (mut old_seen, mut new_seen) = (0, 0);
    recording.crash_everywhere(|at, what| {
        let shown = look(at);
        let wrong = shown.of_neither(&old_shown, &new_shown);
        assert!(wrong.is_empty(), "a reader sees what neither revision has at {wrong:?}: {what}");
        assert!(recover(&at.join("target"), &at.join("state")).unwrap(), "{what}");
        let shown = look(at);
        let (not_old, not_new) = (shown.of_neither(&old_shown, &old_shown), shown.of_neither(&new_shown, &new_shown));
        assert!(
            not_old.is_empty() || not_new.is_empty(),
            "mixed when it is recovered: {not_old:?} {not_new:?}: {what}"
        );
        (old_seen, new_seen) = (old_seen + u32::from(not_old.is_empty()), new_seen + u32::from(not_new.is_empty()));
        install(at, MERGE, &new);
        assert!(look(at) == new_shown, "not finished: {what}");
    });
    (old_seen, new_seen)
}

fn shown_when_merged(revision: &Revision, look: impl Fn(&Path) -> Picture) -> Picture {
    let real = folder();
    install(real.path(), MERGE, revision);
    look(real.path())
}

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn prepare(folder: &Path, revision: &Revision) -> bool {
    let (target, state) = (folder.join("target"), folder.join("state"));
    prepare_at(&target, &state, &Site::new(), revision, &AtomicBool::new(false)).unwrap()
}

#[test]
fn every_crash_of_making_the_standby_tree_ahead_leaves_the_target_and_is_no_obstacle() {
    let _alone = alone();
    let (one, two) = (revision(1), revision(2));
    let (recording, _) = record(MIRROR, 1, |real| assert!(prepare(real, &one)), |_| ());
    recording.crash_everywhere(|at, what| {
        assert!(is(at, Some(&one)), "the target changed: {what}");
        prepare(at, &one);
        assert!(is(at, Some(&one)), "the target changed: {what}");
        install(at, MIRROR, &two);
        assert!(is(at, Some(&two)), "not installed: {what}");
    });
}

#[test]
fn every_crash_of_a_first_mirror_leaves_nothing_or_all() {
    prove_mirror(0);
}

#[test]
fn every_crash_of_a_mirror_that_links_leaves_the_old_or_the_new_tree() {
    prove_mirror(1);
}

#[test]
fn every_crash_of_a_mirror_that_changes_the_standby_tree_leaves_the_old_or_the_new_tree() {
    prove_mirror(2);
}

#[test]
fn every_crash_of_a_merge_leaves_old_or_new_files_and_is_recovered_to_the_old_or_the_new_tree() {
    let (old, new) = prove_merge(|real, two| install(real, MERGE, two));
    assert!(old > 10 && new > 3, "{old} {new}");
}

#[test]
fn every_crash_while_a_merge_is_undone_leaves_old_or_new_files_and_is_recovered_to_the_old_tree() {
    let (old, new) = prove_merge(|real, two| {
        let fails = |step| if step == Step::Swapped { Err(std::io::ErrorKind::Other.into()) } else { Ok(()) };
        install_at(&real.join("target"), &real.join("state"), &Site::new(), MERGE, two, &fails).unwrap_err();
    });
    assert!(old > 10 && new == 0, "{old} {new}");
}

//! What building and extracting cost, as ratios of processor time to the least that does the same, taken in the same run: a machine may be slow
//! or busy, the ratios stay. They are bounds against a loss, with room; the figures are docs/performance.md's.

mod support;

use std::collections::HashSet;
use std::fs;
use std::hint::black_box;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use package::build::{Input, build};
use package::hints::Hints;
use package::patch::IndexContent;
use package::walk::walk;
use package::{Built, EntryKind, Index, Pack, Watch};
use rustix::time::{ClockId, clock_gettime};
use support::Source;
use support::target::{Revision, Target};

const FILES: u32 = 4_000;
/// The least of so many runs counts.
const RUNS: usize = 5;

/// Processor time is the whole process's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn processor_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

fn cost_of<T>(mut work: impl FnMut() -> T) -> f64 {
    (0..RUNS).map(|_| cost_once(&mut work)).fold(f64::INFINITY, f64::min)
}

fn cost_once<T>(work: impl FnOnce() -> T) -> f64 {
    let begun = processor_time();
    black_box(work());
    (processor_time() - begun).as_secs_f64()
}

/// Some 40 MB that compress by half, as programs and texts do.
fn tree() -> Source {
    let source = Source::new();
    for n in 0..FILES {
        let bytes = 2_000 + n * 7 % 16_000;
        let noise = support::noise(&format!("{n}"), bytes as usize / 2);
        let content: Vec<u8> = noise.iter().flat_map(|&b| [b, b'e']).collect();
        source.write(&format!("folder-{:02}/file-{n}.txt", n % 50), content);
    }
    source
}

fn built(source: &Source, previous: Option<&Index>, hints: Option<&Hints>) -> Built {
    built_into(&mut Vec::new(), source, previous, hints)
}

fn built_into(packs: &mut Vec<Pack>, source: &Source, previous: Option<&Index>, hints: Option<&Hints>) -> Built {
    let watch = Watch::default();
    let tree = walk(&source.sources(), 2, &watch).unwrap();
    build(Input { tree, previous, lost: &HashSet::new(), hints, threads: 2, watch: &watch }, packs).unwrap()
}

fn revision(number: u64, source: &Source, previous: Option<&Revision>) -> Revision {
    let mut packs = Vec::new();
    let built = built_into(&mut packs, source, previous.map(|previous| &*previous.index), None);
    let revision = Revision::new(number, built.index, &packs);
    match previous {
        Some(previous) => revision.upon(previous),
        None => revision,
    }
}

fn files(source: &Source) -> Vec<PathBuf> {
    (0..FILES).map(|n| source.path(&format!("folder-{:02}/file-{n}.txt", n % 50))).collect()
}

fn at_most(what: &str, most: f64, ours: f64, least: f64) {
    let ratio = ours / least;
    println!("{what}: {ratio:.2} ({:.1} ms, at least {:.1} ms)", ours * 1e3, least * 1e3);
    assert!(ratio < most, "{what}: {ratio:.2} times the least, not {most}");
}

#[test]
fn a_first_build_costs_less_than_reading_hashing_and_compressing_each_file() {
    let (_alone, source) = (alone(), tree());
    let files = files(&source);
    let least = cost_of(|| {
        let mut pile = Vec::new();
        for file in &files {
            let content = fs::read(file).unwrap();
            black_box(blake3::hash(&content));
            pile.extend(content);
            if pile.len() > 512 * 1_024 {
                black_box(zstd::bulk::compress(&pile, 3).unwrap());
                pile.clear();
            }
        }
    });
    at_most("a first build", 0.9, cost_of(|| built(&source, None, None)), least);
}

#[test]
fn an_unchanged_build_costs_little_more_than_a_look_at_each_file() {
    let (_alone, source) = (alone(), tree());
    let first = built(&source, None, None);
    let later_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64 + 60_000_000_000;
    let hints = Hints::open(first.hints("here", later_ns), "here").unwrap();
    let files = files(&source);
    let least = cost_of(|| files.iter().map(|file| fs::symlink_metadata(file).unwrap().len()).sum::<u64>());
    let ours = cost_of(|| {
        let second = built(&source, Some(&first.index), Some(&hints));
        assert_eq!(second.files_read, 0);
        second
    });
    at_most("an unchanged build", 4.0, ours, least);
}

#[test]
fn opening_an_index_costs_little_more_than_unpacking_and_copying_it() {
    let _alone = alone();
    let index = built(&tree(), None, None).index;
    let sealed = index.seal();
    let least =
        cost_of(|| (blake3::hash(&sealed.bytes), IndexContent::of(&sealed.bytes).unwrap(), Index::clone(&index)));
    at_most("an index", 4.0, cost_of(|| Index::open(&sealed.bytes, &sealed.at).unwrap()), least);
}

/// What a program would do that trusts everybody: unpack, write, and set modes and times.
fn unpack(revision: &Revision, into: &Path) {
    use package::tree::Frames;
    let index = &revision.index;
    let frames: Vec<_> = (0..index.frames.len() as u32).map(|at| revision.frame(at).unwrap()).collect();
    for entry in &index.entries {
        let path = into.join(&entry.path);
        match &entry.kind {
            EntryKind::File { refs, .. } => {
                let content: Vec<&[u8]> = index
                    .chunks_of(refs)
                    .map(|chunk| &frames[chunk.frame as usize][chunk.offset as usize..][..chunk.bytes as usize])
                    .collect();
                fs::write(&path, content.concat()).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode)).unwrap();
                let modified = UNIX_EPOCH + Duration::from_nanos(entry.mtime_ns as u64);
                fs::File::open(&path).unwrap().set_modified(modified).unwrap();
            }
            _ => fs::create_dir_all(&path).unwrap(),
        }
    }
}

#[test]
fn a_first_extraction_costs_little_more_than_unpacking_and_writing_each_file() {
    let (_alone, source) = (alone(), tree());
    let first = revision(1, &source, None);
    let folders: Vec<_> = (0..RUNS).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut next = folders.iter();
    let least = cost_of(|| unpack(&first, next.next().unwrap().path()));
    let targets: Vec<_> = (0..RUNS).map(|_| Target::new()).collect();
    let mut next = targets.iter();
    let ours = cost_of(|| assert_eq!(next.next().unwrap().mirror(&first).files_written, u64::from(FILES)));
    at_most("a first extraction", 2.0, ours, least);
}

#[test]
fn an_extraction_that_changes_little_costs_little_more_than_a_look_at_each_file() {
    let (_alone, source) = (alone(), tree());
    let mut last = revision(1, &source, None);
    let target = Target::new();
    target.mirror(&last);
    target.prepare(&last);
    let mut ours = f64::INFINITY;
    for n in 0..RUNS as u64 {
        source.write("folder-00/file-0.txt", support::noise(&format!("changed {n}"), 3_000));
        let next = revision(n + 2, &source, Some(&last));
        ours = ours.min(cost_once(|| assert_eq!(target.mirror(&next).files_written, 1)));
        last = next;
    }
    let files: Vec<_> =
        files(&source).iter().map(|file| target.path().join(file.strip_prefix(source.path("")).unwrap())).collect();
    let least = cost_of(|| files.iter().map(|file| fs::symlink_metadata(file).unwrap().len()).sum::<u64>());
    at_most("a small extraction", 4.0, ours, least);
}

//! From a listed tree to new packs and a new index. Reading, cutting, hashing and compressing run on all threads;
//! one thread puts the results in order, so that the output depends on the tree and the previous index alone.

mod assemble;
mod buffer;
mod desk;
mod extras;
mod holes;
mod pack;
mod plan;
mod read;
mod sequence;

use std::collections::HashSet;
use std::sync::Arc;
use std::thread;

use schemas::Digest;
use schemas::definitions::FileSource;

use crate::diff::diff;
use crate::extras::Keeps;
use crate::hints::{Hints, HintsWriter, content_id};
use crate::index::{EntryKind, Index};
use crate::source_error::BuildError;
use crate::walk::{Stat, Tree, walk_keeping};
use crate::watch::Watch;

pub use pack::{Pack, PackSink, SinkClosed};

/// More threads than this only wait for the one that orders.
pub const THREADS_MAX: usize = 16;

pub struct Input<'a> {
    pub tree: Tree,
    /// Its chunks are not stored again.
    pub previous: Option<&'a Index>,
    /// Packs of `previous` that storage has no more: chunks in them are stored again.
    pub lost: &'a HashSet<Digest>,
    /// Only of use together with `previous`.
    pub hints: Option<&'a Hints>,
    /// That read and compress; the caller's own orders.
    pub threads: usize,
    pub watch: &'a Watch,
}

#[derive(Debug)]
pub struct Built {
    pub index: Arc<Index>,
    /// The packs of `index` that this build made.
    pub new_packs: HashSet<Digest>,
    /// Files whose content had to be read.
    pub files_read: u64,
    pub bytes_read: u64,
    /// Of each file, in order of `index.entries`.
    stats: Vec<Stat>,
}

/// Every new pack goes to `sink`, in order; a slow sink slows the build down and makes nothing pile up.
pub fn build(input: Input, sink: &mut dyn PackSink) -> Result<Built, BuildError> {
    let plan = plan::Plan::new(&input, &plan::Sizes::default())?;
    run(input, plan, sink)
}

/// Without hints, on one thread, all packs in memory: for small trees.
pub fn build_simply(sources: &[FileSource], previous: Option<&Index>) -> Result<(Built, Vec<Pack>), BuildError> {
    build_keeping(sources, Keeps::default(), previous)
}

/// As `build_simply`, with what is kept beyond modes and times.
pub fn build_keeping(
    sources: &[FileSource],
    keeps: Keeps,
    previous: Option<&Index>,
) -> Result<(Built, Vec<Pack>), BuildError> {
    let watch = Watch::default();
    let tree = walk_keeping(sources, keeps, 1, &watch)?;
    let mut packs = Vec::new();
    let input = Input { tree, previous, lost: &HashSet::new(), hints: None, threads: 1, watch: &watch };
    let built = build(input, &mut packs)?;
    Ok((built, packs))
}

fn run(input: Input, plan: plan::Plan, sink: &mut dyn PackSink) -> Result<Built, BuildError> {
    let Input { tree, previous, lost, watch, .. } = input;
    let threads = input.threads.clamp(1, THREADS_MAX);
    watch.expect(plan.files, plan.bytes);
    watch.done(plan.files - plan.files_to_read, plan.bytes - plan.bytes_to_read);
    let desk = desk::Desk::new(threads, plan.units.len());
    let mut sequence = sequence::Sequence::new(previous, lost, plan.files_to_read > 0, desk.buffers.clone());
    let mut packer = pack::Packer::new(sink);
    thread::scope(|scope| {
        for _ in 0..threads.min(plan.units.len()) {
            scope.spawn(|| desk.work(&read::Reading { tree: &tree, units: &plan.units, watch }));
        }
        desk.order(&mut sequence, &mut packer, watch)
    })?;
    let (files_read, bytes_read) = (plan.files_to_read, sequence.bytes_read);
    let parts = assemble::Parts { known: plan.known, sequence, packs: packer.finish()?, previous };
    let (index, stats, new_packs) = assemble::assemble(tree, parts);
    Ok(Built { index: Arc::new(index), new_packs, files_read, bytes_read, stats })
}

impl Built {
    /// True if this is not worth a revision: a directory's time alone says that somebody worked in it, perhaps on what
    /// is excluded, and is not content.
    pub fn is_same_as(&self, previous: &Index) -> bool {
        let diff = diff(previous, &self.index);
        let only_folder_times = |changed: &crate::diff::Changed| {
            let folder = self.index.entries[changed.new as usize].kind == EntryKind::Directory;
            folder && !changed.content && !changed.mode && !changed.extras
        };
        diff.added.is_empty() && diff.removed.is_empty() && diff.changed.iter().all(only_folder_times)
    }

    /// How a file stood when it was read.
    pub fn stat_of(&self, path: &str) -> Option<Stat> {
        let files = self.index.entries.iter().filter(|entry| matches!(entry.kind, EntryKind::File { .. }));
        files.zip(&self.stats).find(|(entry, _)| entry.path == path).map(|(_, stat)| *stat)
    }

    /// Files, by position in the index, that stand as `hints` remember them and hold something else: what a build that
    /// trusts its hints does not see.
    pub fn unseen_by(&self, hints: &Hints) -> Vec<u32> {
        let mut hints = hints.read();
        let mut stats = self.stats.iter();
        let mut unseen = Vec::new();
        for (at, entry) in self.index.entries.iter().enumerate() {
            let EntryKind::File { refs, .. } = &entry.kind else { continue };
            let remembered = stats.next().and_then(|stat| hints.content_of(&entry.path, stat));
            let content = || content_id(self.index.chunks_of(refs).map(|chunk| &chunk.digest));
            if remembered.is_some_and(|remembered| remembered != content()) {
                unseen.push(at as u32);
            }
        }
        unseen
    }

    /// What the next build on this machine may know; `began_ns` is the time just before the tree was listed.
    pub fn hints(&self, machine: &str, began_ns: i64) -> Vec<u8> {
        let mut writer = HintsWriter::new(machine, began_ns);
        let files = self.index.entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::File { refs, .. } => Some((&entry.path, refs)),
            _ => None,
        });
        for ((path, refs), stat) in files.zip(&self.stats) {
            writer.add(path, stat, &content_id(self.index.chunks_of(refs).map(|chunk| &chunk.digest)));
        }
        writer.finish()
    }
}

//! The new index from what is known and what was read: only what a file names stays, in the order that the format
//! asks for.

use std::collections::{HashMap, HashSet};

use schemas::{Digest, PackRef};

use super::extras::ExtrasMaker;
use super::pack::Packed;
use super::sequence::Sequence;
use crate::extras::HardLink;
use crate::index::{Chunk, Entry, EntryKind, Frame, Index};
use crate::walk::{Found, FoundKind, Stat, Tree};

const GONE: u32 = u32::MAX;

pub(super) struct Parts<'a> {
    pub known: Vec<Option<u32>>,
    pub sequence: Sequence<'a>,
    pub packs: Packed,
    pub previous: Option<&'a Index>,
}

pub(super) fn assemble(tree: Tree, parts: Parts) -> (Index, Vec<Stat>, HashSet<Digest>) {
    let mut index = Index { entries: Vec::with_capacity(tree.entries.len()), ..Index::default() };
    let mut stats = Vec::with_capacity(tree.entries.len());
    add_entries(&mut index, &mut stats, tree, &parts);
    let empty = Index::default();
    let previous = parts.previous.unwrap_or(&empty);
    let Packed { frames, packs } = parts.packs;
    let new_packs = packs.iter().map(|pack| pack.digest).collect();
    let mut all = Tables {
        chunks: joined(&previous.chunks, parts.sequence.new_chunks),
        frames: joined(&previous.frames, frames),
        packs: joined(&previous.packs, packs),
    };
    all.chunks[previous.chunks.len()..].iter_mut().for_each(|chunk| chunk.frame += previous.frames.len() as u32);
    all.frames[previous.frames.len()..].iter_mut().for_each(|frame| frame.pack += previous.packs.len() as u32);
    keep_what_is_named(&mut index, all);
    (index, stats, new_packs)
}

/// A million files' tables are worth not copying.
fn joined<T: Clone>(old: &[T], mut new: Vec<T>) -> Vec<T> {
    new.splice(..0, old.iter().cloned());
    new
}

struct Tables {
    chunks: Vec<Chunk>,
    frames: Vec<Frame>,
    packs: Vec<PackRef>,
}

/// `chunk_refs` get the numbers that `Sequence` gave: positions among all chunks, old and new.
fn add_entries(index: &mut Index, stats: &mut Vec<Stat>, tree: Tree, parts: &Parts) {
    let mut read = parts.sequence.files.iter().peekable();
    let mut extras = ExtrasMaker::new(tree.keeps);
    let mut links = tree.hard_links.iter().peekable();
    let mut stat_of: HashMap<u32, Stat> = HashMap::new();
    let firsts: HashSet<u32> = tree.hard_links.iter().map(|link| link.first).collect();
    for (at, found) in tree.entries.into_iter().enumerate() {
        if let Some(link) = links.next_if(|link| link.entry == at as u32) {
            add_name(index, found.path, *link);
            extras.add_name(*link);
            stats.push(stat_of[&link.first]);
            continue;
        }
        let Found { path, kind, mut mode, mut mtime_ns, is_sparse, mut extra, .. } = found;
        let kind = match kind {
            FoundKind::Directory => EntryKind::Directory,
            FoundKind::Link { target } => EntryKind::Link { target },
            FoundKind::File(mut stat) => {
                let start = index.chunk_refs.len() as u32;
                if let Some((previous, old)) = parts.previous.zip(parts.known[at]) {
                    if let EntryKind::File { refs, .. } = &previous.entries[old as usize].kind {
                        index
                            .chunk_refs
                            .extend_from_slice(&previous.chunk_refs[refs.start as usize..refs.end as usize]);
                    }
                } else if let Some(file) = read.next_if(|file| file.file == at as u32) {
                    let refs = file.refs.start as usize..file.refs.end as usize;
                    index.chunk_refs.extend_from_slice(&parts.sequence.refs[refs]);
                    if let Some(fresh) = &file.fresh {
                        (stat, mode, mtime_ns) = (fresh.stat, fresh.mode, fresh.stat.mtime_ns);
                        extra = fresh.extra.clone();
                    }
                }
                if firsts.contains(&(at as u32)) {
                    stat_of.insert(at as u32, stat);
                }
                stats.push(stat);
                EntryKind::File { bytes: stat.bytes, refs: start..index.chunk_refs.len() as u32 }
            }
        };
        index.entries.push(Entry { path, kind, mode, mtime_ns });
        extras.add(is_sparse, extra);
    }
    index.extras = extras.finish();
}

/// A further name of a file that is there: it says the same of it.
fn add_name(index: &mut Index, path: String, link: HardLink) {
    let first = index.entries[link.first as usize].clone();
    let EntryKind::File { bytes, refs } = first.kind else { unreachable!("only files have several names") };
    let start = index.chunk_refs.len() as u32;
    index.chunk_refs.extend_from_within(refs.start as usize..refs.end as usize);
    let kind = EntryKind::File { bytes, refs: start..index.chunk_refs.len() as u32 };
    index.entries.push(Entry { path, kind, ..first });
}

fn keep_what_is_named(index: &mut Index, all: Tables) {
    let mut chunk_at = vec![GONE; all.chunks.len()];
    index.chunk_refs.iter().for_each(|&at| chunk_at[at as usize] = 0);
    let mut frame_at = vec![GONE; all.frames.len()];
    all.chunks.iter().zip(&chunk_at).filter(|(_, at)| **at != GONE).for_each(|(c, _)| frame_at[c.frame as usize] = 0);
    let mut pack_at = vec![GONE; all.packs.len()];
    all.frames.iter().zip(&frame_at).filter(|(_, at)| **at != GONE).for_each(|(f, _)| pack_at[f.pack as usize] = 0);
    for at in [&mut chunk_at, &mut frame_at, &mut pack_at] {
        at.iter_mut().filter(|at| **at != GONE).zip(0..).for_each(|(at, position)| *at = position);
    }
    index.chunks = kept(all.chunks, &chunk_at);
    index.chunks.iter_mut().for_each(|chunk| chunk.frame = frame_at[chunk.frame as usize]);
    index.frames = kept(all.frames, &frame_at);
    index.frames.iter_mut().for_each(|frame| frame.pack = pack_at[frame.pack as usize]);
    index.packs = kept(all.packs, &pack_at);
    index.chunk_refs.iter_mut().for_each(|at| *at = chunk_at[*at as usize]);
}

fn kept<T>(mut all: Vec<T>, at: &[u32]) -> Vec<T> {
    let mut at = at.iter();
    all.retain(|_| at.next().is_some_and(|at| *at != GONE));
    all
}

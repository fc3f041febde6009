//! What of the base revision is like what a new one adds: the same stretch of the same file, or of the one that it was
//! before it was renamed. Pure; it reads no content.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use schemas::Digest;

use super::frames::Region;
use super::twins::Twins;
use crate::index::{Chunk, EntryKind, Index};
use crate::limits::{PATCH_BASE_BYTES_MAX, PATCH_PART_RAW_BYTES, PATCH_PARTS_MAX, PATCH_REGION_BYTES_MAX};

/// Old stretches up to this size are taken whole; of longer ones only what lies around the same place.
const STRETCH_BYTES_WHOLE: u64 = 1 << 20;
/// How far what is alike may have moved within a long stretch.
const SLACK_BYTES: u64 = 256 << 10;
const NOT_NEW: u32 = u32::MAX;

/// The frames that `new` has and `base` has not, in parts, each in regions, each with the chunks of `base` that it is
/// compared with. Frames beyond the last part are left out.
pub fn plan(base: &Index, new: &Index) -> Vec<Vec<Region>> {
    let relatives = Relatives::of(base, new);
    let mut parts: Vec<Vec<Region>> = Vec::new();
    let mut part_bytes = 0;
    for region in regions(base, new, relatives) {
        let bytes = region.content_bytes(new);
        if parts.is_empty() || part_bytes + bytes > PATCH_PART_RAW_BYTES {
            if parts.len() == PATCH_PARTS_MAX as usize {
                break;
            }
            parts.push(Vec::new());
            part_bytes = 0;
        }
        part_bytes += bytes;
        parts.last_mut().expect("a part was begun").push(region);
    }
    parts
}

fn regions(base: &Index, new: &Index, relatives: Relatives) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    let (mut content_bytes, mut base_bytes) = (0, 0);
    // Which region has named a chunk of the base last.
    let mut named_in = vec![usize::MAX; base.chunks.len()];
    for (frame, bases) in relatives.frames.into_iter().zip(relatives.bases) {
        let raw_bytes = u64::from(new.frames[frame as usize].raw_bytes);
        let more = |named_in: &[usize], region: usize| {
            let fresh = bases.iter().filter(|&&at| named_in[at as usize] != region);
            fresh.map(|&at| u64::from(base.chunks[at as usize].bytes)).sum::<u64>()
        };
        let full = regions.last().is_none_or(|_| {
            content_bytes + raw_bytes > PATCH_REGION_BYTES_MAX
                || base_bytes + more(&named_in, regions.len() - 1) > PATCH_BASE_BYTES_MAX
        });
        if full {
            regions.push(Region::default());
            (content_bytes, base_bytes) = (0, 0);
        }
        let at = regions.len() - 1;
        let region = &mut regions[at];
        content_bytes += raw_bytes;
        region.frames.push(frame);
        for position in bases {
            let bytes = u64::from(base.chunks[position as usize].bytes);
            if named_in[position as usize] != at && base_bytes + bytes <= PATCH_BASE_BYTES_MAX {
                named_in[position as usize] = at;
                base_bytes += bytes;
                region.bases.push(position);
            }
        }
    }
    regions
}

/// For each frame that only the new revision has, chunks of the base (positions) that are like its content.
struct Relatives {
    frames: Vec<u32>,
    bases: Vec<Vec<u32>>,
}

impl Relatives {
    fn of(base: &Index, new: &Index) -> Relatives {
        let mut held: Vec<Digest> = base.frames.iter().map(|frame| frame.digest).collect();
        held.sort_unstable();
        let is_new = |frame: &u32| held.binary_search(&new.frames[*frame as usize].digest).is_err();
        let frames: Vec<u32> = (0..new.frames.len() as u32).filter(is_new).collect();
        let mut place = vec![NOT_NEW; new.frames.len()];
        frames.iter().zip(0..).for_each(|(&frame, at)| place[frame as usize] = at);
        let mut finder = Finder { base, new, place, bases: vec![Vec::new(); frames.len()], done: HashSet::new() };
        if !frames.is_empty() {
            finder.look_at_files();
        }
        Relatives { frames, bases: finder.bases }
    }
}

struct Finder<'a> {
    base: &'a Index,
    new: &'a Index,
    /// Of each frame of `new`: its place in `bases`.
    place: Vec<u32>,
    bases: Vec<Vec<u32>>,
    /// New chunks that have their relatives: the first file that names one decides.
    done: HashSet<u32>,
}

impl Finder<'_> {
    fn look_at_files(&mut self) {
        let (base, new) = (self.base, self.new);
        let (mut at, twins) = (0, OnceCell::new());
        for entry in &new.entries {
            let EntryKind::File { refs, .. } = &entry.kind else { continue };
            let chunks = &new.chunk_refs[refs.start as usize..refs.end as usize];
            if !chunks.iter().any(|&chunk| self.is_new(chunk)) {
                continue;
            }
            while base.entries.get(at).is_some_and(|old| old.path < entry.path) {
                at += 1;
            }
            let same_path = base.entries.get(at).filter(|old| old.path == entry.path);
            let twin = || {
                let twins = twins.get_or_init(|| Twins::of(base, new));
                twins.find(new, entry).map(|at| &base.entries[at as usize])
            };
            let Some(old) = same_path.or_else(twin) else { continue };
            let EntryKind::File { refs, .. } = &old.kind else { continue };
            let old = &base.chunk_refs[refs.start as usize..refs.end as usize];
            self.compare(old, chunks);
        }
    }

    fn is_new(&self, chunk: u32) -> bool {
        self.place[self.new.chunks[chunk as usize].frame as usize] != NOT_NEW
    }

    /// Two versions of a file as positions of their chunks: a run of new chunks is like what stood between the same
    /// neighbours.
    fn compare(&mut self, old: &[u32], new: &[u32]) {
        let old_places = places_of(old, &self.base.chunks);
        let places = |at: usize| old_places.get(&self.new.chunks[new[at] as usize].digest).map(Vec::as_slice);
        let behind = |places: &[usize], from: usize| places.get(places.partition_point(|&place| place < from)).copied();
        let (mut at, mut reached) = (0, 0);
        while at < new.len() {
            if let Some(places) = places(at) {
                reached = behind(places, reached).unwrap_or(places[0]) + 1;
                at += 1;
                continue;
            }
            let end = (at..new.len()).find(|&next| places(next).is_some()).unwrap_or(new.len());
            let until = match end < new.len() {
                true => places(end).and_then(|places| behind(places, reached)),
                false => Some(old.len()),
            };
            // What followed stands elsewhere now: as much as is new is as good a guess as any.
            let until = until.unwrap_or(reached + (end - at)).min(old.len());
            self.pair(&old[reached.min(until)..until], &new[at..end]);
            at = end;
        }
    }

    fn pair(&mut self, old: &[u32], new: &[u32]) {
        let old_ends = ends(old, &self.base.chunks);
        let new_ends = ends(new, &self.new.chunks);
        let (Some(&old_bytes), Some(&new_bytes)) = (old_ends.last(), new_ends.last()) else { return };
        let mut begin = 0;
        for (&chunk, &end) in new.iter().zip(&new_ends) {
            let place = self.place[self.new.chunks[chunk as usize].frame as usize];
            if place != NOT_NEW && self.done.insert(chunk) {
                let around = match old_bytes <= STRETCH_BYTES_WHOLE {
                    true => 0..old.len(),
                    false => window(&old_ends, scaled(begin, old_bytes, new_bytes)..scaled(end, old_bytes, new_bytes)),
                };
                self.bases[place as usize].extend_from_slice(&old[around]);
            }
            begin = end;
        }
    }
}

/// Where each content stands, ascending.
fn places_of(refs: &[u32], chunks: &[Chunk]) -> HashMap<Digest, Vec<usize>> {
    let mut places: HashMap<Digest, Vec<usize>> = HashMap::with_capacity(refs.len());
    for (at, &chunk) in refs.iter().enumerate() {
        places.entry(chunks[chunk as usize].digest).or_default().push(at);
    }
    places
}

/// Where each of these chunks ends when they stand one after the other.
fn ends(refs: &[u32], chunks: &[Chunk]) -> Vec<u64> {
    let sum = |end: &mut u64, &at: &u32| {
        *end += u64::from(chunks[at as usize].bytes);
        Some(*end)
    };
    refs.iter().scan(0, sum).collect()
}

fn scaled(at: u64, to_bytes: u64, of_bytes: u64) -> u64 {
    (u128::from(at) * u128::from(to_bytes) / u128::from(of_bytes.max(1))) as u64
}

/// The chunks that `range` and what lies around it touch.
fn window(ends: &[u64], range: Range<u64>) -> Range<usize> {
    let first = ends.partition_point(|&end| end <= range.start.saturating_sub(SLACK_BYTES));
    let last = ends.partition_point(|&end| end < range.end.saturating_add(SLACK_BYTES));
    first..(last + 1).min(ends.len())
}

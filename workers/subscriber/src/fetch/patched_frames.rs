//! Frames out of patches: what they start from is read from the extracted tree or the store, and what comes out is what the
//! index names, or is not used. It knows no request.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use bytes::Bytes;
use package::limits::PATCH_BYTES_MAX;
use package::patch::{FramesPatch, IndexContent, PatchName, Region};
use package::tree::Held;
use package::{Index, Tables, decode_frame};
use schemas::{IndexRef, StoreId};

use super::manifest::Manifest;
use super::patched::{Unusable, WORTH_ASKING_BYTES, ask, base};
use super::{Depot, Fetch, Patched, Plan};
use crate::halt::{Halt, blocking};
use crate::space;
use crate::store::{FrameRef, StoreError};

/// Regions that are put together at the same time, each with some 20 MiB.
const THREADS_MAX: usize = 2;

/// Part after part, until one is not to be had or nothing is left to patch.
pub async fn bring(
    fetch: &Fetch<'_>,
    manifest: &Manifest,
    plan: Plan,
    held: Option<Arc<Held>>,
) -> Result<Patched, Halt> {
    let mut patched = Patched { plan, bytes: 0 };
    if patched.plan.bytes < WORTH_ASKING_BYTES {
        return Ok(patched);
    }
    let Some(base) = base(fetch).await? else { return Ok(patched) };
    let (mut part, mut parts) = (0, 1);
    while part < parts && patched.plan.bytes >= WORTH_ASKING_BYTES {
        space::check(&fetch.depot.folder, patched.plan.bytes, &fetch.depot.floor)?;
        let name = PatchName::frames(base.digest, manifest.header.index.digest, part);
        let bytes_max = patched.plan.bytes.min(PATCH_BYTES_MAX);
        let Some(object) = ask(fetch, &name, bytes_max).await? else { break };
        let workshop = Workshop {
            id: fetch.id,
            index: manifest.index.clone(),
            held: held.clone(),
            wanted: patched.plan.frames.iter().copied().collect(),
            depot: fetch.depot.clone(),
        };
        let bytes = object.len() as u64;
        fetch.observe("patched").await?;
        match blocking(move || workshop.make(&base, &name, &object)).await? {
            Ok((made, of)) => {
                parts = of;
                patched.without(&made, bytes, manifest, fetch);
            }
            Err(error) => {
                tracing::warn!(store = %fetch.id, part, %error, "a patch of frames is not used");
                break;
            }
        }
        part += 1;
    }
    Ok(patched)
}

impl Patched {
    fn without(&mut self, made: &HashSet<u32>, bytes: u64, manifest: &Manifest, fetch: &Fetch<'_>) {
        if made.is_empty() {
            return;
        }
        let before = self.plan.bytes;
        let left = self.plan.frames.iter().copied().filter(|frame| !made.contains(frame)).collect();
        self.plan = Plan::of(&manifest.index, left);
        self.bytes += bytes;
        fetch.context.progress.add_bytes(before - self.plan.bytes);
    }
}

/// What putting frames together takes.
struct Workshop {
    depot: Depot,
    id: StoreId,
    index: Arc<Index>,
    held: Option<Arc<Held>>,
    /// Frames that are lacking.
    wanted: HashSet<u32>,
}

impl Workshop {
    /// The frames that are in the store now, and how many parts there are. A region that fails costs its frames only.
    fn make(&self, base: &IndexRef, name: &PatchName, object: &Bytes) -> Result<(HashSet<u32>, u32), Unusable> {
        let tables = self.tables(base)?;
        let patch = FramesPatch::open(name, object, &tables.chunks, &self.index)?;
        let of_use = |region: &Region| region.frames.iter().any(|frame| self.wanted.contains(frame));
        let regions: Vec<usize> = (0..patch.regions.len()).filter(|&at| of_use(&patch.regions[at].0)).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut made = Vec::new();
            while let Some(&region) = regions.get(next.fetch_add(1, Relaxed))
                && space::shortage(&self.depot.folder, &self.depot.floor).is_none()
            {
                match self.region(&patch, region, &tables, object) {
                    Ok(frames) => made.extend(frames),
                    Err(error) => tracing::debug!(store = %self.id, region, %error, "a patched region is not used"),
                }
            }
            made
        };
        let made = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS_MAX.min(regions.len())).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        });
        Ok((made, patch.parts))
    }

    /// Of the base, which has its tree in memory no longer than it is read.
    fn tables(&self, base: &IndexRef) -> Result<Tables, Unusable> {
        let stored = self.depot.store.index(self.id, base.digest)?.ok_or(Unusable::BaseGone)?;
        let content = IndexContent::of(&stored)?;
        drop(stored);
        Ok(content.tables()?)
    }

    fn region(
        &self,
        patch: &FramesPatch,
        region: usize,
        tables: &Tables,
        object: &Bytes,
    ) -> Result<Vec<u32>, Unusable> {
        let base = self.base_of(&patch.regions[region].0, tables)?;
        let mut made = Vec::new();
        for (at, stored) in patch.frames(region, object, &base, &self.index)? {
            if self.wanted.contains(&at) {
                let frame = &self.index.frames[at as usize];
                let pack = self.index.packs[frame.pack as usize].digest;
                self.depot.store.put_frame(self.id, pack, FrameRef::from(frame), &stored)?;
                made.push(at);
            }
        }
        Ok(made)
    }

    /// What the region's chunks hold, from the tree where it has them, else from the store.
    fn base_of(&self, region: &Region, tables: &Tables) -> Result<Vec<u8>, Unusable> {
        let mut base = Vec::with_capacity(region.base_bytes(&tables.chunks) as usize);
        let mut last: Option<(u32, Vec<u8>)> = None;
        for &at in &region.bases {
            let chunk = &tables.chunks[at as usize];
            if let Some(content) = self.held.as_ref().and_then(|held| held.read(&chunk.digest)) {
                base.extend_from_slice(&content);
                continue;
            }
            if last.as_ref().is_none_or(|(frame, _)| *frame != chunk.frame) {
                let raw = self.stored_frame(chunk.frame, tables)?.ok_or(Unusable::ChunkGone(chunk.digest))?;
                last = Some((chunk.frame, raw));
            }
            let raw = last.as_ref().map_or(&[][..], |(_, raw)| raw);
            base.extend_from_slice(&raw[chunk.offset as usize..(chunk.offset + chunk.bytes) as usize]);
        }
        Ok(base)
    }

    fn stored_frame(&self, at: u32, tables: &Tables) -> Result<Option<Vec<u8>>, Unusable> {
        let frame = &tables.frames[at as usize];
        let pack = tables.packs[frame.pack as usize].digest;
        let stored: Result<_, StoreError> = self.depot.store.frame(self.id, pack, FrameRef::from(frame));
        Ok(stored?.map(|stored| decode_frame(frame, &stored)).transpose()?)
    }
}

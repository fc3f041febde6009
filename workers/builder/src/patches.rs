//! Patches against the previous revision, into storage. Nobody needs them, so that trouble with one is logged and never a
//! fault. That of the index is made with it; those of frames are made when the build is over, one revision at a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use blobs::{Blobs, Key};
use bytes::Bytes;
use package::Index;
use package::patch::{self, IndexContent, PartWriter, PatchName, Region, make_index};
use schemas::{Digest, IndexRef, StoreId};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::previous::Previous;
use crate::read_back::{ReadBackError, Wanted, read_back};
use crate::upload::{self, Uploaded};

/// Revisions that wait for their patches, with their indexes in memory; further ones get none.
const WAITING_MAX: usize = 2;
/// Bytes read back from storage for one revision; regions beyond that get no patch.
const READ_BYTES_MAX: u64 = 1 << 30;

/// The patch that gives the new index from the previous one, if it is smaller. It takes a fraction of the time that the
/// index's upload takes.
pub(crate) async fn put_index(
    blobs: &dyn Blobs,
    store: StoreId,
    previous: Option<Arc<Previous>>,
    (at, stored): (IndexRef, Bytes),
) -> Uploaded {
    let Some(previous) = previous else { return Uploaded::default() };
    let name = PatchName::index(previous.digest, at.digest);
    let make = move || {
        let (base, new) = (IndexContent::of(&previous.stored).ok()?, IndexContent::of(&stored).ok()?);
        make_index(&name, &base, &new, at.bytes)
    };
    match spawn_blocking(make).await {
        Ok(Some(patch)) => put(blobs, store, &name, patch).await,
        Ok(None) => Uploaded::default(),
        Err(error) => {
            tracing::warn!(%store, %error, "the index's patch was not made");
            Uploaded::default()
        }
    }
}

async fn put(blobs: &dyn Blobs, store: StoreId, name: &PatchName, patch: Vec<u8>) -> Uploaded {
    let key = Key::patch(store, name.digest());
    match upload::put(blobs, key, patch.into()).await {
        Ok(uploaded) => uploaded,
        Err(fault) => {
            tracing::warn!(%key, %fault, "a patch was not stored: sites fetch what it would have spared");
            Uploaded::default()
        }
    }
}

/// Two revisions of a distribution, both in storage.
#[derive(Clone)]
pub(crate) struct Pair {
    pub store: StoreId,
    pub base: Arc<Index>,
    pub new: Arc<Index>,
    /// Of the two indexes as they are stored.
    pub digests: (Digest, Digest),
}

/// Makes patches of frames beside the builds, until it is stopped.
pub struct Patcher {
    line: mpsc::Sender<Pair>,
    task: JoinHandle<()>,
}

impl Patcher {
    pub fn start(blobs: Arc<dyn Blobs>, stop: CancellationToken) -> Patcher {
        let (line, mut pairs) = mpsc::channel::<Pair>(WAITING_MAX);
        let work = async move {
            while let Some(pair) = pairs.recv().await {
                if let Err(error) = put_frames(&*blobs, &pair).await {
                    tracing::warn!(store = %pair.store, %error, "patches of frames were not made");
                }
            }
        };
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
        Patcher { line, task }
    }

    /// Returns at once: nobody waits for a patch.
    pub(crate) fn take(&self, pair: Pair) {
        let store = pair.store;
        if self.line.try_send(pair).is_err() {
            tracing::info!(%store, "too many revisions wait for their patches: this one gets none");
        }
    }

    /// Returns when what was taken is done, or after a stop.
    pub async fn ended(self) {
        drop(self.line);
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the making of patches ended early");
        }
    }
}

/// Part 0 comes last: it says how many there are.
async fn put_frames(blobs: &dyn Blobs, pair: &Pair) -> Result<(), ReadBackError> {
    let planned = pair.clone();
    let parts = spawn_blocking(move || within_reach(&planned)).await?;
    let count = parts.len() as u32;
    for (part, regions) in (0..count).zip(parts).rev() {
        let mut writer = PartWriter::default();
        for region in regions {
            let (base, content) = (base_of(blobs, pair, &region).await?, content_of(blobs, pair, &region).await?);
            let new = pair.new.clone();
            let compared =
                spawn_blocking(move || region.compare(&new, &base, &content).map(|delta| (region, delta))).await?;
            compared.iter().for_each(|(region, delta)| writer.add(region, delta));
        }
        if count == 1 && writer.is_empty() {
            break;
        }
        let name = PatchName::frames(pair.digests.0, pair.digests.1, part);
        put(blobs, pair.store, &name, writer.finish(&name, count)).await;
    }
    Ok(())
}

/// The plan, without the regions that would need more to be read back than is worth it.
fn within_reach(pair: &Pair) -> Vec<Vec<Region>> {
    let mut left = READ_BYTES_MAX;
    let mut parts = patch::plan(&pair.base, &pair.new);
    for part in &mut parts {
        part.retain(|region| {
            let frames: HashSet<u32> = region.bases.iter().map(|&at| pair.base.chunks[at as usize].frame).collect();
            let base: u64 = frames.iter().map(|&at| u64::from(pair.base.frames[at as usize].stored_bytes)).sum();
            let rest = left.checked_sub(base + region.stored_bytes(&pair.new));
            left = rest.unwrap_or(left);
            rest.is_some()
        });
    }
    parts
}

async fn base_of(blobs: &dyn Blobs, pair: &Pair, region: &Region) -> Result<Vec<u8>, ReadBackError> {
    let wanted = region.bases.iter().map(|&id| {
        let chunk = &pair.base.chunks[id as usize];
        let part = chunk.offset as usize..(chunk.offset + chunk.bytes) as usize;
        Wanted { frame: chunk.frame, part, id }
    });
    let found = read_back(blobs, pair.store, &pair.base, wanted.collect()).await?;
    Ok(joined(&region.bases, &found))
}

async fn content_of(blobs: &dyn Blobs, pair: &Pair, region: &Region) -> Result<Vec<u8>, ReadBackError> {
    let wanted = region.frames.iter().map(|&frame| {
        let part = 0..pair.new.frames[frame as usize].raw_bytes as usize;
        Wanted { frame, part, id: frame }
    });
    let found = read_back(blobs, pair.store, &pair.new, wanted.collect()).await?;
    Ok(joined(&region.frames, &found))
}

fn joined(ids: &[u32], found: &HashMap<u32, Vec<u8>>) -> Vec<u8> {
    let parts: Vec<&[u8]> = ids.iter().map(|id| found[id].as_slice()).collect();
    parts.concat()
}

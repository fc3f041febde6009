//! Patches against the previous revisions, into storage. Nobody needs them, so that trouble with one is logged and never a
//! fault. That of the index is made with it. Those of frames against the last revision are made within the build where that is
//! quick, so that a send which begins at once finds them; all others when the build is over, one revision at a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use blobs::{Blobs, Key};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use package::Index;
use package::patch::{self, IndexContent, PartWriter, PatchName, Region, make_index};
use schemas::job::PATCHED_REVISIONS_MAX;
use schemas::{Digest, IndexRef, RevisionRef, StoreId};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::previous::{Previous, load_earlier};
use crate::read_back::{ReadBackError, Wanted, read_back};
use crate::upload::{self, Uploaded};

/// Revisions that wait for their patches, with their stored indexes in memory; further ones get none.
const WAITING_MAX: usize = 2;
/// Bytes read back from storage for one revision; regions beyond that get no patch.
const READ_BYTES_MAX: u64 = 1 << 30;
/// What is quick: bytes read back from storage, and how long it may take, most of it beside the upload of the index.
const EARLY_READ_BYTES_MAX: u64 = 256 << 20;
const EARLY_TIME_MAX: Duration = Duration::from_secs(3);
/// Regions at a time: one is read back while another is compared.
const REGIONS_AT_A_TIME: usize = 2;

/// The patch that gives the new index from an earlier one, if it is smaller. It takes a fraction of the time that the
/// index's upload takes.
pub(crate) async fn put_index(blobs: &dyn Blobs, store: StoreId, base: Option<Stored>, new: Stored) -> Uploaded {
    let Some(base) = base else { return Uploaded::default() };
    let name = PatchName::index(base.at.digest, new.at.digest);
    let make = move || {
        let (base, content) = (IndexContent::of(&base.bytes).ok()?, IndexContent::of(&new.bytes).ok()?);
        make_index(&name, &base, &content, new.at.bytes)
    };
    match spawn_blocking(make).await {
        Ok(Some(patch)) => put(blobs, store, &name, patch).await.unwrap_or_default(),
        Ok(None) => Uploaded::default(),
        Err(error) => {
            tracing::warn!(%store, %error, "the index's patch was not made");
            Uploaded::default()
        }
    }
}

/// `None` if it was not stored.
async fn put(blobs: &dyn Blobs, store: StoreId, name: &PatchName, patch: Vec<u8>) -> Option<Uploaded> {
    let key = Key::patch(store, name.digest());
    let put = upload::put(blobs, key, patch.into()).await;
    put.inspect_err(
        |fault| tracing::warn!(%key, %fault, "a patch was not stored: sites fetch what it would have spared"),
    )
    .ok()
}

/// An index as it is stored.
#[derive(Clone)]
pub(crate) struct Stored {
    pub at: IndexRef,
    pub bytes: Bytes,
}

impl Stored {
    async fn open(&self) -> Result<Arc<Index>, ReadBackError> {
        let own = self.clone();
        Ok(Arc::new(spawn_blocking(move || Index::open(&own.bytes, &own.at)).await??))
    }
}

/// A revision in storage, and those before it that get patches to it. It waits with closed indexes.
pub(crate) struct ToPatch {
    pub store: StoreId,
    pub new: Stored,
    /// The one that it was built on, with the packs of it that are lost, unless all patches against it are there. That of the
    /// index is made by the build.
    pub base: Option<(Stored, HashSet<Digest>)>,
    pub earlier: Vec<RevisionRef>,
}

/// Two revisions of a distribution, the packs of both in storage.
#[derive(Clone)]
pub(crate) struct Pair {
    pub store: StoreId,
    pub base: Arc<Previous>,
    pub new: Arc<Index>,
}

/// The parts of a patch of frames. They get their names when the new index has its digest.
pub(crate) struct Parts {
    pair: Pair,
    parts: Vec<PartWriter>,
}

impl Parts {
    /// `None` if not all of it was stored in time.
    pub async fn put(self, blobs: &dyn Blobs, new: Digest) -> Option<Uploaded> {
        let put = async {
            let count = self.parts.len() as u32;
            let mut uploaded = Uploaded::default();
            for (part, writer) in (0..count).zip(self.parts).rev() {
                uploaded.add(put_part(blobs, &self.pair, new, part, count, writer).await?);
            }
            Some(uploaded)
        };
        tokio::time::timeout(EARLY_TIME_MAX, put).await.ok().flatten()
    }
}

/// Made while the index is; `None` if that takes more than a moment.
pub(crate) async fn early(blobs: &dyn Blobs, pair: Pair) -> Option<Parts> {
    let compared = async {
        let planned = pair.clone();
        let (planned, is_whole) = spawn_blocking(move || within_reach(&planned, EARLY_READ_BYTES_MAX)).await?;
        if !is_whole {
            return Ok(None);
        }
        let mut parts = Vec::with_capacity(planned.len());
        for regions in planned {
            parts.push(compare(blobs, &pair, regions).await?);
        }
        Ok::<_, ReadBackError>(Some(parts))
    };
    match tokio::time::timeout(EARLY_TIME_MAX, compared).await {
        Ok(Ok(parts)) => parts.map(|parts| Parts { pair, parts }),
        Ok(Err(error)) => {
            tracing::warn!(store = %pair.store, %error, "patches of frames are tried again after the build");
            None
        }
        Err(_) => None,
    }
}

impl ToPatch {
    async fn put(&self, blobs: &dyn Blobs) -> Result<(), ReadBackError> {
        let earlier = &self.earlier[..self.earlier.len().min(PATCHED_REVISIONS_MAX as usize - 1)];
        if self.base.is_none() && earlier.is_empty() {
            return Ok(());
        }
        let new = self.new.open().await?;
        let pair = |base| Pair { store: self.store, base: Arc::new(base), new: new.clone() };
        if let Some((stored, lost)) = &self.base {
            let base = Previous { index: stored.open().await?, stored: stored.clone(), lost: lost.clone() };
            put_frames(blobs, &pair(base), self.new.at.digest).await?;
        }
        for &earlier in earlier {
            let Some(base) = load_earlier(blobs, self.store, earlier).await else { continue };
            put_index(blobs, self.store, Some(base.stored.clone()), self.new.clone()).await;
            put_frames(blobs, &pair(base), self.new.at.digest).await?;
        }
        Ok(())
    }
}

/// Makes patches of frames beside the builds, until it is stopped.
pub struct Patcher {
    line: mpsc::Sender<ToPatch>,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Patcher {
    pub fn start(blobs: Arc<dyn Blobs>, stop: CancellationToken) -> Patcher {
        let (line, mut revisions) = mpsc::channel::<ToPatch>(WAITING_MAX);
        let work = async move {
            while let Some(revision) = revisions.recv().await {
                if let Err(error) = revision.put(&*blobs).await {
                    tracing::warn!(store = %revision.store, %error, "patches of frames were not made");
                }
            }
        };
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = work => {}
            }
        });
        Patcher { line, task, stop }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Returns at once: nobody waits for a patch.
    pub(crate) fn take(&self, revision: ToPatch) {
        let store = revision.store;
        if self.line.try_send(revision).is_err() {
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
async fn put_frames(blobs: &dyn Blobs, pair: &Pair, new: Digest) -> Result<(), ReadBackError> {
    let planned = pair.clone();
    let (parts, _) = spawn_blocking(move || within_reach(&planned, READ_BYTES_MAX)).await?;
    let count = parts.len() as u32;
    for (part, regions) in (0..count).zip(parts).rev() {
        let writer = compare(blobs, pair, regions).await?;
        put_part(blobs, pair, new, part, count, writer).await;
    }
    Ok(())
}

/// One that would be empty and alone is not stored.
async fn put_part(
    blobs: &dyn Blobs,
    pair: &Pair,
    new: Digest,
    part: u32,
    count: u32,
    writer: PartWriter,
) -> Option<Uploaded> {
    if count == 1 && writer.is_empty() {
        return Some(Uploaded::default());
    }
    let name = PatchName::frames(pair.base.stored.at.digest, new, part);
    put(blobs, pair.store, &name, writer.finish(&name, count)).await
}

async fn compare(blobs: &dyn Blobs, pair: &Pair, regions: Vec<Region>) -> Result<PartWriter, ReadBackError> {
    let compared = stream::iter(regions).map(|region| async move {
        let (base, content) = tokio::try_join!(base_of(blobs, pair, &region), content_of(blobs, pair, &region))?;
        let new = pair.new.clone();
        let delta = spawn_blocking(move || region.compare(&new, &base, &content).map(|delta| (region, delta))).await?;
        Ok::<_, ReadBackError>(delta)
    });
    let mut compared = compared.buffered(REGIONS_AT_A_TIME);
    let mut writer = PartWriter::default();
    while let Some(delta) = compared.try_next().await? {
        if let Some((region, delta)) = delta {
            writer.add(&region, &delta);
        }
    }
    Ok(writer)
}

/// The plan, without bases that are lost and without the regions that would need more to be read back, and whether it has
/// all regions.
fn within_reach(pair: &Pair, read_bytes_max: u64) -> (Vec<Vec<Region>>, bool) {
    let (mut left, mut is_whole) = (read_bytes_max, true);
    let mut parts = patch::plan(&pair.base.index, &pair.new);
    for part in &mut parts {
        part.iter_mut().for_each(|region| region.bases.retain(|&at| !pair.base.is_lost(at)));
        part.retain(|region| {
            let frames: HashSet<u32> =
                region.bases.iter().map(|&at| pair.base.index.chunks[at as usize].frame).collect();
            let base: u64 = frames.iter().map(|&at| u64::from(pair.base.index.frames[at as usize].stored_bytes)).sum();
            let rest = left.checked_sub(base + region.stored_bytes(&pair.new));
            left = rest.unwrap_or(left);
            is_whole &= rest.is_some();
            rest.is_some()
        });
    }
    (parts, is_whole)
}

async fn base_of(blobs: &dyn Blobs, pair: &Pair, region: &Region) -> Result<Vec<u8>, ReadBackError> {
    let wanted = region.bases.iter().map(|&id| {
        let chunk = &pair.base.index.chunks[id as usize];
        let part = chunk.offset as usize..(chunk.offset + chunk.bytes) as usize;
        Wanted { frame: chunk.frame, part, id }
    });
    let found = read_back(blobs, pair.store, &pair.base.index, wanted.collect()).await?;
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

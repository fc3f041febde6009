//! Garbage collection at the origin: deletes what it is told to, while that may be deleted, and tells of objects that no live
//! revision leads to. It decides nothing: what is garbage is the control side's to say.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blobs::{Blobs, Key, ObjectKind};
use package::header;
use package::limits::HEADER_BYTES_MAX;
use package::patch::names_between;
use schemas::collect::{Listed, ORPHANS_MAX};
use schemas::job::PATCHED_REVISIONS_MAX;
use schemas::{CollectResult, CollectTask, Digest, Fault, StoredObject};
use tokio::task::JoinSet;
use worker::Context;

use crate::build::Ended;
use crate::fault;

/// Deletions under way at a time.
const DELETIONS_AT_ONCE: usize = 8;
/// Nothing is deleted longer than this after the message came, whatever the clock says; well below a lost job's lease.
const TIME_MAX: Duration = Duration::from_secs(20);
/// An object must be gone by the task's end of time, so nothing begins shortly before it.
const MARGIN_MS: i64 = 500;

pub(crate) async fn collect(
    blobs: &Arc<dyn Blobs>,
    task: &CollectTask,
    context: &Context,
    now_ns: fn() -> i64,
) -> Result<CollectResult, Ended> {
    let stopped = async {
        tokio::select! {
            () = context.cancel.cancelled() => Ended::Cancelled,
            () = context.drain.cancelled() => Ended::Yielded,
        }
    };
    let work = async {
        context.progress.step("delete");
        let deleted = delete(blobs, task, now_ns).await?;
        let mut result = CollectResult { deleted, ..CollectResult::default() };
        if task.list {
            context.progress.step("list");
            (result.orphans, result.listed) = orphans(&**blobs, task).await?;
        }
        Ok::<_, Fault>(result)
    };
    tokio::select! {
        result = work => result.map_err(Ended::Fault),
        ended = stopped => Err(ended),
    }
}

/// What was deleted in time. What fails for good fails the job; the rest is ordered again.
async fn delete(blobs: &Arc<dyn Blobs>, task: &CollectTask, now_ns: fn() -> i64) -> Result<Vec<String>, Fault> {
    let began = Instant::now();
    let mut under_way = JoinSet::new();
    let mut deleted = Vec::with_capacity(task.delete.len());
    for object in &task.delete {
        let key = key(task, object)?;
        if began.elapsed() >= TIME_MAX || now_ns() / 1_000_000 >= task.until_ms - MARGIN_MS {
            tracing::info!(store = %task.store, left = task.delete.len() - deleted.len(), "the rest is deleted another time");
            break;
        }
        if under_way.len() == DELETIONS_AT_ONCE {
            settle(&mut under_way, &mut deleted).await?;
        }
        let (blobs, object) = (blobs.clone(), object.clone());
        under_way.spawn(async move { blobs.delete(&key).await.map(|()| object) });
    }
    while !under_way.is_empty() {
        settle(&mut under_way, &mut deleted).await?;
    }
    deleted.sort_unstable();
    Ok(deleted)
}

type Deletions = JoinSet<Result<String, blobs::BlobError>>;

async fn settle(under_way: &mut Deletions, deleted: &mut Vec<String>) -> Result<(), Fault> {
    match under_way.join_next().await {
        Some(Ok(object)) => deleted.push(object.map_err(|error| fault::of_storage(&error))?),
        Some(Err(error)) => return Err(fault::of_thread(&error)),
        None => {}
    }
    Ok(())
}

/// Only what is below the task's own store.
fn key(task: &CollectTask, object: &str) -> Result<Key, Fault> {
    let key = Key::parse(&format!("{}/{object}", task.store)).filter(|key| key.store == task.store);
    key.ok_or_else(|| Fault::permanent("object-unknown", format!("`{object}` is no object of store {}", task.store)))
}

/// Everything that the live revisions lead to.
#[derive(Default)]
struct Live {
    headers: HashSet<Digest>,
    indexes: HashSet<Digest>,
    packs: HashSet<Digest>,
    patches: HashSet<Digest>,
}

impl Live {
    /// A live revision that cannot be read could lead anywhere: then nothing is an orphan.
    async fn read(blobs: &dyn Blobs, task: &CollectTask) -> Result<Live, Fault> {
        let mut live = Live::default();
        let mut numbered = Vec::with_capacity(task.live.len());
        for digest in &task.live {
            let key = Key::header(task.store, *digest);
            let bytes = blobs.get(&key, HEADER_BYTES_MAX).await.map_err(|error| fault::of_storage(&error))?;
            let header = header::open(&bytes, digest)
                .map_err(|error| Fault::transient("header-unreadable", format!("header {digest}: {error}")))?;
            live.headers.insert(*digest);
            live.indexes.insert(header.index.digest);
            numbered.push((header.number, header.index.digest));
            live.packs.extend(header.packs.iter().map(|pack| pack.digest));
        }
        live.patches.extend(patches_among(&numbered));
        Ok(live)
    }

    /// Whoever adds a kind of object says here what its keys belong to.
    fn leads_to(&self, key: &Key) -> bool {
        match key.kind {
            ObjectKind::Header => self.headers.contains(&key.digest),
            ObjectKind::Index => self.indexes.contains(&key.digest),
            ObjectKind::Pack => self.packs.contains(&key.digest),
            ObjectKind::Patch => self.patches.contains(&key.digest),
        }
    }
}

/// No header names a patch: whatever could lead from one live revision to a later one is live.
fn patches_among(numbered: &[(u64, Digest)]) -> impl Iterator<Item = Digest> {
    let from = move |&(to, new): &(u64, Digest)| {
        let near = move |base: &&(u64, Digest)| base.0 < to && to - base.0 <= PATCHED_REVISIONS_MAX;
        numbered.iter().filter(near).flat_map(move |&(_, base)| names_between(base, new))
    };
    numbered.iter().flat_map(from)
}

async fn orphans(blobs: &dyn Blobs, task: &CollectTask) -> Result<(Vec<StoredObject>, Option<Listed>), Fault> {
    let all = blobs.list(task.store).await.map_err(|error| fault::of_storage(&error))?;
    let live = Live::read(blobs, task).await?;
    let folder = format!("{}/", task.store);
    let name = |key: &Key| key.to_string().trim_start_matches(&folder).to_owned();
    let mut orphans: Vec<StoredObject> = all
        .iter()
        .filter(|(key, _)| !live.leads_to(key))
        .map(|(key, bytes)| StoredObject { object: name(key), bytes: *bytes })
        .filter(|orphan| task.after.as_ref().is_none_or(|after| orphan.object > *after))
        .collect();
    orphans.sort_unstable();
    let left = orphans.len().saturating_sub(ORPHANS_MAX);
    orphans.truncate(ORPHANS_MAX);
    let listed = Listed {
        objects: all.len() as u64,
        bytes: all.iter().map(|(_, bytes)| bytes).sum(),
        orphans_left: left as u64,
    };
    Ok((orphans, Some(listed)))
}

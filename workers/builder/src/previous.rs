//! The revision that a build stands on, verified. One that is gone or damaged is no reason to fail: then everything is
//! stored again, as is what of it is lost.

use std::collections::HashSet;
use std::sync::Arc;

use blobs::{BlobError, Blobs, Key};
use bytes::Bytes;
use package::limits::{HEADER_BYTES_MAX, INDEX_BYTES_MAX};
use package::{FormatError, Index, header};
use schemas::{BuildTask, Digest, Fault, Header, RevisionRef, StoreId};

use crate::patches::Stored;
use crate::{fault, lost};

pub(crate) struct Previous {
    pub index: Arc<Index>,
    pub stored: Stored,
    /// Its packs that storage has no more. Looked for only of the revision that a build stands on.
    pub lost: HashSet<Digest>,
}

impl Previous {
    /// Whether the chunk at this position is.
    pub fn is_lost(&self, chunk: u32) -> bool {
        let chunk = &self.index.chunks[chunk as usize];
        self.lost.contains(&self.index.pack_of(chunk).digest)
    }
}

pub(crate) async fn load(blobs: &dyn Blobs, task: &BuildTask) -> Result<Option<Previous>, Fault> {
    let Some(previous) = task.previous else { return Ok(None) };
    let listed = async { blobs.list(task.store).await.map_err(|error| fault::of_storage(&error)) };
    let (previous, listed) = tokio::try_join!(load_or_go_without(blobs, task, previous), listed)?;
    Ok(previous.map(|previous| Previous { lost: lost::packs(task, &previous.index, &listed), ..previous }))
}

async fn load_or_go_without(
    blobs: &dyn Blobs,
    task: &BuildTask,
    previous: RevisionRef,
) -> Result<Option<Previous>, Fault> {
    match try_load(blobs, task.store, previous).await {
        Ok(previous) => Ok(Some(previous)),
        Err(Unread::Storage(
            error @ (BlobError::Absent { .. } | BlobError::TooLarge { .. } | BlobError::Damaged { .. }),
        )) => Ok(without(task, &error)),
        Err(Unread::Format(error)) => Ok(without(task, &error)),
        Err(Unread::Storage(error)) => Err(fault::of_storage(&error)),
        Err(Unread::Thread(fault)) => Err(fault),
    }
}

/// A revision that nothing stands on; why it cannot be read is logged.
pub(crate) async fn load_earlier(blobs: &dyn Blobs, store: StoreId, earlier: RevisionRef) -> Option<Previous> {
    let why = match try_load(blobs, store, earlier).await {
        Ok(previous) => return Some(previous),
        Err(Unread::Storage(error)) => error.to_string(),
        Err(Unread::Format(error)) => error.to_string(),
        Err(Unread::Thread(fault)) => fault.to_string(),
    };
    tracing::info!(%store, revision = earlier.number, why, "an earlier revision gets no patch");
    None
}

fn without(task: &BuildTask, error: &dyn std::fmt::Display) -> Option<Previous> {
    let distribution = task.distribution.as_str();
    tracing::warn!(distribution, %error, "the previous revision cannot be read: everything is stored again");
    None
}

enum Unread {
    Storage(BlobError),
    Format(FormatError),
    Thread(Fault),
}

async fn try_load(blobs: &dyn Blobs, store: StoreId, previous: RevisionRef) -> Result<Previous, Unread> {
    let key = Key::header(store, previous.header);
    let bytes = blobs.get(&key, HEADER_BYTES_MAX).await.map_err(Unread::Storage)?;
    let header = header::open(&bytes, &previous.header).map_err(Unread::Format)?;
    if header.store != store {
        let reason = format!("it is of the store {}", header.store);
        return Err(Unread::Format(FormatError::Damaged { what: "the previous header", reason }));
    }
    let key = Key::index(store, header.index.digest);
    let bytes = blobs.get(&key, header.index.bytes.min(INDEX_BYTES_MAX)).await.map_err(Unread::Storage)?;
    open_index(header, bytes).await
}

/// A million entries take long enough to hold up a runtime's thread.
async fn open_index(header: Header, stored: Bytes) -> Result<Previous, Unread> {
    let open = move || {
        let index = Arc::new(header::open_index(&header, &stored)?);
        let stored = Stored { at: header.index, bytes: stored };
        Ok(Previous { index, stored, lost: HashSet::new() })
    };
    let opened = tokio::task::spawn_blocking(open).await;
    opened.map_err(|error| Unread::Thread(fault::of_thread(&error)))?.map_err(Unread::Format)
}

//! Objects into storage: what an earlier builder left there is used again.

use std::sync::Arc;

use blobs::{Blobs, Key};
use bytes::Bytes;
use package::{Pack, PackSink, SinkClosed};
use schemas::{Fault, StoreId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::fault;

/// Packs on their way at the same time. With the one being filled and the one that waits, this bounds the memory.
const UPLOADS_MAX: usize = 2;
const PACKS_WAITING_MAX: usize = 1;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Uploaded {
    pub bytes: u64,
    pub objects_reused: u64,
}

impl Uploaded {
    pub fn add(&mut self, other: Uploaded) {
        self.bytes += other.bytes;
        self.objects_reused += other.objects_reused;
    }
}

/// Puts one object unless it is there with its full length already.
pub(crate) async fn put(blobs: &dyn Blobs, key: Key, body: Bytes) -> Result<Uploaded, Fault> {
    let bytes = body.len() as u64;
    let there = blobs.size(&key).await.map_err(|error| fault::of_storage(&error))?;
    if there == Some(bytes) {
        return Ok(Uploaded { bytes: 0, objects_reused: 1 });
    }
    blobs.put(&key, body).await.map_err(|error| fault::of_storage(&error))?;
    Ok(Uploaded { bytes, objects_reused: 0 })
}

/// The build's end of the line of packs; it blocks its thread while the line is full.
pub(crate) struct Line(mpsc::Sender<Pack>);

pub(crate) fn line() -> (Line, mpsc::Receiver<Pack>) {
    let (sender, packs) = mpsc::channel(PACKS_WAITING_MAX);
    (Line(sender), packs)
}

impl PackSink for Line {
    fn put(&mut self, pack: Pack) -> Result<(), SinkClosed> {
        self.0.blocking_send(pack).map_err(|_| SinkClosed)
    }
}

/// Until the build closes the line. At the first fault the line is dropped, which ends the build.
pub(crate) async fn put_packs(
    blobs: Arc<dyn Blobs>,
    store: StoreId,
    mut packs: mpsc::Receiver<Pack>,
    began: impl FnOnce(),
) -> Result<Uploaded, Fault> {
    let mut began = Some(began);
    let mut uploads = JoinSet::new();
    let mut uploaded = Uploaded::default();
    while let Some(pack) = packs.recv().await {
        began.take().into_iter().for_each(|began| began());
        if uploads.len() == UPLOADS_MAX {
            settle(&mut uploads, &mut uploaded).await?;
        }
        let blobs = blobs.clone();
        uploads.spawn(async move { put(&*blobs, Key::pack(store, pack.digest), Bytes::from(pack.bytes)).await });
    }
    while !uploads.is_empty() {
        settle(&mut uploads, &mut uploaded).await?;
    }
    Ok(uploaded)
}

async fn settle(uploads: &mut JoinSet<Result<Uploaded, Fault>>, uploaded: &mut Uploaded) -> Result<(), Fault> {
    match uploads.join_next().await {
        Some(Ok(result)) => uploaded.add(result?),
        Some(Err(error)) => return Err(fault::of_thread(&error)),
        None => {}
    }
    Ok(())
}

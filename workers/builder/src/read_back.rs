//! Content of frames that lie in storage already, read back and verified. It does not know what for.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use blobs::{BlobError, Blobs, Key};
use bytes::Bytes;
use package::diff::{PackRange, ranges};
use package::{FormatError, Index, decode_frame};
use schemas::StoreId;
use tokio::task::{JoinError, spawn_blocking};

/// Bytes and ranges of one request.
const REQUEST_BYTES_MAX: u64 = 8 << 20;
const RANGES_MAX: usize = 64;

/// A part of a frame's content, and what the asker calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub frame: u32,
    pub part: Range<usize>,
    pub id: u32,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadBackError {
    #[error(transparent)]
    Storage(#[from] BlobError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("the thread that cuts it ended early: {0}")]
    Thread(#[from] JoinError),
}

/// Each wanted part by its id.
pub(crate) async fn read_back(
    blobs: &dyn Blobs,
    store: StoreId,
    index: &Arc<Index>,
    mut wanted: Vec<Wanted>,
) -> Result<HashMap<u32, Vec<u8>>, ReadBackError> {
    wanted.sort_unstable_by_key(|wanted| wanted.frame);
    let mut frames: Vec<u32> = wanted.iter().map(|wanted| wanted.frame).collect();
    frames.dedup();
    let (mut found, wanted) = (HashMap::with_capacity(wanted.len()), Arc::new(wanted));
    for batch in batches(ranges(index, &frames, 0, REQUEST_BYTES_MAX)) {
        let key = Key::pack(store, index.packs[batch[0].pack as usize].digest);
        let asked: Vec<_> = batch.iter().map(|part| part.range.clone()).collect();
        let bodies = blobs.get_ranges(&key, &asked).await?;
        let (index, wanted) = (index.clone(), wanted.clone());
        found.extend(spawn_blocking(move || cut(&index, &batch, &bodies, &wanted)).await??);
    }
    Ok(found)
}

/// Ranges of one pack, within the bounds of a request.
fn batches(ranges: Vec<PackRange>) -> Vec<Vec<PackRange>> {
    let mut batches: Vec<Vec<PackRange>> = Vec::new();
    let mut bytes = 0;
    for range in ranges {
        let more = range.range.end - range.range.start;
        match batches.last_mut() {
            Some(batch)
                if batch[0].pack == range.pack && batch.len() < RANGES_MAX && bytes + more <= REQUEST_BYTES_MAX =>
            {
                bytes += more;
                batch.push(range);
            }
            _ => {
                bytes = more;
                batches.push(vec![range]);
            }
        }
    }
    batches
}

fn cut(
    index: &Index,
    batch: &[PackRange],
    bodies: &[Bytes],
    wanted: &[Wanted],
) -> Result<Vec<(u32, Vec<u8>)>, FormatError> {
    let mut found = Vec::new();
    for (range, body) in batch.iter().zip(bodies) {
        for &at in &range.frames {
            let frame = &index.frames[at as usize];
            let stored = body.get(range.within(index, at)).unwrap_or_default();
            let raw = decode_frame(frame, stored)?;
            let first = wanted.partition_point(|wanted| wanted.frame < at);
            for one in wanted[first..].iter().take_while(|wanted| wanted.frame == at) {
                found.push((one.id, raw[one.part.clone()].to_vec()));
            }
        }
    }
    Ok(found)
}

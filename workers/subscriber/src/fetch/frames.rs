//! Moves frames: neighbours in a pack are one range, as many requests run at a time as make it faster, and what one source does not give
//! rightly the next is asked for. It does not know why a frame is missing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use blobs::{BlobError, Cutter, Extent, Key, Pieces};
use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use package::Index;
use package::diff::ranges;
use schemas::StoreId;

use super::supply::Supplier;
use super::{Fetch, Plan, store_fault};
use crate::halt::{Halt, blocking, stopped};
use crate::store::{FrameRef, Store, StoreError};

/// Bytes asked for at a time by all requests of a fetch: what they hold in memory.
const ASKED_BYTES_MAX: u64 = 32 << 20;
/// Frames of one request, in bytes: begins in the middle, follows the link's speed between these bounds, so that slow
/// links show signs of life and fast ones need few round trips.
pub const REQUEST_BYTES_FIRST: u64 = 4 << 20;
const REQUEST_BYTES_MIN: u64 = 256 << 10;
const REQUEST_BYTES_MAX: u64 = 8 << 20;
const FAST: Duration = Duration::from_secs(1);
const SLOW: Duration = Duration::from_secs(10);
/// Bytes that go into the store together, if more has arrived than a frame.
const KEPT_BYTES_MAX: u64 = 1 << 20;
/// Ranges in one request.
const RANGES_MAX: usize = 64;

/// What is left of a request when all sources were asked.
struct Answered {
    left: Vec<u32>,
    stored_bytes: u64,
}

/// Fetches the plan's frames in rounds until none is left. Each goes into the store when it has come whole, so that whatever
/// breaks off costs one frame for each request under way.
pub async fn fetch(fetch: &Fetch<'_>, index: &Arc<Index>, plan: Plan) -> Result<(), Halt> {
    let mut left = plan.frames;
    let mut round = 0;
    while !left.is_empty() {
        fetch.begin_round(round).await?;
        let before = left.len();
        left = one_round(fetch, index, left).await?;
        round = if left.len() < before { 1 } else { round + 1 };
    }
    Ok(())
}

async fn one_round(fetch: &Fetch<'_>, index: &Arc<Index>, frames: Vec<u32>) -> Result<Vec<u32>, Halt> {
    let mut waiting = VecDeque::from(frames);
    let mut left = Vec::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        let width = fetch.pace().now();
        let bytes_max = fetch.request_bytes.load(Relaxed).min(ASKED_BYTES_MAX / width as u64);
        // What is under way when the window ends comes to its end: nothing that was fetched is fetched again.
        while !fetch.context.closing.is_cancelled()
            && under_way.len() < width
            && let Some(batch) = next_batch(index, &mut waiting, bytes_max)
        {
            under_way.push(request(fetch, index, batch));
        }
        let answered = tokio::select! {
            () = stopped(fetch.context) => return Err(Halt::Stopped),
            answered = under_way.next() => answered,
        };
        let Some(answered) = answered else { break };
        let answered = answered?;
        fetch.pace().came(answered.stored_bytes, fetch.begun.elapsed());
        left.extend(answered.left);
    }
    if !waiting.is_empty() {
        return Err(Halt::Stopped);
    }
    left.sort_unstable();
    Ok(left)
}

/// Frames of one pack from the front of the line, at least one, within the bounds of a request.
fn next_batch(index: &Index, waiting: &mut VecDeque<u32>, bytes_max: u64) -> Option<Vec<u32>> {
    let mut batch = vec![waiting.pop_front()?];
    let first = &index.frames[batch[0] as usize];
    let mut bytes = u64::from(first.stored_bytes);
    let mut end = first.offset + bytes;
    let mut parts = 1;
    while let Some(&next) = waiting.front() {
        let frame = &index.frames[next as usize];
        bytes += u64::from(frame.stored_bytes);
        parts += usize::from(frame.offset != end);
        end = frame.offset + u64::from(frame.stored_bytes);
        if frame.pack != first.pack || bytes > bytes_max || parts > RANGES_MAX {
            break;
        }
        batch.push(next);
        waiting.pop_front();
    }
    Some(batch)
}

/// Asks the sources in order until every frame of the batch is in the store.
async fn request(fetch: &Fetch<'_>, index: &Arc<Index>, batch: Vec<u32>) -> Result<Answered, Halt> {
    fetch.observe("download").await?;
    let whole = stored_bytes(index, &batch);
    let mut left = batch;
    for supplier in fetch.supply.in_order() {
        let begun = Instant::now();
        left = take(fetch, supplier, index, left).await?;
        follow_speed(fetch, begun.elapsed());
        if left.is_empty() {
            break;
        }
    }
    Ok(Answered { stored_bytes: whole - stored_bytes(index, &left), left })
}

fn stored_bytes(index: &Index, frames: &[u32]) -> u64 {
    frames.iter().map(|&at| u64::from(index.frames[at as usize].stored_bytes)).sum()
}

/// Takes frames of one pack from one source, each into the store when it is whole; gives back those that did not come, or not
/// rightly.
async fn take(fetch: &Fetch<'_>, supplier: &Supplier, index: &Arc<Index>, frames: Vec<u32>) -> Result<Vec<u32>, Halt> {
    let mut coming = Coming::of(fetch, supplier, index, frames);
    let mut left = Vec::new();
    while let Some(arrived) = coming.next().await {
        left.extend(keep(fetch, supplier, index, arrived).await?);
    }
    if let Some(error) = coming.fault {
        fetch.supply.failed(supplier, &error);
        fetch.pace().failed();
    }
    left.extend(coming.frames);
    left.sort_unstable();
    Ok(left)
}

/// Frames with what should be their bytes.
type Arrived = Vec<(u32, Bytes)>;

struct Coming<'a> {
    pieces: Pieces<'a>,
    cutter: Cutter,
    /// What has not come.
    frames: VecDeque<u32>,
    ended: bool,
    fault: Option<BlobError>,
}

impl<'a> Coming<'a> {
    fn of(fetch: &Fetch<'_>, supplier: &'a Supplier, index: &Index, frames: Vec<u32>) -> Coming<'a> {
        let wanted = ranges(index, &frames, 0, REQUEST_BYTES_MAX);
        let key = Key::pack(fetch.id, index.packs[wanted[0].pack as usize].digest);
        let asked = Extent::Ranges(wanted.into_iter().map(|wanted| wanted.range).collect());
        let cutter = Cutter::new(frames.iter().map(|&at| u64::from(index.frames[at as usize].stored_bytes)));
        Coming { pieces: supplier.read(&key, asked), cutter, frames: frames.into(), ended: false, fault: None }
    }

    /// The frames that are whole by now, at least one; `None` when no more come.
    async fn next(&mut self) -> Option<Arrived> {
        let mut arrived = Vec::new();
        let mut bytes = 0;
        while !self.ended && bytes < KEPT_BYTES_MAX {
            let next = match arrived.is_empty() {
                true => self.pieces.next().await,
                false => match self.pieces.next().now_or_never() {
                    Some(next) => next,
                    None => break,
                },
            };
            match next {
                Some(Ok(piece)) => {
                    bytes += piece.len() as u64;
                    let whole = self.cutter.take(piece);
                    arrived.extend(self.frames.drain(..whole.len()).zip(whole));
                }
                ended => {
                    self.fault = ended.and_then(Result::err);
                    self.ended = true;
                }
            }
        }
        (!arrived.is_empty()).then_some(arrived)
    }
}

/// Puts what is right into the store; gives back the frames that were not.
async fn keep(fetch: &Fetch<'_>, supplier: &Supplier, index: &Arc<Index>, arrived: Arrived) -> Result<Vec<u32>, Halt> {
    let (store, id, of) = (fetch.depot.store.clone(), fetch.id, index.clone());
    let whole: u64 = arrived.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let bad = blocking(move || put(&store, id, &of, arrived)).await??;
    fetch.context.progress.add_bytes(whole - stored_bytes(index, &bad));
    for &at in &bad {
        let frame = &index.frames[at as usize];
        let pack = index.packs[frame.pack as usize].digest;
        fetch.supply.corrupt(supplier, &format!("frame {} of {pack}", frame.digest));
    }
    Ok(bad)
}

fn put(store: &Store, id: StoreId, index: &Index, arrived: Arrived) -> Result<Vec<u32>, Halt> {
    let mut bad = Vec::new();
    for (at, bytes) in arrived {
        let frame = &index.frames[at as usize];
        let pack = index.packs[frame.pack as usize].digest;
        // The store takes nothing that it has not verified.
        match store.put_frame(id, pack, FrameRef::from(frame), &bytes) {
            Err(StoreError::DamagedFrame { .. }) => bad.push(at),
            put => put.map_err(store_fault)?,
        }
    }
    Ok(bad)
}

fn follow_speed(fetch: &Fetch<'_>, took: Duration) {
    let bytes = fetch.request_bytes.load(Relaxed);
    let next = if took > SLOW {
        bytes / 2
    } else if took < FAST {
        bytes * 2
    } else {
        bytes
    };
    fetch.request_bytes.store(next.clamp(REQUEST_BYTES_MIN, REQUEST_BYTES_MAX), Relaxed);
}

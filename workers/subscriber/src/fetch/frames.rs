//! Moves frames: neighbours in a pack are one range, as many requests run at a time as make it faster, and what one source does not give
//! rightly the next is asked for. It does not know why a frame is missing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use blobs::Key;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use package::Index;
use package::diff::{PackRange, ranges};

use super::supply::Supplier;
use super::{Fetch, Plan, store_fault};
use crate::halt::{Halt, blocking, stopped};
use crate::store::{FrameRef, StoreError};

/// Bytes asked for at a time by all requests of a fetch: what they hold in memory.
const ASKED_BYTES_MAX: u64 = 32 << 20;
/// Frames of one request, in bytes: begins in the middle, follows the link's speed between these bounds, so that slow
/// links show signs of life and fast ones need few round trips.
pub const REQUEST_BYTES_FIRST: u64 = 4 << 20;
const REQUEST_BYTES_MIN: u64 = 256 << 10;
const REQUEST_BYTES_MAX: u64 = 8 << 20;
const FAST: Duration = Duration::from_secs(1);
const SLOW: Duration = Duration::from_secs(10);
/// Ranges in one request.
const RANGES_MAX: usize = 64;

/// What is left of a request when all sources were asked.
struct Answered {
    left: Vec<u32>,
    stored_bytes: u64,
}

/// Fetches the plan's frames in rounds until none is left. Each goes into the store as soon as it is checked.
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
        fetch.context.progress.add_bytes(answered.stored_bytes);
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
    let bytes_of =
        |frames: &[u32]| frames.iter().map(|&f| u64::from(index.frames[f as usize].stored_bytes)).sum::<u64>();
    let whole = bytes_of(&batch);
    let mut left = batch;
    for supplier in fetch.supply.in_order() {
        let begun = Instant::now();
        let wanted = ranges(index, &left, 0, REQUEST_BYTES_MAX);
        let Some(bodies) = ask(fetch, supplier, index, &wanted).await else {
            fetch.pace().failed();
            follow_speed(fetch, begun.elapsed());
            continue;
        };
        follow_speed(fetch, begun.elapsed());
        left = keep(fetch, supplier, index, wanted, bodies).await?;
        if left.is_empty() {
            break;
        }
    }
    Ok(Answered { stored_bytes: whole - bytes_of(&left), left })
}

async fn ask(fetch: &Fetch<'_>, supplier: &Supplier, index: &Index, wanted: &[PackRange]) -> Option<Vec<Bytes>> {
    let key = Key::pack(fetch.id, index.packs[wanted.first()?.pack as usize].digest);
    let asked: Vec<_> = wanted.iter().map(|w| w.range.clone()).collect();
    let lengths = asked.iter().map(|r| r.end - r.start).sum::<u64>();
    let bodies = fetch.supply.ask(supplier, |source| async move { source.get_ranges(&key, &asked).await }).await?;
    supplier.count(lengths);
    Some(bodies)
}

/// Puts what is right into the store; gives back the frames that were not.
async fn keep(
    fetch: &Fetch<'_>,
    supplier: &Supplier,
    index: &Arc<Index>,
    wanted: Vec<PackRange>,
    bodies: Vec<Bytes>,
) -> Result<Vec<u32>, Halt> {
    let (store, id, index) = (fetch.depot.store.clone(), fetch.id, index.clone());
    let bad = blocking(move || {
        let mut bad = Vec::new();
        for (n, range) in wanted.iter().enumerate() {
            for &at in &range.frames {
                let frame = &index.frames[at as usize];
                let bytes = bodies.get(n).and_then(|body| body.get(range.within(&index, at)));
                let pack = index.packs[frame.pack as usize].digest;
                // The store takes nothing that it has not verified.
                let put = bytes.map(|bytes| store.put_frame(id, pack, FrameRef::from(frame), bytes));
                match put {
                    Some(Ok(())) => {}
                    Some(Err(StoreError::DamagedFrame { .. })) | None => {
                        bad.push((at, format!("frame {} of {pack}", frame.digest)));
                    }
                    Some(Err(error)) => return Err(store_fault(error)),
                }
            }
        }
        Ok::<_, Halt>(bad)
    })
    .await??;
    Ok(bad
        .into_iter()
        .map(|(at, what)| {
            fetch.supply.corrupt(supplier, &what);
            at
        })
        .collect())
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

//! Brings to disk what is written while more is being written: the disk works beside the processor, and the sync at the end,
//! which alone counts, finds little to do. It knows not who writes.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::beneath;

/// Written since the last sync.
const SYNC_BYTES: u64 = 64 << 20;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Does `work`, which counts in `written` the bytes that it writes to the file system of `directory`.
pub(super) fn beside<T>(directory: BorrowedFd<'_>, written: &AtomicU64, work: impl FnOnce() -> T) -> T {
    // A failed write is told once to each descriptor: the one by which the sync at the end asks must not hear of it here.
    let Ok(own) = beneath::open_directory(directory, "") else { return work() };
    thread::scope(|scope| {
        let (over, is_over) = mpsc::channel::<()>();
        scope.spawn(move || {
            let mut synced = written.load(Relaxed);
            while is_over.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let now = written.load(Relaxed);
                if now - synced >= SYNC_BYTES {
                    // It makes nothing durable that anybody relies on, so that the recorder of calls need not know of it.
                    let _ = rustix::fs::syncfs(&own);
                    synced = now;
                }
            }
        });
        let done = work();
        drop(over);
        done
    })
}

//! Work shared by a few threads: each takes the next item in order. It knows not what the work is.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// More threads only wait for the same directories.
pub(super) const THREADS: usize = 2;
/// Below this, starting threads costs more than they save.
const ALONE_MAX: usize = 1;

/// Does `work` on each of 0..count with a state of each thread's own, and gives the states. The first failure ends it.
pub(super) fn share<S: Send, E: Send>(
    count: usize,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Result<(), E> + Sync,
) -> Result<Vec<S>, E> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let run = || {
        let mut state = start();
        while !stop.load(Ordering::Relaxed) {
            let item = next.fetch_add(1, Ordering::Relaxed);
            if item >= count {
                break;
            }
            if let Err(error) = work(&mut state, item) {
                stop.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(state)
    };
    if count <= ALONE_MAX {
        return run().map(|state| vec![state]);
    }
    thread::scope(|scope| {
        let crew: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        let ended: Vec<_> = crew.into_iter().map(|one| one.join()).collect();
        ended.into_iter().map(|one| one.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

//! What storage has lost of a revision: packs that are absent or of another length. It reads none, so a pack that was damaged
//! within its length is not noticed.

use std::collections::HashSet;

use blobs::Key;
use package::Index;
use schemas::{BuildTask, Digest, PackRef};

/// Packs named in the log.
const NAMED_MAX: usize = 5;

/// Which of the index's packs are not among what is `listed`, sorted as `Blobs::list` has it.
pub(crate) fn packs(task: &BuildTask, index: &Index, listed: &[(Key, u64)]) -> HashSet<Digest> {
    let is_there = |pack: &PackRef| listed.binary_search(&(Key::pack(task.store, pack.digest), pack.bytes)).is_ok();
    let lost: Vec<&PackRef> = index.packs.iter().filter(|pack| !is_there(pack)).collect();
    if !lost.is_empty() {
        log(task, &lost);
    }
    lost.iter().map(|pack| pack.digest).collect()
}

fn log(task: &BuildTask, lost: &[&PackRef]) {
    let (distribution, packs) = (&task.distribution, lost.len());
    let bytes: u64 = lost.iter().map(|pack| pack.bytes).sum();
    let named: Vec<String> = lost.iter().take(NAMED_MAX).map(|pack| pack.digest.to_string()).collect();
    tracing::warn!(%distribution, packs, bytes, ?named, "packs are lost at the origin: what is in them is stored again");
}

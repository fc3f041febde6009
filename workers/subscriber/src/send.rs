//! A send: the revision comes into this site's store. It knows nothing of lanes and reports.

use std::sync::Arc;
use std::time::Duration;

use package::tree::Held;
use schemas::{JobId, SendResult, SendTask};
use worker::Context;

use crate::fetch::manifest::Manifest;
use crate::fetch::{Fetch, Order, Patched};
use crate::halt::{Halt, blocking};
use crate::journal::Transfer;
use crate::site::Site;
use crate::target;

/// What crossed the link is written to the journal this often.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

pub async fn run(
    site: &Arc<Site>,
    job: JobId,
    task: &SendTask,
    before: Transfer,
    context: &Context,
) -> Result<SendResult, Halt> {
    context.progress.step("download");
    site.journal.note_step(job, "download").await?;
    site.journal.note_sources(task.store, &task.sources).await?;
    let sources = site.sources.open(&task.sources, task.priority, site.orders.silence());
    site.upstreams.set(task.store, sources.clone());
    let order = Order {
        id: task.store,
        revision: task.revision,
        sources,
        before: before.sources.clone(),
        for_children: site.orders.has_children(),
    };
    let fetch = Fetch::new(&site.depot, order, context)?;
    let begun = Count::begun(&before);
    let prepared = with_notes(site, job, &fetch, &begun, prepare(site, task, &fetch, context)).await;
    if prepared.is_err() {
        site.journal.note_transfer(job, &begun.transfer(&fetch)).await?;
    }
    let (manifest, patched) = prepared?;
    let count = Count::new(&before, &manifest, &patched);
    site.journal.note_transfer(job, &count.transfer(&fetch)).await?;
    let brought = with_notes(site, job, &fetch, &count, fetch.bring(&manifest, patched.plan)).await;
    site.journal.note_transfer(job, &count.transfer(&fetch)).await?;
    brought?;
    let held = site.retention.settle(site, task.store, task.keep).await;
    Ok(SendResult { held, ..result(&manifest, &count, &fetch) })
}

/// All but the frames that no patch gives.
async fn prepare(
    site: &Arc<Site>,
    task: &SendTask,
    fetch: &Fetch<'_>,
    context: &Context,
) -> Result<(Manifest, Patched), Halt> {
    let manifest = fetch.manifest().await?;
    if task.keep.is_some_and(|keep| keep.delete_first) {
        site.retention.make_room(site, task.store, manifest.header.index.digest).await?;
    }
    let held = held_trees(site, task, &manifest).await?;
    let plan = fetch.plan(&manifest, held.clone()).await?;
    context.progress.set_totals(manifest.header.files, plan.bytes);
    let patched = fetch.patch(&manifest, plan, held).await?;
    Ok((manifest, patched))
}

/// Bytes lacking at the first start, and bytes that came before a restart without being counted.
///
/// What is reported is what the sources gave over all starts, also in vain. Each kill takes from it no more than came since the
/// last note, `CHECKPOINT_EVERY` before: what of that is in the store is counted all the same, unless as much came in vain
/// before the note.
struct Count {
    /// `None` until it is known what patches spare.
    needed: Option<u64>,
    uncounted: u64,
}

impl Count {
    fn begun(before: &Transfer) -> Count {
        Count { needed: before.needed, uncounted: before.uncounted() }
    }

    /// What comes as a patch is needed as a patch.
    fn new(before: &Transfer, manifest: &Manifest, patched: &Patched) -> Count {
        let lacking = patched.plan.bytes + patched.bytes + manifest.lacked;
        let needed = before.needed.unwrap_or(lacking);
        // Frames outlive a kill and the count of them may not: what is no longer missing did come.
        let uncounted = needed.saturating_sub(lacking).saturating_sub(before.fetched);
        Count { needed: Some(needed), uncounted: uncounted + before.uncounted() }
    }

    fn transfer(&self, fetch: &Fetch<'_>) -> Transfer {
        Transfer { needed: self.needed, fetched: fetch.bytes() + self.uncounted, sources: fetch.given() }
    }
}

/// The work, with a note of what crossed the link now and then.
async fn with_notes<T>(
    site: &Site,
    job: JobId,
    fetch: &Fetch<'_>,
    count: &Count,
    work: impl Future<Output = Result<T, Halt>>,
) -> Result<T, Halt> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(CHECKPOINT_EVERY) => {
                site.journal.note_transfer(job, &count.transfer(fetch)).await?;
            }
        }
    }
}

/// The trees that this distribution stands in already. A site that serves children keeps whole packs for them instead.
async fn held_trees(site: &Site, task: &SendTask, manifest: &Manifest) -> Result<Option<Arc<Held>>, Halt> {
    if site.orders.has_children() {
        return Ok(None);
    }
    let Some(target) = site.journal.target_of(task.store).await? else { return Ok(None) };
    let state = target::state_dir(&site.work_dir, task.store, &target);
    let index = manifest.index.clone();
    let held = blocking(move || Held::open(&target, &state, &index)).await?;
    Ok(match held {
        Ok(held) => Some(Arc::new(held)),
        Err(error) => {
            tracing::warn!(distribution = %task.distribution, %error, "the extracted tree is not used as a source");
            None
        }
    })
}

fn result(manifest: &Manifest, count: &Count, fetch: &Fetch<'_>) -> SendResult {
    SendResult {
        bytes_content: manifest.header.bytes,
        bytes_stored: manifest.header.stored_bytes,
        bytes_needed: count.needed.unwrap_or_default(),
        bytes_fetched: fetch.bytes() + count.uncounted,
        already_held: count.needed == Some(0),
        sources: fetch.given(),
        held: None,
    }
}

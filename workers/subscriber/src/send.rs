//! A send: the revision comes into this site's store. It knows nothing of lanes and reports.

use std::sync::Arc;
use std::time::Duration;

use package::tree::Held;
use schemas::{JobId, SendResult, SendTask};
use worker::Context;

use crate::fetch::manifest::Manifest;
use crate::fetch::{Fetch, Order, Plan};
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
    let terms = site.orders.terms();
    let sources = site.sources.open(&task.sources, task.priority, terms.silence);
    site.upstreams.set(task.store, sources.clone());
    let order = Order {
        id: task.store,
        revision: task.revision,
        sources,
        floor: terms.floor,
        before: before.sources.clone(),
        for_children: site.orders.has_children(),
    };
    let fetch = Fetch::new(&site.depot, order, context)?;
    let manifest = fetch.manifest().await?;
    if task.keep.is_some_and(|keep| keep.delete_first) {
        site.retention.make_room(site, task.store, manifest.header.index.digest).await?;
    }
    let plan = fetch.plan(&manifest, held_trees(site, task, &manifest).await?).await?;
    let count = Count::new(&before, &manifest, &plan);
    site.journal.note_transfer(job, &count.transfer(&fetch)).await?;
    context.progress.set_totals(manifest.header.files, plan.bytes);
    let brought = bring(site, job, &fetch, &manifest, plan, &count).await;
    site.journal.note_transfer(job, &count.transfer(&fetch)).await?;
    brought?;
    let held = site.retention.settle(site, task.store, task.keep).await;
    Ok(SendResult { held, ..result(&manifest, &count, &fetch) })
}

/// Bytes lacking at the first start, and bytes that came before a restart without being counted.
struct Count {
    needed: u64,
    uncounted: u64,
}

impl Count {
    fn new(before: &Transfer, manifest: &Manifest, plan: &Plan) -> Count {
        let lacking = plan.bytes + manifest.lacked;
        let needed = before.needed.unwrap_or(lacking);
        // Frames outlive a kill and the count of them may not: what is no longer missing did come.
        let uncounted = needed.saturating_sub(lacking).saturating_sub(before.fetched);
        Count { needed, uncounted: uncounted + before.uncounted() }
    }

    fn transfer(&self, fetch: &Fetch<'_>) -> Transfer {
        Transfer { needed: Some(self.needed), fetched: fetch.bytes() + self.uncounted, sources: fetch.given() }
    }
}

async fn bring(
    site: &Site,
    job: JobId,
    fetch: &Fetch<'_>,
    manifest: &Manifest,
    plan: Plan,
    count: &Count,
) -> Result<(), Halt> {
    let bring = fetch.bring(manifest, plan);
    tokio::pin!(bring);
    loop {
        tokio::select! {
            brought = &mut bring => return brought,
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
        bytes_needed: count.needed,
        bytes_fetched: fetch.bytes() + count.uncounted,
        already_held: count.needed == 0,
        sources: fetch.given(),
        held: None,
    }
}

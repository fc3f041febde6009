//! What a site keeps: when a revision has come or was extracted, those beyond what is kept go; now and then what had stayed, or
//! had come, for a child's sake; and all of a distribution that is gone. It knows no network; what went can be fetched again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use blobs::Key;
use domain::retention::kept_at_site;
use schemas::{Digest, Header, HeldRevisions, Keep, RevisionRef, StoreId};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fetch::store_fault;
use crate::halt::{Halt, blocking};
use crate::site::Site;
use crate::store::{Store, Swept};
use crate::target;

/// However short the time is that what a child asked for stays.
const LOOK_EVERY_MIN: Duration = Duration::from_secs(1);
/// How long a sweep may go on when the site stops: it ends after the pack in hand.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// One at a time for a whole site: two that look at once would both be right and say different things.
#[derive(Default)]
pub struct Retention {
    alone: Mutex<()>,
    settled: std::sync::Mutex<BTreeMap<StoreId, Settled>>,
    sweeps: TaskTracker,
    stop: Arc<AtomicBool>,
}

/// A distribution of which nothing is held beyond its limits. That stays so until a header comes or goes, or the limits change.
struct Settled {
    keep: Keep,
    header_changes: u64,
    revisions: Vec<u64>,
}

/// What is held of a distribution, and whether some of it stayed for another reason than its limits.
struct Left {
    revisions: BTreeSet<u64>,
    lingers: bool,
}

impl Retention {
    /// Drops what is beyond `keep`, says what is held now, and makes room behind the caller's back. The job's own work is done:
    /// that something could not be dropped is no reason to say otherwise.
    pub async fn settle(&self, site: &Arc<Site>, id: StoreId, keep: Option<Keep>) -> Option<HeldRevisions> {
        if let Some(revisions) = keep.and_then(|keep| self.is_settled(site, id, keep)) {
            return Some(held_now(revisions));
        }
        let settled = self.try_settle(site, id, keep).await;
        settled
            .map_err(|error| tracing::warn!(store = %id, ?error, "what is beyond the limits could not be dropped"))
            .ok()
    }

    async fn try_settle(&self, site: &Arc<Site>, id: StoreId, keep: Option<Keep>) -> Result<HeldRevisions, Halt> {
        if let Some(keep) = keep {
            site.journal.note_keep(id, keep).await?;
        }
        let alone = self.alone.lock().await;
        let header_changes = site.depot.store.header_changes();
        let left = self.drop_beyond(site, id, keep, &alone).await;
        drop(alone);
        self.sweep_later(site, id);
        let left = left?;
        let revisions: Vec<u64> = left.revisions.into_iter().collect();
        if let Some(keep) = keep.filter(|_| !left.lingers) {
            let settled = Settled { keep, header_changes, revisions: revisions.clone() };
            self.settled().insert(id, settled);
        }
        Ok(held_now(revisions))
    }

    /// The revisions held, if nothing has changed since all others were dropped.
    fn is_settled(&self, site: &Site, id: StoreId, keep: Keep) -> Option<Vec<u64>> {
        let header_changes = site.depot.store.header_changes();
        let settled = self.settled();
        let unchanged = settled.get(&id).filter(|s| s.keep == keep && s.header_changes == header_changes);
        unchanged.map(|settled| settled.revisions.clone())
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, BTreeMap<StoreId, Settled>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is gone, at the start and whenever something is, and looks once in `every` for what only a child had asked
    /// for: nobody comes back for either.
    pub fn look_every(&self, site: &Arc<Site>, every: Duration, stop: CancellationToken) {
        let (site, every) = (site.clone(), every.max(LOOK_EVERY_MIN));
        let mut in_force = site.orders.watch();
        self.sweeps.spawn(async move {
            let (mut due, mut is_due) = (Instant::now() + every, false);
            loop {
                let forgets = in_force.borrow().forgets;
                if let Err(error) = site.retention.look_again(&site, is_due).await {
                    tracing::warn!(?error, "what is beyond the limits could not be dropped");
                }
                let told = tokio::time::timeout_at(due, in_force.wait_for(|now| now.forgets != forgets));
                let Some(told) = stop.run_until_cancelled(told).await else { return };
                is_due = told.is_err();
                if is_due {
                    due = Instant::now() + every;
                }
            }
        });
    }

    /// At what is gone; if it `is_due`, at all the rest too.
    async fn look_again(&self, site: &Arc<Site>, is_due: bool) -> Result<(), Halt> {
        for (id, gone) in unneeded(site).await? {
            let forgotten = gone && self.forget(site, id).await?;
            if is_due && !forgotten {
                site.upstreams.forget(id);
                self.let_go(site, id, None).await?;
            }
        }
        if !is_due {
            return Ok(());
        }
        for (id, keep) in site.journal.keeps().await? {
            if self.is_settled(site, id, keep).is_none() {
                self.try_settle(site, id, Some(keep)).await?;
            }
        }
        Ok(())
    }

    /// All of a distribution that is gone, unless a job in hand is about it.
    async fn forget(&self, site: &Arc<Site>, id: StoreId) -> Result<bool, Halt> {
        let _alone = self.alone.lock().await;
        if site.journal.is_downloading(id).await? || !site.journal.headers_in_hand(id).await?.is_empty() {
            return Ok(false);
        }
        site.upstreams.forget(id);
        let store = site.depot.store.clone();
        let bytes_freed = blocking(move || store.forget(id).map_err(store_fault)).await??;
        tracing::info!(store = %id, bytes_freed, "a distribution that is gone was forgotten");
        Ok(true)
    }

    /// Before the revision with this `index` comes: everything goes that it does not share, and that no job in hand needs.
    pub async fn make_room(&self, site: &Arc<Site>, id: StoreId, index: Digest) -> Result<(), Halt> {
        self.let_go(site, id, Some(index)).await
    }

    /// Everything goes that no job in hand needs and no child has asked for lately, but for the content of one index.
    async fn let_go(&self, site: &Arc<Site>, id: StoreId, but: Option<Digest>) -> Result<(), Halt> {
        let alone = self.alone.lock().await;
        let needed = site.journal.headers_in_hand(id).await?;
        let store = site.depot.store.clone();
        blocking(move || {
            for (digest, header) in store.headers(id).map_err(store_fault)? {
                if !needed.contains(&digest) && !is_being_served(&store, id, digest, &header) {
                    store.drop_header(id, digest).map_err(store_fault)?;
                    if but != Some(header.index.digest) {
                        store.drop_index(id, header.index.digest).map_err(store_fault)?;
                    }
                }
            }
            Ok::<_, Halt>(())
        })
        .await??;
        self.sweep(site, id, &alone).await
    }

    /// At the start: what an earlier sweep did not come to.
    pub async fn resume(&self, site: &Arc<Site>) {
        let store = site.depot.store.clone();
        match blocking(move || store.stores().map_err(store_fault)).await {
            Ok(Ok(stores)) => stores.into_iter().for_each(|id| self.sweep_later(site, id)),
            Ok(Err(error)) | Err(error) => tracing::warn!(?error, "the store cannot be looked through"),
        }
    }

    /// Returns when no sweep runs any more.
    pub async fn ended(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.sweeps.close();
        if tokio::time::timeout(STOP_PATIENCE, self.sweeps.wait()).await.is_err() {
            tracing::warn!("a sweep of the store goes on after the site's end");
        }
    }

    async fn drop_beyond(
        &self,
        site: &Arc<Site>,
        id: StoreId,
        keep: Option<Keep>,
        _alone: &MutexGuard<'_, ()>,
    ) -> Result<Left, Halt> {
        let mut needed = site.journal.headers_in_hand(id).await?;
        if !keep.is_some_and(|keep| keep.delete_first) {
            needed.extend(installed(site, id).await?);
        }
        let store = site.depot.store.clone();
        blocking(move || {
            let headers = store.headers(id).map_err(store_fault)?;
            let numbers: BTreeSet<u64> = headers.iter().map(|(_, header)| header.number).collect();
            let Some(keep) = keep else { return Ok(Left { revisions: numbers, lingers: true }) };
            let is_needed = |digest: &Digest, header: &Header| {
                needed.contains(digest) || is_being_served(&store, id, *digest, header)
            };
            let needed = headers.iter().filter(|(digest, header)| is_needed(digest, header));
            let kept = kept_at_site(&numbers, &needed.map(|(_, header)| header.number).collect(), keep);
            let named: BTreeSet<Digest> =
                headers.iter().filter(|(_, h)| kept.contains(&h.number)).map(|(_, h)| h.index.digest).collect();
            for (digest, header) in headers.iter().filter(|(_, header)| !kept.contains(&header.number)) {
                store.drop_header(id, *digest).map_err(store_fault)?;
                if !named.contains(&header.index.digest) {
                    store.drop_index(id, header.index.digest).map_err(store_fault)?;
                }
                tracing::debug!(store = %id, revision = header.number, "not kept any more");
            }
            let lingers = kept.len() > kept_at_site(&numbers, &BTreeSet::new(), keep).len();
            Ok(Left { revisions: kept, lingers })
        })
        .await?
    }

    fn sweep_later(&self, site: &Arc<Site>, id: StoreId) {
        let site = site.clone();
        self.sweeps.spawn(async move {
            let retention = &site.retention;
            let alone = retention.alone.lock().await;
            if !retention.stop.load(Ordering::Relaxed)
                && let Err(error) = retention.sweep(&site, id, &alone).await
            {
                tracing::warn!(store = %id, ?error, "the store could not be swept; the next time it is tried again");
            }
        });
    }

    async fn sweep(&self, site: &Arc<Site>, id: StoreId, _alone: &MutexGuard<'_, ()>) -> Result<(), Halt> {
        let downloading = site.journal.is_downloading(id).await?;
        let (store, stop) = (site.depot.store.clone(), self.stop.clone());
        let swept = blocking(move || store.sweep(id, downloading, &stop).map_err(store_fault)).await??;
        let Swept { bytes_freed, unfinished } = swept;
        if bytes_freed > 0 || unfinished {
            tracing::info!(store = %id, bytes_freed, unfinished, "the store was swept");
        }
        Ok(())
    }
}

fn held_now(revisions: Vec<u64>) -> HeldRevisions {
    HeldRevisions { as_of_ms: worker::now_ms(), revisions }
}

fn is_being_served(store: &Store, id: StoreId, header: Digest, of: &Header) -> bool {
    store.is_being_served(&Key::header(id, header)) || store.is_being_served(&Key::index(id, of.index.digest))
}

/// Distributions in the store that no job here was about, and those that are gone.
async fn unneeded(site: &Arc<Site>) -> Result<Vec<(StoreId, bool)>, Halt> {
    let store = site.depot.store.clone();
    let stores = blocking(move || store.stores().map_err(store_fault)).await??;
    let known = site.journal.stores().await?;
    let gone = |id: StoreId| known.get(&id).copied();
    Ok(stores.into_iter().filter(|id| gone(*id) != Some(false)).map(|id| (id, gone(id).is_some())).collect())
}

/// The header of what stands in the distribution's target.
async fn installed(site: &Arc<Site>, id: StoreId) -> Result<Option<Digest>, Halt> {
    let Some(target) = site.journal.target_of(id).await? else { return Ok(None) };
    let state = target::state_dir(&site.work_dir, id, &target);
    let found = blocking(move || {
        let mirrored = package::tree::installed(&target, &state)?.and_then(|standing| standing.live);
        Ok::<Option<RevisionRef>, package::tree::TreeError>(mirrored.or(package::tree::merged(&target, &state)?))
    })
    .await?;
    match found {
        Ok(revision) => Ok(revision.map(|revision| revision.header)),
        Err(error) => {
            let what = format!("what stands in the target of store {id} cannot be told: {error}");
            Err(Halt::transient("target-unreadable", what))
        }
    }
}

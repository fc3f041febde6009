//! Brings what a revision lacks into the store: header, index, frames, each checked by its digest. It knows no journal
//! and no target; counts go up to the caller.

mod frames;
pub mod manifest;
mod patched;
mod patched_frames;
mod supply;
#[cfg(test)]
mod tests;
mod width;

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use blobs::{Key, ReadBlobs};
use bytes::Bytes;
use package::Index;
use package::tree::Held;
use schemas::{RevisionRef, SourceBytes, StoreId};
use worker::Context;

use crate::config::{Retries, StepHook};
use crate::halt::{Halt, blocking, is_to_end, stopped, to_end};
use crate::space::{self, Floor};
use crate::store::{Store, StoreError};
use manifest::Manifest;
use supply::Supply;
use width::Width;

/// What is the same for all transfers of a site.
#[derive(Clone)]
pub struct Depot {
    pub store: Arc<Store>,
    /// Where the store lies.
    pub folder: PathBuf,
    /// What must stay free there, and where trees stand.
    pub floor: Floor,
    pub retries: Retries,
    pub observe: Option<StepHook>,
}

/// What is to be brought, and from where.
pub struct Order {
    pub id: StoreId,
    pub revision: RevisionRef,
    /// In the order in which they are asked.
    pub sources: Vec<Arc<dyn ReadBlobs>>,
    /// What the sources gave before a restart.
    pub before: Vec<SourceBytes>,
    /// Patches are kept: children will ask for them.
    pub for_children: bool,
}

/// Frames to be fetched: positions in the index, in order.
pub struct Plan {
    pub frames: Vec<u32>,
    pub bytes: u64,
}

impl Plan {
    fn of(index: &Index, frames: Vec<u32>) -> Plan {
        let bytes = frames.iter().map(|&at| u64::from(index.frames[at as usize].stored_bytes)).sum();
        Plan { frames, bytes }
    }
}

/// What is left of a plan, and what the patches cost that gave the rest.
pub struct Patched {
    pub plan: Plan,
    pub bytes: u64,
}

pub struct Fetch<'a> {
    depot: &'a Depot,
    id: StoreId,
    revision: RevisionRef,
    supply: Supply,
    for_children: bool,
    context: &'a Context,
    request_bytes: AtomicU64,
    width: Mutex<Width>,
    begun: Instant,
}

impl<'a> Fetch<'a> {
    pub fn new(depot: &'a Depot, order: Order, context: &'a Context) -> Result<Fetch<'a>, Halt> {
        if order.sources.is_empty() {
            let what = format!("no source is known for revision {} of {}", order.revision.number, order.id);
            return Err(Halt::transient("no-source", what));
        }
        Ok(Fetch {
            depot,
            id: order.id,
            revision: order.revision,
            supply: Supply::new(order.sources, &order.before),
            for_children: order.for_children,
            context,
            request_bytes: AtomicU64::new(frames::REQUEST_BYTES_FIRST),
            width: Mutex::default(),
            begun: Instant::now(),
        })
    }

    pub async fn manifest(&self) -> Result<Manifest, Halt> {
        manifest::fetch(self).await
    }

    /// What is missing: frames that the store lacks and whose chunks do not all stand in an extracted tree.
    pub async fn plan(&self, manifest: &Manifest, held: Option<Arc<Held>>) -> Result<Plan, Halt> {
        let (store, index, id) = (self.depot.store.clone(), manifest.index.clone(), self.id);
        blocking(move || {
            let mut frames = store.missing(id, &index).map_err(store_fault)?;
            if let (Some(held), false) = (held, frames.is_empty()) {
                frames = package::diff::frames_lacking_chunks(&index, &frames, |digest| held.contains(digest));
            }
            Ok(Plan::of(&index, frames))
        })
        .await?
    }

    /// Brings those frames of the plan that patches against an earlier revision give; `held` and the store have its
    /// content.
    pub async fn patch(&self, manifest: &Manifest, plan: Plan, held: Option<Arc<Held>>) -> Result<Patched, Halt> {
        patched_frames::bring(self, manifest, plan, held).await
    }

    /// Fetches all frames of the plan and makes the revision one that this store has.
    pub async fn bring(&self, manifest: &Manifest, plan: Plan) -> Result<(), Halt> {
        space::check(&self.depot.folder, plan.bytes, &self.depot.floor)?;
        let brought = tokio::select! {
            brought = frames::fetch(self, &manifest.index, plan) => brought,
            fault = space::falls_short(&self.depot.folder, &self.depot.floor) => Err(fault),
        };
        let (store, id, digest, header) =
            (self.depot.store.clone(), self.id, self.revision.header, manifest.header_bytes.clone());
        let complete = brought.is_ok();
        let kept = blocking(move || {
            store.flush().map_err(store_fault)?;
            if complete { store.put_header(id, digest, &header).map_err(store_fault) } else { Ok(()) }
        });
        brought.and(kept.await?)
    }

    /// Bytes that each source gave, over restarts.
    pub fn given(&self) -> Vec<SourceBytes> {
        self.supply.report()
    }

    pub fn bytes(&self) -> u64 {
        self.supply.bytes()
    }

    fn pace(&self) -> MutexGuard<'_, Width> {
        self.width.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn observe(&self, step: &'static str) -> Result<(), Halt> {
        let Some(observe) = self.depot.observe.clone() else { return Ok(()) };
        let seen = blocking(move || observe(step)).await?;
        seen.map_err(|e| Halt::transient("store-failed", e.to_string()))
    }

    /// A whole object with the digest of its key, from the first source that has it so.
    async fn object(&self, key: Key, bytes_max: u64) -> Result<Bytes, Halt> {
        for round in 0.. {
            self.begin_round(round).await?;
            for supplier in self.supply.in_order() {
                let answer = tokio::select! {
                    () = stopped(self.context) => return Err(Halt::Stopped),
                    answer = self.supply.ask(supplier, &key, bytes_max) => answer,
                };
                let Some(bytes) = answer else { continue };
                if schemas::Digest::of(&bytes) == key.digest {
                    return Ok(bytes);
                }
                self.supply.corrupt(supplier, &key.to_string());
            }
        }
        unreachable!("begin_round gives up in the end")
    }

    /// The wait before round `round` without progress; gives up after the last.
    async fn begin_round(&self, round: u32) -> Result<(), Halt> {
        if is_to_end(self.context) {
            return Err(Halt::Stopped);
        }
        if round >= self.depot.retries.rounds.max(1) {
            return Err(self.given_up());
        }
        self.supply.begin_round();
        if round == 0 {
            return Ok(());
        }
        let seed = getrandom::u64().unwrap_or_default();
        tokio::select! {
            () = to_end(self.context) => Err(Halt::Stopped),
            () = tokio::time::sleep(worker::backoff(round - 1, seed)) => Ok(()),
        }
    }

    fn given_up(&self) -> Halt {
        let what = format!(
            "revision {} of {}: no source gave what is missing after {} rounds; last: {}",
            self.revision.number,
            self.id,
            self.depot.retries.rounds,
            self.supply.cause()
        );
        Halt::transient("content-unreachable", what)
    }
}

pub(crate) fn store_fault(error: StoreError) -> Halt {
    match &error {
        StoreError::Io { path, .. } if error.is_full() => {
            Halt::transient("disk-full", format!("{error}; {}", space::figures(path)))
        }
        _ => Halt::transient("store-failed", error.to_string()),
    }
}

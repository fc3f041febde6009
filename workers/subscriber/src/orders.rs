//! What is in force at this site: settings, pauses, cancels, children, distributions that are gone. Every change is in the
//! journal before it counts. It knows no queue: who brings a change is not its business.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemas::{ChildKey, JobId, Lane, Settings, StoreId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::journal::{Children, Journal, JournalError};
use crate::limits::SiteLimits;
use crate::serve;

/// O4's time-out, until the settings have come.
const CONNECT_TIMEOUT_S: u32 = 300;
const CONNECT_TIMEOUT_S_MAX: u32 = 60_000;

/// What lanes and presence watch.
#[derive(Debug, Clone, Default)]
pub struct InForce {
    pub settings: Option<Arc<Settings>>,
    pub paused: BTreeSet<Lane>,
    /// Control messages that waited when the site started have been read: lanes may take messages.
    pub control_read: bool,
    /// Grows with every cancel, so that a waiting lane looks again.
    pub cancels: u64,
    /// Grows with every distribution that is gone.
    pub forgets: u64,
}

pub struct Orders {
    journal: Journal,
    in_force: watch::Sender<InForce>,
    running: Mutex<HashMap<JobId, CancellationToken>>,
    served: serve::Children,
    limits: SiteLimits,
    has_children: AtomicBool,
}

impl Orders {
    /// From what the journal holds.
    pub async fn open(
        journal: Journal,
        served: serve::Children,
        limits: SiteLimits,
    ) -> Result<Arc<Orders>, JournalError> {
        let settings = journal.settings().await?.map(Arc::new);
        if let Some(settings) = &settings {
            limits.put(settings);
        }
        let paused = journal.paused().await?;
        let (in_force, _) = watch::channel(InForce { settings, paused, ..InForce::default() });
        let children = journal.children().await?;
        let (running, has_children) = (Mutex::default(), AtomicBool::new(false));
        let orders = Orders { journal, in_force, running, served, limits, has_children };
        if let Some(children) = children {
            orders.serve(&children);
        }
        Ok(Arc::new(orders))
    }

    pub fn watch(&self) -> watch::Receiver<InForce> {
        self.in_force.subscribe()
    }

    pub fn settings(&self) -> Option<Arc<Settings>> {
        self.in_force.borrow().settings.clone()
    }

    /// After so long without a byte a source is given up.
    pub fn silence(&self) -> Duration {
        let seconds = self.settings().map_or(CONNECT_TIMEOUT_S, |s| s.connect_timeout_s);
        Duration::from_secs(seconds.clamp(1, CONNECT_TIMEOUT_S_MAX).into())
    }

    pub fn has_children(&self) -> bool {
        self.has_children.load(Relaxed)
    }

    pub fn control_was_read(&self) {
        self.in_force.send_modify(|f| f.control_read = true);
    }

    /// Newer settings replace older ones; an older version changes nothing.
    pub async fn put_settings(&self, settings: &Settings) -> Result<(), JournalError> {
        if self.journal.put_settings(settings).await? {
            tracing::info!(version = settings.version, "settings are in force");
            self.limits.put(settings);
            self.in_force.send_modify(|f| f.settings = Some(Arc::new(settings.clone())));
        }
        Ok(())
    }

    pub async fn set_paused(&self, lane: Lane, paused: bool) -> Result<(), JournalError> {
        self.journal.set_paused(&lane, paused).await?;
        self.in_force.send_modify(|f| {
            if paused {
                f.paused.insert(lane)
            } else {
                f.paused.remove(&lane)
            };
        });
        Ok(())
    }

    pub async fn put_children(&self, version: u64, children: Vec<ChildKey>) -> Result<(), JournalError> {
        let children = Children { version, children };
        if self.journal.put_children(&children).await? {
            self.serve(&children);
        }
        Ok(())
    }

    /// Nothing more is noted of these distributions; what is kept of them goes behind the caller's back.
    pub async fn forget(&self, stores: &[StoreId]) -> Result<(), JournalError> {
        self.journal.note_gone(stores).await?;
        self.in_force.send_modify(|f| f.forgets += stores.len() as u64);
        Ok(())
    }

    fn serve(&self, children: &Children) {
        match self.served.replace(children.version, &children.children) {
            Ok(_) => self.has_children.store(!children.children.is_empty(), Relaxed),
            Err(error) => tracing::warn!(version = children.version, %error, "these children's keys are not used"),
        }
    }

    /// Stops a job at its next safe point, or before it begins.
    pub async fn cancel(&self, job: JobId) -> Result<(), JournalError> {
        self.journal.cancel(job).await?;
        if let Some(token) = self.running().get(&job) {
            token.cancel();
        }
        self.in_force.send_modify(|f| f.cancels += 1);
        Ok(())
    }

    /// The token that a cancel of this job fires; it counts until the guard is dropped. Ask the journal afterwards: a
    /// cancel may have come before.
    pub fn register(self: &Arc<Self>, job: JobId) -> Registered {
        let token = CancellationToken::new();
        self.running().insert(job, token.clone());
        Registered { orders: self.clone(), job, token }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<JobId, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Registered {
    orders: Arc<Orders>,
    job: JobId,
    pub token: CancellationToken,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.orders.running().remove(&self.job);
    }
}

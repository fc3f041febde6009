//! The standby tree of a first revision, made when nobody waits for it: the second one then costs what it changes. It knows
//! not how a tree is staged. What it leaves undone the next extract does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use package::tree::TreeError;
use schemas::StoreId;
use tokio::sync::{Mutex as Turns, OwnedMutexGuard};
use tokio_util::task::TaskTracker;
use worker::Context;

use crate::halt::{Halt, blocking, stopped};

/// The report of the extract, and what it sets in motion, go first.
const AFTER: Duration = Duration::from_millis(250);
/// How long it may take to notice that the site stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// One tree at a time for a whole site.
#[derive(Default)]
pub struct Standby {
    /// Who works in a distribution's trees; of those that somebody works in.
    turns: Mutex<HashMap<StoreId, Arc<Turns<()>>>>,
    alone: Arc<Turns<()>>,
    work: TaskTracker,
    stop: Arc<AtomicBool>,
}

impl Standby {
    /// The distribution's trees for the caller alone. What is being made of them is waited for: it is work that the caller
    /// would have to do itself.
    pub async fn turn(&self, store: StoreId, context: &Context) -> Result<OwnedMutexGuard<()>, Halt> {
        let turn = self.turn_of(store);
        tokio::select! {
            () = stopped(context) => Err(Halt::Stopped),
            turn = turn.lock_owned() => Ok(turn),
        }
    }

    /// Makes it later, with a flag by which it is stopped. `make` says whether there was anything to make.
    pub fn make_later(
        &self,
        store: StoreId,
        make: impl FnOnce(&AtomicBool) -> Result<bool, TreeError> + Send + 'static,
    ) {
        let (alone, turn, stop) = (self.alone.clone(), self.turn_of(store), self.stop.clone());
        self.work.spawn(async move {
            tokio::time::sleep(AFTER).await;
            let _alone = alone.lock().await;
            let _turn = turn.lock().await;
            match blocking(move || make(&stop)).await {
                Ok(Ok(made)) => tracing::debug!(%store, made, "the standby tree was looked after"),
                Ok(Err(TreeError::Cancelled)) => {}
                Ok(Err(error)) => tracing::info!(%store, %error, "no standby tree was made; the next extract makes it"),
                Err(error) => tracing::warn!(%store, ?error, "the making of a standby tree ended badly"),
            }
        });
    }

    /// Returns when nothing is made any more.
    pub async fn ended(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.work.close();
        if tokio::time::timeout(STOP_PATIENCE, self.work.wait()).await.is_err() {
            tracing::warn!("the making of a standby tree goes on after the site's end");
        }
    }

    fn turn_of(&self, store: StoreId) -> Arc<Turns<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(store).or_default().clone()
    }
}

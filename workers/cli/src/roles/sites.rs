//! A site for every subscriber that is defined, all in this process, each with a working directory and a loopback server of
//! its own. One that fails is started again; it knows nothing of what sites do.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blobs::ReadBlobs;
use queue::Queue;
use schemas::SubscriberName;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::site_folders;

/// Who is defined, each with the public key that it was first seen with.
type Keys = BTreeMap<SubscriberName, Option<String>>;

/// Above it, a site that failed was healthy before, and its failures are counted anew.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Sites {
    /// Below it each site has a folder of its name.
    pub folder: PathBuf,
    pub queue: Arc<dyn Queue>,
    pub origin: Arc<dyn ReadBlobs>,
    pub drain_time: Duration,
    pub served_kept: Option<Duration>,
}

/// A site that was started.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Sites {
    /// Follows `names` until `stop`, then until every site has drained.
    pub async fn run(self, mut names: watch::Receiver<Keys>, stop: CancellationToken) {
        let mut running: BTreeMap<SubscriberName, Running> = BTreeMap::new();
        let mut stopping: BTreeMap<SubscriberName, Running> = BTreeMap::new();
        loop {
            let wanted = names.borrow_and_update().clone();
            stopping.retain(|_, site| !site.task.is_finished());
            let gone: Vec<SubscriberName> = running.keys().filter(|name| !wanted.contains_key(name)).cloned().collect();
            for (name, site) in gone.into_iter().filter_map(|name| running.remove_entry(&name)) {
                tracing::info!(subscriber = %name, "is not defined any more; its site stops");
                site.stop.cancel();
                stopping.insert(name, site);
            }
            for (name, key) in &wanted {
                if let Entry::Vacant(place) = running.entry(name.clone()) {
                    let old = key.as_ref().and_then(|key| site_folders::left_by(&self.folder, name, key, &wanted));
                    let before = stopping.remove(old.as_ref().unwrap_or(name));
                    place.insert(self.start(name, old, before, &stop));
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = names.changed() => if changed.is_err() {
                    stop.cancelled().await;
                    break;
                },
            }
        }
        for site in running.into_values().chain(stopping.into_values()) {
            let _ = site.task.await;
        }
    }

    /// `before` is the same site, still draining: two must not work in one folder. `old` is what it was called then, if it was
    /// renamed: its folder goes with it.
    fn start(
        &self,
        name: &SubscriberName,
        old: Option<SubscriberName>,
        before: Option<Running>,
        stop: &CancellationToken,
    ) -> Running {
        let (sites, name, stop) = (self.clone(), name.clone(), stop.child_token());
        let token = stop.clone();
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.task.await;
            }
            if let Some(old) = old {
                site_folders::rename(&sites.folder, &old, &name);
            }
            sites.keep(name, token).await;
        });
        Running { stop, task }
    }

    async fn keep(&self, name: SubscriberName, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let began = tokio::time::Instant::now();
            let settings = self.settings(&name);
            let ended = subscriber::run(settings, self.queue.clone(), self.origin.clone(), stop.clone()).await;
            let Err(error) = ended else { return };
            failures = if began.elapsed() > HEALTHY_AFTER { 0 } else { failures + 1 };
            tracing::error!(subscriber = %name, %error, "the site ended; it is started again");
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(worker::backoff(failures, u64::from(std::process::id()))) => {}
            }
        }
    }

    fn settings(&self, name: &SubscriberName) -> subscriber::Config {
        let mut settings = subscriber::Config::new(name.clone(), self.folder.join(name.as_str()));
        settings.listen = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        settings.drain_time = self.drain_time;
        settings.served_kept = self.served_kept.unwrap_or(settings.served_kept);
        settings
    }
}

//! A site from its start to its end: journal, keys, server, control, lanes. It knows nothing of what they do.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use blobs::{ReadBlobs, SiteKey};
use queue::{Queue, QueueError};
use schemas::{ContentSource, Priority};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use worker::{ProgressBoard, Reporter};

use crate::config::Config;
use crate::control::ControlLoop;
use crate::desk::Desk;
use crate::fetch::Depot;
use crate::journal::{Journal, JournalError};
use crate::lane::LaneTools;
use crate::lanes::Lanes;
use crate::limits::SiteLimits;
use crate::orders::Orders;
use crate::own_process;
use crate::presence::PresenceLoop;
use crate::recovery;
use crate::retention::Retention;
use crate::serve::{self, ServeConfig, Serving, Upstreams};
use crate::site::{Site, machine};
use crate::slots::Slots;
use crate::sources::{Asker, SourceBook};
use crate::standby::Standby;
use crate::store::{STORE_FOLDER, Store, StoreError};

/// How long the last reports may take to reach the broker; what does not stays in the journal.
const REPORT_PATIENCE: Duration = Duration::from_secs(5);
const OWNER_ONLY: u32 = 0o700;

#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    #[error("the working directory {path} cannot be used: {source}", path = path.display())]
    WorkDir { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the site's key: {0}")]
    Key(#[from] blobs::SiteKeyError),
    #[error(transparent)]
    Serve(#[from] serve::ServeError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Runs until `shutdown`, or until the queue is closed underneath. Work in hand then has `config.drain_time` to end; what
/// does not is given back, or stays in the journal for the next start.
pub async fn run(
    config: Config,
    queue: Arc<dyn Queue>,
    origin: Arc<dyn ReadBlobs>,
    shutdown: CancellationToken,
) -> Result<(), SiteError> {
    let site = Opened::open(&config, origin).await?;
    let stop = shutdown.child_token();
    let serving = site.serve(&config, stop.clone()).await?;
    let reporter = Reporter::start(queue.clone());
    let board = ProgressBoard::new(config.name.to_string());
    let progress = board.publish(queue.clone(), stop.clone());
    let tools = site.lane_tools(&config, queue.clone(), reporter.clone(), board, stop.clone());
    repeat_unconfirmed(&tools).await?;
    site.site.retention.resume(&site.site).await;
    site.site.retention.look_every(&site.site, config.served_kept, stop.clone());

    let told = tokio::spawn(own_process::follow(site.site.clone(), config.log.clone(), stop.clone()));
    let presence = tokio::spawn(site.presence(&config, queue.clone(), &serving, stop.clone()).run());
    let control = ControlLoop {
        site: config.name.clone(),
        queue: queue.clone(),
        orders: site.orders.clone(),
        shutdown: stop.clone(),
    };
    let drain = tokio::spawn(drain(config.drain_time, stop.clone(), tools.drained.clone()));
    let reports = tools.reports.clone();
    let lanes = tokio::spawn(work(config.work_dir.clone(), Lanes::new(config.name.clone(), tools), stop.clone()));

    let controlled = control.run().await;
    stop.cancel();
    let worked = lanes.await.unwrap_or(Ok(()));
    drain.abort();
    reports.close();
    let _ = tokio::time::timeout(REPORT_PATIENCE, reports.wait()).await;
    reporter.close(REPORT_PATIENCE).await;
    let (presence, ..) = tokio::join!(presence, progress, told);
    if let Ok(presence) = presence {
        presence.last().await;
    }
    if let Some(serving) = serving {
        serving.ended().await;
    }
    tokio::join!(site.site.retention.ended(), site.site.standby.ended());
    site.journal.close().await;
    worked?;
    Ok(controlled?)
}

/// What a site has before it talks to anybody.
struct Opened {
    journal: Journal,
    orders: Arc<Orders>,
    children: serve::Children,
    limits: SiteLimits,
    upstreams: Upstreams,
    site: Arc<Site>,
    key: SiteKey,
}

impl Opened {
    async fn open(config: &Config, origin: Arc<dyn ReadBlobs>) -> Result<Opened, SiteError> {
        let dir = &config.work_dir;
        make_folder(dir)?;
        make_folder(&dir.join("keys"))?;
        let key = SiteKey::load_or_generate(&dir.join("keys").join("site.key"))?;
        let journal = Journal::open(&dir.join("journal.sqlite")).await?;
        let children = serve::Children::default();
        let limits = SiteLimits::default();
        let orders = Orders::open(journal.clone(), children.clone(), limits.clone()).await?;
        let asker = Asker { site: config.name.clone(), key: key.clone() };
        let sources = SourceBook::new(asker, origin, config.retries.tries_per_source, limits.rate_in.clone());
        let upstreams = Upstreams::default();
        upstreams.set_default(sources.open(&[ContentSource::ORIGIN], Priority::default(), orders.silence()));
        for (store, list) in journal.sources().await? {
            upstreams.set(store, sources.open(&list, Priority::default(), orders.silence()));
        }
        let site = Arc::new(Site {
            journal: journal.clone(),
            orders: orders.clone(),
            sources,
            upstreams: upstreams.clone(),
            depot: Depot {
                store: Arc::new(Store::open(dir.join(STORE_FOLDER))?.keep_served(config.served_kept)),
                folder: dir.clone(),
                floor: limits.floor.clone(),
                retries: config.retries,
                observe: config.observe.clone(),
            },
            retention: Retention::default(),
            standby: Standby::default(),
            work_dir: dir.clone(),
            machine: machine(config),
        });
        Ok(Opened { journal, orders, children, limits, upstreams, site, key })
    }

    async fn serve(&self, config: &Config, stop: CancellationToken) -> Result<Option<Serving>, SiteError> {
        let Some(listen) = config.listen else { return Ok(None) };
        let serve_config = ServeConfig {
            listen,
            name: config.name.clone(),
            limits: Default::default(),
            outflow: self.limits.outflow.clone(),
            floor: self.limits.floor.clone(),
        };
        let store = self.site.depot.store.clone();
        Ok(Some(serve::serve(serve_config, store, self.children.clone(), self.upstreams.clone(), stop).await?))
    }

    fn lane_tools(
        &self,
        config: &Config,
        queue: Arc<dyn Queue>,
        reporter: Reporter,
        board: Arc<ProgressBoard>,
        shutdown: CancellationToken,
    ) -> LaneTools {
        LaneTools {
            site: self.site.clone(),
            queue,
            journal: self.journal.clone(),
            orders: self.orders.clone(),
            desk: Desk::new(config.name.clone(), self.journal.clone(), reporter),
            board,
            slots: Slots::new(config.slots),
            started_after: config.started_after,
            shutdown,
            drained: CancellationToken::new(),
            reports: TaskTracker::new(),
        }
    }

    fn presence(
        &self,
        config: &Config,
        queue: Arc<dyn Queue>,
        serving: &Option<Serving>,
        shutdown: CancellationToken,
    ) -> PresenceLoop {
        let bound = serving.as_ref().map(|s| format!("http://{}", s.addr()));
        PresenceLoop {
            site: config.name.clone(),
            queue,
            journal: self.journal.clone(),
            orders: self.orders.clone(),
            url: config.public_url.clone().filter(|_| bound.is_some()).or(bound),
            public_key: self.key.public_hex(),
            every: config.presence_every,
            run: uuid::Uuid::now_v7(),
            shutdown,
        }
    }
}

/// Ends that the broker did not have when the site stopped.
async fn repeat_unconfirmed(tools: &LaneTools) -> Result<(), JournalError> {
    let endings = tools.journal.unconfirmed().await?;
    let desk = tools.desk.clone();
    tools.reports.spawn(async move {
        for ending in endings {
            if let Err(error) = desk.report(ending).await {
                tracing::warn!(%error, "a report waits for the next start");
            }
        }
    });
    Ok(())
}

async fn work(work_dir: PathBuf, lanes: Lanes, stop: CancellationToken) -> Result<(), JournalError> {
    recovery::undo_all(&work_dir, &stop).await;
    lanes.run().await
}

async fn drain(time: Duration, shutdown: CancellationToken, drained: CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(time).await;
    drained.cancel();
}

/// The site's key and its content are nobody else's to read.
fn make_folder(path: &Path) -> Result<(), SiteError> {
    let made = DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(path);
    made.map_err(|source| SiteError::WorkDir { path: path.to_owned(), source })
}

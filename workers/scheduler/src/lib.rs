//! The scheduler: takes requests in, plans them into jobs, and, while it leads, fires schedules and sweeps. It knows no content
//! and never talks to a worker but through the queue. Any number may run; only ticks and sweeps need a leader.

mod began;
mod fleet;
mod intake;
mod lead;
mod plan;
mod planner;
mod retention;
mod tell;

use std::sync::Arc;
use std::time::Duration;

use dispatch::Dispatcher;
use fleet::InEffect;
use queue::Queue;
use records::{Fleet, Records, RecordsError, Term, Thresholds};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub use retention::Retention;

pub const LEASE_DEFAULT: Duration = Duration::from_secs(10);
pub const LEASE_MAX: Duration = Duration::from_secs(300);

#[derive(Debug, Clone)]
pub struct Config {
    /// Who leads, as leases name it; unique per process.
    pub holder: String,
    /// Another scheduler takes over when the leader has been silent for so long.
    pub lease: Duration,
    /// How often the leader looks for what is due.
    pub tick: Duration,
    /// How often the leader sweeps.
    pub sweep: Duration,
    /// How often requests that others stored are looked for.
    pub poll: Duration,
    pub thresholds: Thresholds,
    pub retention: Retention,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            holder: format!("{}/{}", worker::worker_id("scheduler"), uuid::Uuid::now_v7().simple()),
            lease: LEASE_DEFAULT,
            tick: Duration::from_millis(250),
            sweep: Duration::from_secs(1),
            poll: Duration::from_millis(200),
            thresholds: Thresholds::default(),
            retention: Retention::default(),
        }
    }
}

/// What the loops share.
pub(crate) struct Tools {
    config: Config,
    records: Records,
    dispatcher: Arc<Dispatcher>,
    queue: Arc<dyn Queue>,
    fleet: InEffect,
    /// Under which this scheduler leads, as far as it knows; the database knows better.
    term: watch::Sender<Option<Term>>,
    /// Somebody stored a request in this process.
    asked: Notify,
    shutdown: CancellationToken,
}

impl Tools {
    async fn fleet(&self) -> Result<Arc<Fleet>, RecordsError> {
        self.fleet.get(&self.records).await
    }

    /// Waits, but not past the shutdown.
    async fn pause(&self, time: Duration) {
        worker::pause(time, &self.shutdown).await;
    }
}

/// Runs until `shutdown`; a request that is being planned is planned to its next step.
pub async fn run(
    config: Config,
    records: Records,
    dispatcher: Arc<Dispatcher>,
    queue: Arc<dyn Queue>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let (fleet, term, asked) = (InEffect::default(), watch::Sender::new(None), Notify::new());
    let tools = Tools { config, records, dispatcher, queue, fleet, term, asked, shutdown };
    tokio::try_join!(intake::run(&tools), planner::run(&tools), lead::run(&tools), tell::run(&tools))?;
    Ok(())
}

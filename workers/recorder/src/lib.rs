//! The recorder: reports, progress and dead letters become rows, in batches, and what comes next is published. It knows no
//! content and plans nothing.

mod attest;
mod beats;
mod dead;
mod reports;

use std::sync::Arc;
use std::time::Duration;

use dispatch::Dispatcher;
use queue::Queue;
use records::Records;
use tokio_util::sync::CancellationToken;

/// Between two tries of a step that failed for a passing reason.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, Clone)]
pub struct Config {
    /// Deliveries in hand at a time; a batch is at most as many.
    pub prefetch: u16,
    /// How often it says up to when reports are recorded.
    pub heard_every: Duration,
    /// Longer without saying so means that nobody was listening.
    pub gap: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config { prefetch: 512, heard_every: Duration::from_secs(1), gap: Duration::from_secs(10) }
    }
}

/// Runs until `shutdown`; a batch in hand is finished first.
pub async fn run(
    config: Config,
    records: Records,
    dispatcher: Arc<Dispatcher>,
    queue: Arc<dyn Queue>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let heard = beats::Heard::default();
    let reports = reports::run(&config, &records, &dispatcher, &queue, &heard, &shutdown);
    let beats = beats::run(&records, &queue, &shutdown);
    let hearing = beats::keep_hearing(&config, &records, &queue, &heard, &shutdown);
    let dead = dead::run(&records, &queue, &shutdown);
    tokio::try_join!(reports, beats, hearing, dead)?;
    Ok(())
}

/// Before a step that failed for a passing reason is tried again.
async fn pause(shutdown: &CancellationToken) {
    worker::pause(AGAIN, shutdown).await;
}

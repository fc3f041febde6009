//! The end of a job's window, by this site's clock: it came with the job, so that it counts while the broker is away. It knows
//! nothing of the work that stops.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long what is under way may take to end after the window has: then it is dropped.
const GRACE: Duration = Duration::from_secs(30);
/// The clock is looked at so often, because it may be set.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// While a job runs; dropping it ends the watch.
pub struct Window {
    stop_at_ms: Option<i64>,
    /// Nothing more is begun.
    pub closing: CancellationToken,
    /// What is under way is dropped; also cancelled when the site's time to drain is over.
    pub drain: CancellationToken,
    watch: Option<JoinHandle<()>>,
}

impl Window {
    pub fn watch(stop_at_ms: Option<i64>, drained: &CancellationToken) -> Window {
        let (closing, drain) = (CancellationToken::new(), drained.child_token());
        let watch = stop_at_ms.map(|at_ms| tokio::spawn(close(at_ms, closing.clone(), drain.clone())));
        Window { stop_at_ms, closing, drain, watch }
    }

    /// The end that made the work stop.
    pub fn ended_ms(&self) -> Option<i64> {
        self.stop_at_ms.filter(|_| self.closing.is_cancelled())
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

/// The end of a window that is over before the work begins.
pub fn over(stop_at_ms: Option<i64>) -> Option<i64> {
    stop_at_ms.filter(|at_ms| *at_ms <= worker::now_ms())
}

async fn close(at_ms: i64, closing: CancellationToken, drain: CancellationToken) {
    loop {
        let left_ms = at_ms.saturating_sub(worker::now_ms());
        if left_ms <= 0 {
            break;
        }
        tokio::time::sleep(LOOK_EVERY.min(Duration::from_millis(left_ms as u64))).await;
    }
    closing.cancel();
    tokio::time::sleep(GRACE).await;
    drain.cancel();
}

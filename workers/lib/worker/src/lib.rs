//! What every worker needs around its work: queues read until the shutdown, the run loop of stateless workers, reports that survive a broker's absence,
//! progress, drain, health. It knows nothing of what a job does.

mod active;
mod backoff;
pub mod dead;
pub mod decode;
mod health;
mod loop_options;
mod perform;
mod process;
mod progress;
mod queue_reader;
mod reporter;
mod run_loop;
mod slot;
pub mod step;

pub use backoff::backoff;
pub use health::{Health, HealthSnapshot};
pub use loop_options::{LoopOptions, LoopTools, SLOTS_MAX, fixed_queues};
pub use perform::{Context, Outcome, Perform};
pub use process::{now_ms, shutdown_on_signals, worker_id};
pub use progress::{ProgressBoard, ProgressHandle};
pub use queue_reader::{QueueReader, pause};
pub use reporter::{ReportError, Reporter};
pub use run_loop::run_loop;

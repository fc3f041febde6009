//! The seam between the loop and the work. It knows no queue: what a job came to is a value.

use async_trait::async_trait;
use schemas::{Event, Fault, JobMessage, JobResult};
use tokio_util::sync::CancellationToken;

use crate::ProgressHandle;

/// What a job came to. Only the run loop reports and acknowledges.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Done(JobResult),
    /// A transient fault: another attempt may succeed.
    Retry(Fault),
    /// A permanent fault: no attempt can succeed.
    Reject(Fault),
    Cancelled,
    /// The work was given back unfinished; no attempt is counted.
    Yielded,
}

impl Outcome {
    /// The report's event.
    pub fn into_event(self, took_ms: i64) -> Event {
        match self {
            Outcome::Done(result) => Event::Succeeded { took_ms, result },
            Outcome::Retry(fault) => Event::Failed { took_ms, fault: Fault { permanent: false, ..fault } },
            Outcome::Reject(fault) => Event::Failed { took_ms, fault: Fault { permanent: true, ..fault } },
            Outcome::Cancelled => Event::Cancelled {},
            Outcome::Yielded => Event::Yielded {},
        }
    }
}

#[async_trait]
pub trait Perform: Send + Sync + 'static {
    /// Does one job. It may be called again for the same job and attempt, and must then have its effect once.
    async fn perform(&self, message: &JobMessage, context: &Context) -> Outcome;
}

/// What the loop tells the work.
#[derive(Clone)]
pub struct Context {
    /// Somebody cancelled the job: end with `Cancelled`, or with `Done` if it was too late.
    pub cancel: CancellationToken,
    /// The time to drain is over: end with `Yielded`.
    pub drain: CancellationToken,
    /// The job's window has ended: end what is under way, begin nothing more, and end with `Yielded`.
    pub closing: CancellationToken,
    pub progress: ProgressHandle,
}

impl Context {
    /// Never cancelled, never drained, watched by nobody.
    pub fn detached() -> Context {
        Context {
            cancel: CancellationToken::new(),
            drain: CancellationToken::new(),
            closing: CancellationToken::new(),
            progress: ProgressHandle::detached(),
        }
    }
}

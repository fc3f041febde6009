//! Why a piece of work ends before its end. It knows no journal and no report.

use schemas::Fault;
use worker::{Context, Outcome};

use crate::journal::JournalError;

#[derive(Debug)]
pub enum Halt {
    /// A person cancelled it, its window ended, or the site stops.
    Stopped,
    Fault(Fault),
}

impl Halt {
    pub fn outcome(self, context: &Context) -> Outcome {
        match self {
            Halt::Stopped if context.cancel.is_cancelled() => Outcome::Cancelled,
            Halt::Stopped => Outcome::Yielded,
            Halt::Fault(fault) if fault.permanent => Outcome::Reject(fault),
            Halt::Fault(fault) => Outcome::Retry(fault),
        }
    }

    pub fn transient(code: &str, message: impl Into<String>) -> Halt {
        Halt::Fault(Fault::transient(code, message))
    }

    pub fn permanent(code: &str, message: impl Into<String>) -> Halt {
        Halt::Fault(Fault::permanent(code, message))
    }
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Halt {
        Halt::Fault(fault)
    }
}

impl From<JournalError> for Halt {
    fn from(error: JournalError) -> Halt {
        Halt::transient("journal-failed", error.to_string())
    }
}

/// Ends when work is to be dropped, for whichever reason.
pub async fn stopped(context: &Context) {
    tokio::select! {
        () = context.cancel.cancelled() => {}
        () = context.drain.cancelled() => {}
    }
}

/// Ends when work that can end at a safe point is to do so.
pub async fn to_end(context: &Context) {
    tokio::select! {
        () = stopped(context) => {}
        () = context.closing.cancelled() => {}
    }
}

/// Nothing more is to be begun.
pub fn is_to_end(context: &Context) -> bool {
    context.cancel.is_cancelled() || context.drain.is_cancelled() || context.closing.is_cancelled()
}

/// Runs `work` on a thread that may block.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Halt> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|e| Halt::transient("worker-panic", format!("a thread of this job ended badly: {e}")))
}

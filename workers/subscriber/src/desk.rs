//! Ends of jobs become reports: written in the journal first, sent until the broker has them. It knows no delivery.

use schemas::{Event, JobId, JobMessage, Report, SubscriberName};
use worker::{ReportError, Reporter};

use crate::journal::{Ending, Journal, JournalError, OpenJob};

#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("a report was not sent: {0:?}")]
    Report(ReportError),
}

#[derive(Clone)]
pub struct Desk {
    site: SubscriberName,
    journal: Journal,
    reporter: Reporter,
}

impl Desk {
    pub fn new(site: SubscriberName, journal: Journal, reporter: Reporter) -> Desk {
        Desk { site, journal, reporter }
    }

    /// Returns when the broker has it. `at_ms` is when the work began, a while ago.
    pub async fn started(&self, job: &OpenJob, attempt: u32, at_ms: i64) -> Result<(), DeskError> {
        self.send_of(job.job, attempt, job.lane.clone(), Event::Started {}, at_ms).await
    }

    /// Returns when the broker has the report of an end that the journal holds.
    pub async fn report(&self, ending: Ending) -> Result<(), DeskError> {
        worker::step::mark("report");
        self.send(ending.job, ending.attempt, ending.lane.clone(), ending.event.clone()).await?;
        Ok(self.journal.confirm(&ending).await?)
    }

    /// Gives a job back: it is forgotten here once the broker has the report.
    pub async fn give_back(&self, job: &OpenJob) -> Result<(), DeskError> {
        let attempt = self.journal.attempt(job.job).await?.unwrap_or(job.attempt);
        self.send(job.job, attempt, job.lane.clone(), Event::Yielded {}).await?;
        Ok(self.journal.forget(job.job).await?)
    }

    /// Gives back what was never taken.
    pub async fn decline(&self, message: &JobMessage) -> Result<(), DeskError> {
        self.send(message.job, message.attempt, message.lane.clone(), Event::Yielded {}).await
    }

    async fn send(&self, job: JobId, attempt: u32, lane: schemas::Lane, event: Event) -> Result<(), DeskError> {
        self.send_of(job, attempt, lane, event, worker::now_ms()).await
    }

    async fn send_of(
        &self,
        job: JobId,
        attempt: u32,
        lane: schemas::Lane,
        event: Event,
        at_ms: i64,
    ) -> Result<(), DeskError> {
        let report = Report { job, attempt, lane, at_ms, worker: self.site.to_string(), event };
        self.reporter.send(report).await.map_err(DeskError::Report)
    }
}

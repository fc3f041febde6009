//! Dead letters become rows. A dead job message counts as a failed attempt of its job.

use std::sync::Arc;

use queue::{Delivery, Outgoing, Queue};
use records::Records;
use schemas::{Event, Fault, JobMessage, QueueName, Report, Reports, SCHEMA};
use tokio_util::sync::CancellationToken;
use worker::QueueReader;

use crate::pause;

const PREFETCH: u16 = 64;

pub async fn run(records: &Records, queue: &Arc<dyn Queue>, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let opened = QueueReader::open(queue.as_ref(), &QueueName::Dead, PREFETCH, shutdown).await?;
    let Some(mut reader) = opened else { return Ok(()) };
    while let Some(delivery) = reader.next().await {
        keep(records, queue, delivery, shutdown).await;
    }
    Ok(())
}

async fn keep(records: &Records, queue: &Arc<dyn Queue>, delivery: Delivery, shutdown: &CancellationToken) {
    let reason = worker::dead::reason(&delivery.headers);
    let job: Option<JobMessage> = serde_json::from_slice(&delivery.body).ok();
    loop {
        let id = job.as_ref().map(|j| j.job);
        match records.keep_dead_letter(&reason.queue, &reason.code, &reason.message, &delivery.body, id).await {
            Ok(_) => break,
            Err(error) if error.is_transient() && !shutdown.is_cancelled() => pause(shutdown).await,
            Err(error) => {
                tracing::error!(%error, "a dead letter could not be recorded and stays in its queue");
                return;
            }
        }
    }
    if let Some(job) = &job
        && let Err(error) = report_failed(queue, job, &reason.code, &reason.message).await
    {
        tracing::warn!(job = %job.job, %error, "the dead job message's attempt could not be reported; it comes again");
        return;
    }
    if let Err(error) = delivery.ack().await {
        tracing::debug!(%error, "a dead letter will come again; it is kept once");
    }
}

/// Through the same door as every report, so that there is one place where jobs fail.
async fn report_failed(
    queue: &Arc<dyn Queue>,
    job: &JobMessage,
    code: &str,
    message: &str,
) -> Result<(), queue::QueueError> {
    let fault = Fault::transient(code, format!("its message was dead-lettered: {message}"));
    let report = Report {
        job: job.job,
        attempt: job.attempt,
        lane: job.lane.clone(),
        at_ms: worker::now_ms(),
        worker: "recorder".to_owned(),
        event: Event::Failed { took_ms: 0, fault },
    };
    let body = serde_json::to_vec(&Reports { schema: SCHEMA, reports: vec![report] })
        .map_err(|e| queue::QueueError::Refused { reason: e.to_string() })?;
    let sent = queue.publish(vec![Outgoing::new(QueueName::Reports, body)]).await;
    sent.into_iter().next().unwrap_or(Ok(()))
}

//! The report queue: as many deliveries as are there become one transaction. A batch that fails is applied one by one, and
//! the culprit put aside.

use std::sync::Arc;

use dispatch::Dispatcher;
use queue::{Delivery, Queue};
use records::{Recorded, Records, RecordsError};
use schemas::{BATCH_MAX, Fault, MESSAGE_BYTES_MAX, QueueName, Report, Reports, SCHEMA};
use tokio_util::sync::CancellationToken;
use worker::QueueReader;

use crate::beats::Heard;
use crate::{Config, attest, pause};

pub async fn run(
    config: &Config,
    records: &Records,
    dispatcher: &Arc<Dispatcher>,
    queue: &Arc<dyn Queue>,
    heard: &Heard,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let opened = QueueReader::open(queue.as_ref(), &QueueName::Reports, config.prefetch, shutdown).await?;
    let Some(mut reader) = opened else { return Ok(()) };
    while let Some(batch) = reader.next_batch(usize::from(config.prefetch)).await {
        process(records, dispatcher, queue, heard, shutdown, batch).await;
    }
    Ok(())
}

/// One message's reports, or why it has none.
fn decode(delivery: &Delivery) -> Result<Vec<Report>, Fault> {
    if delivery.body.len() > MESSAGE_BYTES_MAX {
        let bytes = delivery.body.len();
        return Err(Fault::permanent(
            "report-too-large",
            format!("{bytes} bytes; at most {MESSAGE_BYTES_MAX} are read"),
        ));
    }
    let message: Reports =
        serde_json::from_slice(&delivery.body).map_err(|e| Fault::permanent("report-malformed", e.to_string()))?;
    if message.schema != SCHEMA {
        let found = message.schema;
        return Err(Fault::permanent(
            "schema-unknown",
            format!("schema {found} is not known here; this version reads {SCHEMA}"),
        ));
    }
    if message.reports.is_empty() || message.reports.len() > BATCH_MAX {
        let found = message.reports.len();
        return Err(Fault::permanent(
            "report-malformed",
            format!("{found} reports in a message; 1 to {BATCH_MAX} are read"),
        ));
    }
    for report in &message.reports {
        attest::check(report, delivery.user_id.as_deref())?;
    }
    Ok(message.reports)
}

async fn process(
    records: &Records,
    dispatcher: &Arc<Dispatcher>,
    queue: &Arc<dyn Queue>,
    heard: &Heard,
    shutdown: &CancellationToken,
    batch: Vec<Delivery>,
) {
    let mut good: Vec<(Delivery, Vec<Report>)> = Vec::with_capacity(batch.len());
    for delivery in batch {
        match decode(&delivery) {
            Ok(reports) => good.push((delivery, reports)),
            Err(fault) => put_aside(queue, delivery, &fault).await,
        }
    }
    let all: Vec<Report> = good.iter().flat_map(|(_, reports)| reports.iter().cloned()).collect();
    heard.set(all.iter().map(|r| r.at_ms).min());
    worker::step::mark("record");
    match apply(records, &all, shutdown).await {
        Ok(recorded) => {
            for (delivery, _) in good {
                acknowledge(delivery).await;
            }
            follow(dispatcher, queue, recorded).await;
        }
        Err(RecordsError::Unavailable { .. }) => drop(good),
        Err(error) => {
            tracing::warn!(%error, reports = all.len(), "a batch of reports was refused; they are applied one by one");
            one_by_one(records, dispatcher, queue, shutdown, good).await;
        }
    }
    heard.set(None);
}

/// Tries again while the database is away; a batch applied twice changes nothing.
async fn apply(records: &Records, reports: &[Report], shutdown: &CancellationToken) -> Result<Recorded, RecordsError> {
    loop {
        match records.record(reports).await {
            Err(error) if error.is_transient() && !shutdown.is_cancelled() => {
                tracing::warn!(%error, "reports wait for the database");
                pause(shutdown).await;
            }
            result => return result,
        }
    }
}

async fn one_by_one(
    records: &Records,
    dispatcher: &Arc<Dispatcher>,
    queue: &Arc<dyn Queue>,
    shutdown: &CancellationToken,
    batch: Vec<(Delivery, Vec<Report>)>,
) {
    for (delivery, reports) in batch {
        match apply(records, &reports, shutdown).await {
            Ok(recorded) => {
                acknowledge(delivery).await;
                follow(dispatcher, queue, recorded).await;
            }
            Err(RecordsError::Unavailable { .. }) => return,
            Err(error) => put_aside(queue, delivery, &Fault::permanent("report-refused", error.to_string())).await,
        }
    }
}

async fn follow(dispatcher: &Arc<Dispatcher>, queue: &Arc<dyn Queue>, recorded: Recorded) {
    for report in &recorded.unknown {
        let fault = Recorded::unknown_fault(report);
        tracing::warn!(job = %report.job, worker = %report.worker, "a report of an unknown job is put aside");
        if let Ok(body) = serde_json::to_vec(report) {
            let mut letter = queue::Outgoing::new(QueueName::Dead, body);
            letter.headers.insert(worker::dead::REASON.to_owned(), fault.code.clone());
            letter.headers.insert(worker::dead::MESSAGE.to_owned(), fault.message.clone());
            letter.headers.insert(worker::dead::QUEUE.to_owned(), QueueName::Reports.to_string());
            for result in queue.publish(vec![letter]).await {
                if let Err(error) = result {
                    tracing::warn!(%error, "a dead letter could not be published");
                }
            }
        }
    }
    worker::step::mark("publish");
    dispatcher.publish(recorded.publish).await;
}

async fn acknowledge(delivery: Delivery) {
    if let Err(error) = delivery.ack().await {
        tracing::debug!(%error, "a report will come again; it changes nothing then");
    }
}

async fn put_aside(queue: &Arc<dyn Queue>, delivery: Delivery, fault: &Fault) {
    tracing::warn!(code = %fault.code, reason = %fault.message, "a report message is dead-lettered");
    if let Err(error) = worker::dead::letter(queue.as_ref(), &QueueName::Reports, delivery, fault).await {
        tracing::warn!(%error, "a dead letter could not be published");
    }
}

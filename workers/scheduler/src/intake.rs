//! Requests from anybody: checked, stored under their own id, answered. A bad one is answered and dead-lettered with its
//! reason, never tried again.

use std::time::Duration;

use queue::{Address, Delivery, Outgoing};
use records::{Acceptance, RecordsError};
use schemas::{BATCH_MAX, Fault, QueueName, Reply, Request, RequestId};
use worker::QueueReader;

use crate::Tools;

const AGAIN: Duration = Duration::from_millis(500);

pub async fn run(tools: &Tools) -> anyhow::Result<()> {
    let queue = tools.queue.as_ref();
    let opened = QueueReader::open(queue, &QueueName::Requests, BATCH_MAX as u16, &tools.shutdown).await?;
    let Some(mut reader) = opened else { return Ok(()) };
    while let Some(batch) = reader.next_batch(BATCH_MAX).await {
        worker::step::mark("intake");
        take_in(tools, batch).await;
    }
    Ok(())
}

/// A message may carry one request, or a list of them.
fn decode(delivery: &Delivery) -> Result<Vec<Request>, (Option<RequestId>, Fault)> {
    let body = delivery.body.as_ref();
    let is_list = body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[');
    if !is_list {
        return Request::decode(body).map(|r| vec![r]).map_err(|fault| (id_of(body), fault));
    }
    if body.len() > schemas::MESSAGE_BYTES_MAX {
        let fault = Fault::permanent("request-too-large", format!("{} bytes in one message", body.len()));
        return Err((None, fault));
    }
    let malformed = |e: serde_json::Error| (None, Fault::permanent("request-malformed", e.to_string()));
    let parts: Vec<Box<serde_json::value::RawValue>> = serde_json::from_slice(body).map_err(malformed)?;
    if parts.is_empty() || parts.len() > BATCH_MAX {
        let reason = format!("{} requests in one message; 1 to {BATCH_MAX} are read", parts.len());
        return Err((None, Fault::permanent("request-malformed", reason)));
    }
    parts
        .iter()
        .map(|part| Request::decode(part.get().as_bytes()).map_err(|fault| (id_of(part.get().as_bytes()), fault)))
        .collect()
}

/// The id of a request that is otherwise wrong, so that its answer can name it.
fn id_of(body: &[u8]) -> Option<RequestId> {
    #[derive(serde::Deserialize)]
    struct Id {
        id: RequestId,
    }
    serde_json::from_slice::<Id>(body).ok().map(|found| found.id)
}

async fn take_in(tools: &Tools, batch: Vec<Delivery>) {
    let mut good = Vec::with_capacity(batch.len());
    for delivery in batch {
        match decode(&delivery) {
            Ok(requests) => good.push((delivery, requests)),
            Err((request, fault)) => refuse(tools, delivery, request, fault).await,
        }
    }
    let all: Vec<Request> = good.iter().flat_map(|(_, requests)| requests.iter().cloned()).collect();
    if all.is_empty() {
        return;
    }
    let Some(answers) = store(tools, &all).await else { return };
    tools.asked.notify_one();
    let mut answers = answers.into_iter();
    for (delivery, requests) in good {
        answer(tools, delivery, &requests, &mut answers).await;
    }
}

/// Stores, however long the database is away; `None` at shutdown: unacknowledged, they come again.
async fn store(tools: &Tools, requests: &[Request]) -> Option<Vec<Result<Acceptance, RecordsError>>> {
    loop {
        match tools.records.accept(requests, "queue").await {
            Ok(answers) => return Some(answers),
            Err(_) if tools.shutdown.is_cancelled() => return None,
            Err(error) => {
                tracing::warn!(%error, "requests wait for the database");
                tools.pause(AGAIN).await;
            }
        }
    }
}

/// The first conflict of a message decides its fate; the others in it are stored all the same.
async fn answer(
    tools: &Tools,
    delivery: Delivery,
    requests: &[Request],
    answers: &mut impl Iterator<Item = Result<Acceptance, RecordsError>>,
) {
    let mut refused = None;
    for (request, answer) in requests.iter().zip(answers.by_ref().take(requests.len())) {
        match answer {
            Ok(acceptance) => {
                let reply = Reply::Accepted { request: request.id, new: acceptance == Acceptance::New };
                send_reply(tools, &delivery, &reply).await;
            }
            Err(error) => refused = Some((request.id, Fault::permanent(error.code(), error.to_string()))),
        }
    }
    match refused {
        Some((request, fault)) => refuse(tools, delivery, Some(request), fault).await,
        None => {
            if let Err(error) = delivery.ack().await {
                tracing::debug!(%error, "a request will come again; it is a no-op then");
            }
        }
    }
}

async fn refuse(tools: &Tools, delivery: Delivery, request: Option<RequestId>, fault: Fault) {
    send_reply(tools, &delivery, &Reply::Refused { request, fault: fault.clone() }).await;
    let queue = tools.queue.as_ref();
    if let Err(error) = worker::dead::letter(queue, &QueueName::Requests, delivery, &fault).await {
        tracing::warn!(%error, "a refused request could not be dead-lettered");
    }
}

async fn send_reply(tools: &Tools, delivery: &Delivery, reply: &Reply) {
    let Some(reply_to) = &delivery.reply_to else { return };
    let Ok(body) = serde_json::to_vec(reply) else { return };
    let mut message = Outgoing::new(QueueName::Requests, body);
    message.to = Address::Reply(reply_to.clone());
    message.correlation_id = delivery.correlation_id.clone().or_else(|| delivery.message_id.clone());
    for result in tools.queue.publish(vec![message]).await {
        if let Err(error) = result {
            // The asker may be gone; its request stands all the same.
            tracing::info!(%reply_to, %error, "nobody took the answer to a request");
        }
    }
}

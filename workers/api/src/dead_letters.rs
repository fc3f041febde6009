//! Dead letters: shown whole, put back into the queue that they came from, or dropped. The sheet lists them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use queue::{Outgoing, Queue, QueueError};
use records::{DeadLetter, Records};
use schemas::QueueName;
use serde::Serialize;

use crate::fault::ApiFault;
use crate::requests::publish;
use crate::{ids, queue_text};

/// The recorder keeps this many bytes of a body; one as long may be cut.
const BODY_BYTES_KEPT: usize = 256 << 10;

#[derive(Debug, Serialize)]
pub struct Letter {
    id: String,
    queue: String,
    code: String,
    reason: String,
    state: String,
    body: String,
}

#[derive(Debug, Serialize)]
pub struct Ended {
    id: String,
    queue: String,
    state: &'static str,
}

pub async fn one(State(records): State<Records>, Path(id): Path<String>) -> Result<Json<Letter>, ApiFault> {
    let DeadLetter { id, queue, code, reason, body, state, .. } = find(&records, &id).await?;
    Ok(Json(Letter { id, queue, code, reason, state, body }))
}

/// Published first, then marked: a crash in between replays it twice, and what it asks for happens once all the same.
pub async fn replay(
    State(records): State<Records>,
    State(queue): State<Arc<dyn Queue>>,
    Path(id): Path<String>,
) -> Result<Json<Ended>, ApiFault> {
    let letter = kept(&records, &id).await?;
    let to = replayable(&letter)?;
    let message = Outgoing::new(to.clone(), letter.body.clone());
    put_back(queue.as_ref(), message, &to).await?;
    end(&records, letter, true).await
}

pub async fn discard(State(records): State<Records>, Path(id): Path<String>) -> Result<Json<Ended>, ApiFault> {
    let letter = kept(&records, &id).await?;
    end(&records, letter, false).await
}

async fn find(records: &Records, id: &str) -> Result<DeadLetter, ApiFault> {
    let id = ids::whole(records, "dead_letters", "dead letter", id).await?;
    let absent = || ApiFault::absent("dead-letter-unknown", format!("there is no dead letter {id}"));
    records.dead_letter(&id).await?.ok_or_else(absent)
}

async fn kept(records: &Records, id: &str) -> Result<DeadLetter, ApiFault> {
    let letter = find(records, id).await?;
    if letter.state == "kept" { Ok(letter) } else { Err(over(&letter.id, &letter.state)) }
}

fn replayable(letter: &DeadLetter) -> Result<QueueName, ApiFault> {
    if letter.body.len() >= BODY_BYTES_KEPT || letter.body.contains('\u{fffd}') {
        let message =
            format!("the body of dead letter {} is not kept as it came (too long, or not text); drop it", letter.id);
        return Err(ApiFault::conflict("dead-letter-incomplete", message));
    }
    queue_text::parse(&letter.queue).ok_or_else(|| {
        let message = format!(
            "dead letter {} came from `{}`, which is no queue of this program; drop it",
            letter.id, letter.queue
        );
        ApiFault::conflict("dead-letter-foreign", message)
    })
}

/// A worker's queue is never made here: without a worker or a definition nobody would read it.
async fn put_back(queue: &dyn Queue, message: Outgoing, to: &QueueName) -> Result<(), ApiFault> {
    if matches!(to, QueueName::Requests | QueueName::Reports) {
        return Ok(publish(queue, message, to).await?);
    }
    let sent = queue.publish(vec![message]).await.pop().unwrap_or(Err(QueueError::Closed));
    sent.map_err(|error| match error {
        QueueError::Unroutable { .. } => {
            ApiFault::conflict("queue-gone", format!("`{to}` does not exist any more; drop the letter"))
        }
        error => error.into(),
    })
}

async fn end(records: &Records, letter: DeadLetter, replayed: bool) -> Result<Json<Ended>, ApiFault> {
    // A letter that was put back and died again meanwhile is kept anew, and stays so.
    if !records.end_dead_letter(&letter, replayed).await? && !replayed {
        return Err(over(&letter.id, "replayed or dropped by somebody else"));
    }
    let state = if replayed { "replayed" } else { "dropped" };
    Ok(Json(Ended { id: letter.id, queue: letter.queue, state }))
}

fn over(id: &str, state: &str) -> ApiFault {
    ApiFault::conflict("dead-letter-over", format!("dead letter {id} is {state} already"))
}

//! Holding a lane and letting it go on: in the database, which hands out nothing more of it, and at the site, which starts
//! nothing more of what it has.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use dispatch::Dispatcher;
use records::Records;
use schemas::{Control, Lane};
use serde::{Deserialize, Serialize};

use crate::answer;
use crate::fault::ApiFault;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    lane: String,
}

#[derive(Debug, Serialize)]
pub struct Held {
    lane: Lane,
    state: &'static str,
    /// False if the site could not be told yet; it is told when it asks for work.
    told: bool,
}

pub async fn pause(
    State(records): State<Records>,
    State(dispatcher): State<Arc<Dispatcher>>,
    body: Bytes,
) -> Result<Json<Held>, ApiFault> {
    hold(&records, &dispatcher, &body, true).await
}

pub async fn resume(
    State(records): State<Records>,
    State(dispatcher): State<Arc<Dispatcher>>,
    body: Bytes,
) -> Result<Json<Held>, ApiFault> {
    hold(&records, &dispatcher, &body, false).await
}

async fn hold(records: &Records, dispatcher: &Dispatcher, body: &Bytes, paused: bool) -> Result<Json<Held>, ApiFault> {
    let which: Which = answer::read(body)?;
    let lane: Lane =
        which.lane.parse().map_err(|e: schemas::lane::InvalidLane| ApiFault::bad("lane-malformed", e.to_string()))?;
    let outcome = records.pause(&lane, paused).await?;
    if !outcome.known {
        let message =
            format!("there is no lane `{lane}`; `tidegate lanes` lists those with work, and the first job makes one");
        return Err(ApiFault::absent("lane-unknown", message));
    }
    dispatcher.publish(outcome.publish).await;
    let told = tell(dispatcher, &lane, paused).await;
    Ok(Json(Held { lane, state: if paused { "paused" } else { "open" }, told }))
}

/// A builder holds nothing of a lane but the job that runs, so only sites are told.
async fn tell(dispatcher: &Dispatcher, lane: &Lane, paused: bool) -> bool {
    let Lane::Site(site) = lane else { return true };
    let lane = lane.clone();
    let control = if paused { Control::Pause { lane } } else { Control::Resume { lane } };
    match dispatcher.control(&site.subscriber, &control).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(subscriber = %site.subscriber, %error, "a site could not be told that a lane is held or let go");
            false
        }
    }
}

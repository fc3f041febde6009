//! Run now: what a schedule would ask for, asked for at once. Its next occurrence stays as it was.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use queue::Queue;
use records::Records;
use schemas::{InvalidName, Request, RequestId, RequestKind};
use uuid::Uuid;

use crate::answer::literal;
use crate::fault::ApiFault;
use crate::requests::{Asked, ask};

pub async fn run(
    State(records): State<Records>,
    State(queue): State<Arc<dyn Queue>>,
    Path((verb, object)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Asked>), ApiFault> {
    let request = request(&verb, &object)?;
    let name = literal(&format!("{verb}/{object}"));
    let found = records.query(&format!("SELECT schedule FROM schedules WHERE schedule = {name}")).await?;
    if found.rows.is_empty() {
        return Err(unknown(&verb, &object));
    }
    ask(&records, queue.as_ref(), &request).await?;
    Ok((StatusCode::ACCEPTED, Json(Asked { id: request.id })))
}

fn request(verb: &str, object: &str) -> Result<Request, ApiFault> {
    let absent = |_: InvalidName| unknown(verb, object);
    let mut request = Request::new(RequestId(Uuid::now_v7()), RequestKind::Build);
    match verb {
        "build" => request.selector.distributions.push(object.try_into().map_err(absent)?),
        "send" => {
            request.kind = RequestKind::Send;
            request.selector.channels.push(object.try_into().map_err(absent)?);
        }
        "extract" => {
            request.kind = RequestKind::Extract;
            request.selector.subscribers.push(object.try_into().map_err(absent)?);
        }
        "refresh" => {
            request.kind = RequestKind::Refresh;
            request.selector.distributors.push(object.try_into().map_err(absent)?);
        }
        _ => return Err(unknown(verb, object)),
    }
    request.options.reason = Some(format!("schedule {verb}/{object}, run by hand"));
    Ok(request)
}

fn unknown(verb: &str, object: &str) -> ApiFault {
    let shown: String = format!("{verb}/{object}").chars().take(80).flat_map(char::escape_debug).collect();
    ApiFault::absent("schedule-unknown", format!("there is no schedule `{shown}`; `tidegate schedules` lists them"))
}

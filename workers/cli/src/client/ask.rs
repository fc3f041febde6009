//! The verbs that ask for work: each makes a request, hands it in, and follows it if that is wanted.

use schemas::{JobId, Request, RequestId, RequestKind};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::follow::{self, Follow, RequestEnd};
use super::http::segment;
use super::{Client, ClientError, Outcome};
use crate::args::verbs::{
    BuildArgs, CancelArgs, EventArgs, ExtractArgs, FollowArgs, Form, RefreshArgs, RetryArgs, RollbackArgs, RunArgs,
    SendArgs, SyncArgs, WaitArgs,
};
use crate::output;

pub async fn build(client: Client, args: BuildArgs, form: Form) -> Result<Outcome, ClientError> {
    let mut request = request(RequestKind::Build, &args.follow);
    request.selector.distributions = args.distributions;
    request.selector.components = args.components;
    request.options.force = args.force;
    request.options.verify = args.verify;
    hand_in(&client, &request, &args.follow, form).await
}

pub async fn send(client: Client, args: SendArgs, form: Form) -> Result<Outcome, ClientError> {
    let mut request = request(RequestKind::Send, &args.follow);
    request.selector.channels = args.channels;
    request.selector.subscribers = args.subscribers;
    request.options.force = args.force;
    hand_in(&client, &request, &args.follow, form).await
}

pub async fn extract(client: Client, args: ExtractArgs, form: Form) -> Result<Outcome, ClientError> {
    let mut request = request(RequestKind::Extract, &args.follow);
    request.selector.subscribers = args.subscribers;
    request.selector.distributions = args.distributions;
    request.options.force = args.force;
    hand_in(&client, &request, &args.follow, form).await
}

pub async fn sync(client: Client, args: SyncArgs, form: Form) -> Result<Outcome, ClientError> {
    let mut request = request(RequestKind::Sync, &args.follow);
    request.selector.subscribers = args.subscribers;
    request.selector.components = args.components;
    hand_in(&client, &request, &args.follow, form).await
}

pub async fn refresh(client: Client, args: RefreshArgs, form: Form) -> Result<Outcome, ClientError> {
    let mut request = request(RequestKind::Refresh, &args.follow);
    request.selector.distributors = args.distributors;
    hand_in(&client, &request, &args.follow, form).await
}

pub async fn event(client: Client, args: EventArgs, form: Form) -> Result<Outcome, ClientError> {
    let mut request = request(RequestKind::Event, &args.follow);
    request.selector.events = args.events;
    hand_in(&client, &request, &args.follow, form).await
}

pub async fn rollback(client: Client, args: RollbackArgs, form: Form) -> Result<Outcome, ClientError> {
    let mut request = request(RequestKind::Rollback, &args.follow);
    request.selector.subscribers = vec![args.subscriber];
    request.selector.distributions = vec![args.distribution];
    request.options.revision = args.revision;
    hand_in(&client, &request, &args.follow, form).await
}

pub async fn cancel(client: Client, args: CancelArgs, form: Form) -> Result<Outcome, ClientError> {
    let mut request = request(RequestKind::Cancel, &args.follow);
    request.selector.jobs = jobs(&client, &args.jobs).await?;
    request.selector.requests = args.requests;
    hand_in(&client, &request, &args.follow, form).await
}

pub async fn retry(client: Client, args: RetryArgs, form: Form) -> Result<Outcome, ClientError> {
    let mut request = request(RequestKind::Retry, &args.follow);
    request.selector.jobs = jobs(&client, &args.jobs).await?;
    hand_in(&client, &request, &args.follow, form).await
}

pub async fn run_schedules(client: Client, args: &RunArgs, form: Form) -> Result<Outcome, ClientError> {
    let mut ids = Vec::with_capacity(args.schedules.len());
    for schedule in &args.schedules {
        ids.push(client.run_schedule(&schedule.verb, &schedule.object).await?);
    }
    if !args.wait {
        let names = args.schedules.iter().map(|schedule| format!("{}/{}", schedule.verb, schedule.object));
        let accepted: Vec<Value> = ids
            .iter()
            .zip(names)
            .map(|(id, name)| json!({ "id": id, "schedule": name, "state": "accepted" }))
            .collect();
        let lines = || ids.iter().map(accepted_line).collect();
        output::print(form, &json!({ "requests": accepted }), lines)?;
        return Ok(Outcome::Succeeded);
    }
    let mut outcome = Outcome::Succeeded;
    for id in ids {
        let how = Follow { timeout: args.timeout.map(|t| t.as_duration()), ..Follow::here() };
        if show(&client, id, how, form).await? == Outcome::Failed {
            outcome = Outcome::Failed;
        }
    }
    Ok(outcome)
}

pub async fn wait(client: Client, args: &WaitArgs, form: Form) -> Result<Outcome, ClientError> {
    let how = Follow { timeout: args.timeout.map(|t| t.as_duration()), is_known: true, ..Follow::here() };
    show(&client, args.request, how, form).await
}

/// A new request; its id carries the time.
fn request(kind: RequestKind, follow: &FollowArgs) -> Request {
    let mut request = Request::new(RequestId(Uuid::now_v7()), kind);
    request.options.reason = follow.reason.clone();
    request
}

#[derive(Deserialize)]
struct Found {
    job: FoundJob,
}

#[derive(Deserialize)]
struct FoundJob {
    id: JobId,
}

/// The jobs that typed ids mean.
async fn jobs(client: &Client, typed: &[String]) -> Result<Vec<JobId>, ClientError> {
    let mut ids = Vec::with_capacity(typed.len());
    for text in typed {
        let found: Found = client.get(&format!("/v1/jobs/{}", segment(text))).await?;
        ids.push(found.job.id);
    }
    Ok(ids)
}

pub(super) async fn hand_in(
    client: &Client,
    request: &Request,
    follow: &FollowArgs,
    form: Form,
) -> Result<Outcome, ClientError> {
    let id = client.post_request(request).await?;
    if follow.wait {
        let how = Follow { timeout: follow.timeout.map(|t| t.as_duration()), ..Follow::here() };
        return show(client, id, how, form).await;
    }
    let accepted = json!({ "id": id, "kind": request.kind.as_str(), "state": "accepted" });
    output::print(form, &accepted, || accepted_line(&id))?;
    Ok(Outcome::Succeeded)
}

fn accepted_line(id: &RequestId) -> String {
    format!("accepted   request {id}      (tidegate wait {id})\n")
}

async fn show(client: &Client, id: RequestId, how: Follow, form: Form) -> Result<Outcome, ClientError> {
    let end = follow::until_end(client, id, how).await?;
    output::print(form, &end.whole, || end.table())?;
    if !end.has_ended() {
        eprintln!("tidegate: request {id} is still {}; it goes on, and `tidegate wait {id}` follows it", end.state);
    }
    Ok(outcome(&end))
}

fn outcome(end: &RequestEnd) -> Outcome {
    if end.state == "succeeded" { Outcome::Succeeded } else { Outcome::Failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_that_succeeded_exits_with_success() {
        for (state, expected) in [
            ("succeeded", Outcome::Succeeded),
            ("failed", Outcome::Failed),
            ("cancelled", Outcome::Failed),
            ("open", Outcome::Failed),
        ] {
            assert_eq!(outcome(&RequestEnd { state: state.to_owned(), ..RequestEnd::default() }), expected, "{state}");
        }
    }
}

//! Every path of the API, what guards it, and how much it takes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use dispatch::Dispatcher;
use queue::Queue;
use records::Records;
use schemas::ConsoleName;

use crate::auth::{self, HEALTH_PATH, Token};
use crate::fault::ApiFault;
use crate::limits::{ANSWER_TIME_MAX, APPLY_BYTES_MAX, BODY_BYTES_MAX};
use crate::{
    apply, database, dead_letters, garbage, jobs, lanes, objects, query, requests, routes, schedules, sheets, status,
};

/// What routes work with; each takes only its own part.
#[derive(Clone)]
pub struct Tools {
    pub records: Records,
    pub dispatcher: Arc<Dispatcher>,
    pub queue: Arc<dyn Queue>,
    pub console: ConsoleName,
}

impl FromRef<Tools> for Records {
    fn from_ref(tools: &Tools) -> Records {
        tools.records.clone()
    }
}

impl FromRef<Tools> for Arc<Dispatcher> {
    fn from_ref(tools: &Tools) -> Arc<Dispatcher> {
        tools.dispatcher.clone()
    }
}

impl FromRef<Tools> for Arc<dyn Queue> {
    fn from_ref(tools: &Tools) -> Arc<dyn Queue> {
        tools.queue.clone()
    }
}

impl FromRef<Tools> for ConsoleName {
    fn from_ref(tools: &Tools) -> ConsoleName {
        tools.console.clone()
    }
}

pub fn router(tools: Tools, token: Token) -> Router {
    paths()
        .with_state(tools)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(bounded))
        .layer(middleware::from_fn_with_state(token, auth::require_token))
        .layer(middleware::from_fn(in_one_form))
}

fn paths() -> Router<Tools> {
    Router::new()
        .route(HEALTH_PATH, get(health))
        .route("/v1/apply", post(apply::post).layer(DefaultBodyLimit::max(APPLY_BYTES_MAX)))
        .route("/v1/objects/{kind}", get(objects::list))
        .route("/v1/objects/{kind}/{name}", get(objects::one))
        .route("/v1/objects/{kind}/{name}", delete(objects::delete))
        .route("/v1/objects/{kind}/{name}/description", get(objects::describe))
        .route("/v1/requests", post(requests::post))
        .route("/v1/requests/{id}", get(requests::one))
        .route("/v1/jobs/{id}", get(jobs::one))
        .route("/v1/schedules/{verb}/{object}", get(schedules::one))
        .route("/v1/schedules/{verb}/{object}/run", post(schedules::run))
        .route("/v1/sheets/{name}", get(sheets::one))
        .route("/v1/status", get(status::get))
        .route("/v1/routes", get(routes::get))
        .route("/v1/query", post(query::post))
        .route("/v1/lanes/pause", post(lanes::pause))
        .route("/v1/lanes/resume", post(lanes::resume))
        .route("/v1/dead-letters/{id}", get(dead_letters::one))
        .route("/v1/dead-letters/{id}/replay", post(dead_letters::replay))
        .route("/v1/dead-letters/{id}/drop", post(dead_letters::discard))
        .route("/v1/garbage", get(garbage::get))
        .route("/v1/database", get(database::get))
        .route("/v1/database/views", get(database::views))
}

async fn health() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], r#"{"status":"ok"}"#)
}

/// Reading the body counts too: a slow sender is cut off.
async fn bounded(request: Request, next: Next) -> Response {
    bounded_by(ANSWER_TIME_MAX, request, next).await
}

async fn bounded_by(time: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("no answer within {} s", time.as_secs());
            ApiFault::unavailable("answer-timed-out", message).into_response()
        }
    }
}

/// Refusals of the framework itself become JSON like all others.
async fn in_one_form(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if is_json || status == StatusCode::OK || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    ApiFault::of_status(status).into_response()
}

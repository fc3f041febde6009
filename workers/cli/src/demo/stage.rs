//! The demo's steps: each asks by the same queue as everybody, and watches the database until the request has ended.

mod jobs;

use std::sync::Arc;
use std::time::Duration;

use queue::{Outgoing, Queue};
use records::Records;
use schemas::{ChildKey, QueueName, Request, RequestId, RequestKind};
use tokio::time::Instant;
use uuid::Uuid;

use super::board::Board;
use super::change::{self, Change};
use super::compare::{self, Verified};
use super::copy::{self, Copied};
use super::definitions::{self, CHANNEL, DISTRIBUTION, RELAY, SITES};
use super::error::DemoError;
use super::place::Place;

/// A step that takes longer has gone wrong.
const STEP_TIME: Duration = Duration::from_secs(300);
const PRESENCE_TIME: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub struct Stage {
    pub records: Records,
    pub queue: Arc<dyn Queue>,
    pub place: Place,
}

impl Stage {
    pub async fn copy(&self) -> Result<Copied, DemoError> {
        let place = self.place.clone();
        eprintln!("Copying {} to {}", place.given.display(), place.source().display());
        blocking(move || copy::copy(&place.given, &place.source(), &place.data)).await
    }

    /// Also leaves the definitions where the person can read and change them.
    pub async fn apply(&self) -> Result<(), DemoError> {
        let path = self.place.definitions();
        let text = definitions::yaml(&self.place)?;
        std::fs::write(&path, &text).map_err(|source| DemoError::File { path: path.clone(), source })?;
        eprintln!("Applying {}", path.display());
        let file = [(path.display().to_string(), text)];
        let refused = |error: api::ApplyError| DemoError::Definitions(error.to_string());
        api::apply(&self.records, &file, &Default::default()).await.map_err(refused)?;
        Ok(())
    }

    /// Until the relay was told the keys of its children: before, it refuses them, and they go past it to the origin.
    pub async fn until_the_relay_knows_its_children(&self) -> Result<(), DemoError> {
        let deadline = Instant::now() + PRESENCE_TIME;
        while !self.relay_knows_its_children().await? {
            if Instant::now() > deadline {
                let what = "the start of the sites".to_owned();
                return Err(DemoError::TooSlow { what, seconds: PRESENCE_TIME.as_secs() });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn relay_knows_its_children(&self) -> Result<bool, DemoError> {
        let sites = self.records.sites().await?;
        let Some(relay) = sites.get(RELAY) else { return Ok(false) };
        let told: Vec<ChildKey> = serde_json::from_str(&relay.children_sent).unwrap_or_default();
        Ok(told.len() == SITES.len())
    }

    pub async fn build(&self, title: &str) -> Result<(), DemoError> {
        let mut request = Request::new(RequestId(Uuid::now_v7()), RequestKind::Build);
        request.selector.distributions.push(DISTRIBUTION.try_into().map_err(refused)?);
        self.carry_out(request, title, "the build").await
    }

    pub async fn send(&self, title: &str) -> Result<(), DemoError> {
        let mut request = Request::new(RequestId(Uuid::now_v7()), RequestKind::Send);
        request.selector.channels.push(CHANNEL.try_into().map_err(refused)?);
        self.carry_out(request, title, "the send").await
    }

    pub async fn verify(&self) -> Result<Verified, DemoError> {
        let mut verified = Verified::default();
        for site in SITES {
            let (source, target) = (self.place.source(), self.place.target(site));
            verified = blocking(move || compare::compare(&source, &target)).await?;
        }
        Ok(verified)
    }

    pub async fn change(&self) -> Result<Change, DemoError> {
        let source = self.place.source();
        blocking(move || change::change(&source)).await
    }

    async fn carry_out(&self, request: Request, title: &str, what: &str) -> Result<(), DemoError> {
        let id = request.id;
        let failed = |reason: String| DemoError::Job { what: what.to_owned(), reason };
        let mut board = Board::new(title);
        self.post(&request).await.map_err(&failed)?;
        let deadline = Instant::now() + STEP_TIME;
        let status = loop {
            let status = self.records.request_status(id).await?;
            for line in jobs::lines(&self.records, id).await? {
                board.show(line);
            }
            match status {
                Some(status) if ["succeeded", "failed", "cancelled"].contains(&status.state.as_str()) => break status,
                _ if Instant::now() > deadline => {
                    let seconds = STEP_TIME.as_secs();
                    return Err(DemoError::TooSlow { what: what.to_owned(), seconds });
                }
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        };
        board.close();
        if status.state == "succeeded" {
            return Ok(());
        }
        let reasons = jobs::failures(&self.records, id).await?;
        let note = status.note.unwrap_or(status.state);
        Err(failed(if reasons.is_empty() { note } else { reasons.join("; ") }))
    }

    async fn post(&self, request: &Request) -> Result<(), String> {
        self.queue.declare(&QueueName::Requests).await.map_err(|error| error.to_string())?;
        let body = serde_json::to_vec(request).map_err(|error| error.to_string())?;
        let answers = self.queue.publish(vec![Outgoing::new(QueueName::Requests, body)]).await;
        answers.into_iter().collect::<Result<(), _>>().map_err(|error| error.to_string())
    }
}

fn refused(error: schemas::InvalidName) -> DemoError {
    DemoError::Definitions(error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DemoError> + Send + 'static,
) -> Result<T, DemoError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => Err(DemoError::Job { what: "a step of the demo".to_owned(), reason: panic.to_string() }),
    }
}

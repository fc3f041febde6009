//! `apply`: files to definitions in effect, all or nothing. A race with another apply is run again on what that one left.

use std::fmt;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use domain::definitions::{self, Accepted, DefinitionError, Warning};
use records::{Activate, Applied, Change, Fleet, ObjectChange, Records, RecordsError, Waiting};
use schemas::RequestId;
use schemas::name::Kind;
use serde::{Deserialize, Serialize};

use crate::answer;
use crate::fault::ApiFault;
use crate::limits::APPLY_TRIES;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    files: Vec<File>,
    #[serde(default)]
    dry_run: bool,
    /// Changes take effect at once, whatever their distributors' refresh schedules say.
    #[serde(default)]
    refresh: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// As errors show it; its ending says whether it is TOML.
    name: String,
    text: String,
}

#[derive(Debug, Serialize)]
pub struct ApplyAnswer {
    /// Of all definitions; the same as before if nothing changed, or if it was a dry run.
    pub version: u64,
    pub dry_run: bool,
    pub objects: Vec<ObjectChange>,
    /// Refreshes that this asked for.
    pub requests: Vec<RequestId>,
    /// Changed objects that stay in effect as they were until their distributor is refreshed.
    pub waiting: Vec<Waiting>,
    pub warnings: Vec<Warning>,
}

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("{}", Lines(.0))]
    Invalid(Vec<DefinitionError>),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// One fault on each line: `file:line: field: message; what is allowed`.
struct Lines<'a>(&'a [DefinitionError]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl From<ApplyError> for ApiFault {
    fn from(error: ApplyError) -> ApiFault {
        match error {
            ApplyError::Records(error) => error.into(),
            ApplyError::Invalid(errors) => {
                let message = format!("nothing was applied: {} in the definitions", counted(errors.len(), "error"));
                ApiFault { errors, ..ApiFault::new(StatusCode::UNPROCESSABLE_ENTITY, "definitions-invalid", message) }
            }
        }
    }
}

pub async fn post(State(records): State<Records>, body: Bytes) -> Result<Json<ApplyAnswer>, ApiFault> {
    let asked: Apply = answer::read(&body)?;
    let files: Vec<(String, String)> = asked.files.into_iter().map(|file| (file.name, file.text)).collect();
    let activate = if asked.refresh { Activate::Now } else { Activate::AsScheduled };
    Ok(Json(apply_and(&records, &files, asked.dry_run, activate).await?))
}

/// Files as (shown name, text).
pub async fn apply(records: &Records, files: &[(String, String)], dry_run: bool) -> Result<ApplyAnswer, ApplyError> {
    apply_and(records, files, dry_run, Activate::AsScheduled).await
}

async fn apply_and(
    records: &Records,
    files: &[(String, String)],
    dry_run: bool,
    activate: Activate,
) -> Result<ApplyAnswer, ApplyError> {
    let declared = definitions::parse(files).map_err(ApplyError::Invalid)?;
    let mut tries = 1;
    loop {
        let fleet = records.fleet().await?;
        let accepted = definitions::validate(&declared, &fleet.definitions).map_err(ApplyError::Invalid)?;
        if dry_run {
            return Ok(answer(would_change(&fleet, &accepted), &accepted, true));
        }
        match records.apply_and(&accepted, fleet.version, None, activate).await {
            Ok(applied) => return Ok(answer(applied, &accepted, false)),
            Err(RecordsError::Conflict { .. }) if tries < APPLY_TRIES => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

fn answer(applied: Applied, accepted: &Accepted, dry_run: bool) -> ApplyAnswer {
    let Applied { version, objects, requests, waiting } = applied;
    ApplyAnswer { version, dry_run, objects, requests, waiting, warnings: accepted.warnings.clone() }
}

/// What storing it would do, by the same rules.
fn would_change(fleet: &Fleet, accepted: &Accepted) -> Applied {
    let mut objects = Vec::new();
    for kind in Kind::ALL {
        for name in definitions::names(kind, &accepted.definitions) {
            let renamed = accepted.renames.iter().find(|r| r.kind == kind && r.new == name);
            let before = definitions::object(kind, renamed.map_or(&name, |r| &r.old), &fleet.definitions);
            let change = match before {
                None => Change::Created,
                Some(_) if renamed.is_some() => Change::Renamed,
                Some(before) if Some(&before) == definitions::object(kind, &name, &accepted.definitions).as_ref() => {
                    Change::Unchanged
                }
                Some(_) => Change::Changed,
            };
            objects.push(ObjectChange { kind, name, change });
        }
    }
    Applied { version: fleet.version, objects, requests: Vec::new(), waiting: Vec::new() }
}

fn counted(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

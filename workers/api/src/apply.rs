//! `apply`: files to definitions in effect, all or nothing. A race with another apply is run again on what that one left.

use std::fmt;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use domain::definitions::{self, Accepted, DefinitionError, Prunable, Warning};
use records::{Activate, Applied, Change, Fleet, ObjectChange, Records, RecordsError, Waiting};
use schemas::name::Kind;
use schemas::{ConsoleName, RequestId};
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
    /// What this console owns and no file declares is deleted.
    #[serde(default)]
    prune: bool,
}

/// How files are applied.
#[derive(Debug, Clone, Copy)]
struct How {
    dry_run: bool,
    activate: Activate,
    prune: bool,
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

pub async fn post(
    State(records): State<Records>,
    State(console): State<ConsoleName>,
    body: Bytes,
) -> Result<Json<ApplyAnswer>, ApiFault> {
    let asked: Apply = answer::read(&body)?;
    let files: Vec<(String, String)> = asked.files.into_iter().map(|file| (file.name, file.text)).collect();
    let activate = if asked.refresh { Activate::Now } else { Activate::AsScheduled };
    let how = How { dry_run: asked.dry_run, activate, prune: asked.prune };
    Ok(Json(apply_so(&records, &files, &console, how).await?))
}

/// Files as (shown name, text), in the name of a console.
pub async fn apply(
    records: &Records,
    files: &[(String, String)],
    console: &ConsoleName,
) -> Result<ApplyAnswer, ApplyError> {
    apply_so(records, files, console, How { dry_run: false, activate: Activate::AsScheduled, prune: false }).await
}

async fn apply_so(
    records: &Records,
    files: &[(String, String)],
    console: &ConsoleName,
    how: How,
) -> Result<ApplyAnswer, ApplyError> {
    let declared = definitions::parse(files).map_err(ApplyError::Invalid)?;
    let mut tries = 1;
    loop {
        let fleet = records.fleet().await?;
        let prunable = if how.prune { fleet.prunable(console) } else { Prunable::new() };
        let accepted = definitions::validate_pruned(&declared, &fleet.definitions, &prunable);
        let accepted = accepted.map_err(ApplyError::Invalid)?;
        if how.dry_run {
            fleet.may_become(&accepted, console)?;
            return Ok(answer(would_change(&fleet, &accepted), &accepted, true));
        }
        match records.apply_and(&accepted, fleet.version, Some(console), how.activate).await {
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
        for name in definitions::names(kind, &fleet.definitions) {
            let is_renamed = accepted.renames.iter().any(|r| r.kind == kind && r.old == name);
            if !is_renamed && definitions::object(kind, &name, &accepted.definitions).is_none() {
                objects.push(ObjectChange { kind, name, change: Change::Deleted });
            }
        }
    }
    Applied { version: fleet.version, objects, requests: Vec::new(), waiting: Vec::new() }
}

fn counted(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

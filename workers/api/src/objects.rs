//! Definitions in effect: listed, shown, described, deleted.

use axum::Json;
use axum::extract::{Path, State};
use domain::definitions::{self, Accepted, Description};
use records::{Fleet, Records, RecordsError, Standing};
use schemas::ConsoleName;
use schemas::name::Kind;
use serde::Serialize;
use serde_json::Value;

use crate::fault::ApiFault;
use crate::limits::APPLY_TRIES;

#[derive(Debug, Serialize)]
pub struct Objects {
    kind: Kind,
    version: u64,
    objects: Vec<Object>,
}

#[derive(Debug, Serialize)]
pub struct Object {
    kind: Kind,
    name: String,
    title: Option<String>,
    /// Whose it is.
    console: Option<ConsoleName>,
    /// As it was declared.
    spec: Value,
}

#[derive(Debug, Serialize)]
pub struct Described {
    #[serde(flatten)]
    description: Description,
    /// As applied, and as in effect.
    standing: Option<Standing>,
    /// Whose it is: the console that created it.
    console: Option<ConsoleName>,
}

#[derive(Debug, Serialize)]
pub struct Deleted {
    kind: Kind,
    name: String,
    version: u64,
}

pub async fn list(State(records): State<Records>, Path(kind): Path<String>) -> Result<Json<Objects>, ApiFault> {
    let kind = kind_of(&kind)?;
    let fleet = records.fleet().await?;
    let objects = definitions::names(kind, &fleet.definitions)
        .into_iter()
        .filter_map(|name| Some(object(kind, definitions::object(kind, &name, &fleet.definitions)?, name, &fleet)))
        .collect();
    Ok(Json(Objects { kind, version: fleet.version, objects }))
}

pub async fn one(
    State(records): State<Records>,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Json<Object>, ApiFault> {
    let kind = kind_of(&kind)?;
    let fleet = records.fleet().await?;
    let spec = definitions::object(kind, &name, &fleet.definitions).ok_or_else(|| unknown(kind, &name))?;
    Ok(Json(object(kind, spec, name, &fleet)))
}

pub async fn describe(
    State(records): State<Records>,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Json<Described>, ApiFault> {
    let kind = kind_of(&kind)?;
    let fleet = records.fleet().await?;
    let description = definitions::describe(kind, &name, &fleet.definitions).ok_or_else(|| unknown(kind, &name))?;
    let standing = records.standing(kind, &name).await?;
    let console = fleet.owners.get(&(kind, name)).cloned();
    Ok(Json(Described { description, standing, console }))
}

/// Refused with the list of those that name it. What others change meanwhile is read again.
pub async fn delete(
    State(records): State<Records>,
    State(console): State<ConsoleName>,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Json<Deleted>, ApiFault> {
    let kind = kind_of(&kind)?;
    let mut tries = 1;
    loop {
        let fleet = records.fleet().await?;
        let left = definitions::delete(kind, &name, &fleet.definitions)?;
        let accepted = Accepted { definitions: left, renames: Vec::new(), warnings: Vec::new() };
        match records.apply(&accepted, fleet.version, Some(&console)).await {
            Ok(applied) => return Ok(Json(Deleted { kind, name, version: applied.version })),
            Err(RecordsError::Conflict { .. }) if tries < APPLY_TRIES => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

fn object(kind: Kind, spec: Value, name: String, fleet: &Fleet) -> Object {
    let title = spec.get("title").and_then(Value::as_str).map(str::to_owned);
    let console = fleet.owners.get(&(kind, name.clone())).cloned();
    Object { kind, name, title, console, spec }
}

fn kind_of(text: &str) -> Result<Kind, ApiFault> {
    Kind::parse(text).ok_or_else(|| {
        let kinds = Kind::ALL.map(Kind::as_str).join(", ");
        ApiFault::absent("kind-unknown", format!("`{}` is not a kind of object; there are {kinds}", short(text)))
    })
}

pub fn unknown(kind: Kind, name: &str) -> ApiFault {
    ApiFault::absent("object-unknown", format!("there is no {kind} `{}`", short(name)))
}

fn short(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

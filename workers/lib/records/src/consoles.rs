//! Several consoles on one database (SPEC S9): whose a sync is, who may run it, and the one console that syncs `core` to a subscriber.
//! Triggers in the database say the same (migration 50); here it is said with names, and before anything is written.

use std::collections::BTreeMap;

use schemas::definitions::{ALL_COMPONENTS, CORE};
use schemas::name::Kind;
use schemas::{ConsoleName, Definitions, Request, RequestKind, SubscriberName, SyncName};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use crate::db::{Records, RecordsError};
use crate::sql;

/// Whose each object is: the console that created it.
pub type Owners = BTreeMap<(Kind, String), ConsoleName>;

/// A sync is changed and run by the console that owns it.
pub const SYNC_OWNER_DIFFERS: &str = "sync-owner-differs";
/// One console alone syncs `core` to a subscriber.
pub const CORE_OWNER_DIFFERS: &str = "core-owner-differs";
/// What the triggers' messages begin with.
const MARK: &str = "tidegate:";

#[derive(FromQueryResult)]
struct Owned {
    name: String,
    console: String,
}

impl Records {
    /// Whether this request may be made: a sync by its own console, and `core` by the one that syncs it there.
    pub async fn may_run(&self, request: &Request) -> Result<(), RecordsError> {
        may_run(self.reader(), request).await
    }
}

pub(crate) async fn may_run(c: &impl ConnectionTrait, request: &Request) -> Result<(), RecordsError> {
    if request.kind != RequestKind::Sync {
        return Ok(());
    }
    let asker = request.console.as_ref();
    let selector = &request.selector;
    let syncs: Vec<String> = selector.syncs.iter().map(ToString::to_string).collect();
    let text = "SELECT name, console FROM tide_objects WHERE kind = 'sync' AND name";
    if let Some(owned) = of_another(c, text, &syncs, asker).await? {
        return Err(refused(SYNC_OWNER_DIFFERS, format!("{}; only that one runs it", belongs(&owned, asker))));
    }
    let is_core =
        selector.components.is_empty() || selector.components.iter().any(|c| c == CORE || c == ALL_COMPONENTS);
    if !is_core {
        return Ok(());
    }
    let subscribers: Vec<String> = selector.subscribers.iter().map(ToString::to_string).collect();
    let text = "SELECT subscriber AS name, console FROM tide_core_owners WHERE subscriber";
    match of_another(c, text, &subscribers, asker).await? {
        Some(owned) => Err(refused(CORE_OWNER_DIFFERS, core_taken(&owned.name, &owned.console, &asked_by(asker)))),
        None => Ok(()),
    }
}

async fn of_another(
    c: &impl ConnectionTrait,
    text: &str,
    names: &[String],
    asker: Option<&ConsoleName>,
) -> Result<Option<Owned>, RecordsError> {
    if names.is_empty() {
        return Ok(None);
    }
    let text = format!("{text} IN ({}) AND console <> $1 ORDER BY 1 LIMIT 1", sql::list(2, names.len()));
    let mut values: Vec<Value> = vec![asker.map_or_else(String::new, ToString::to_string).into()];
    values.extend(sql::values(names));
    Ok(sql::row(c, &text, values).await?)
}

/// The owner of a sync, for requests that a schedule makes in its name.
pub(crate) async fn owner_of_sync(
    c: &impl ConnectionTrait,
    sync: &SyncName,
) -> Result<Option<ConsoleName>, RecordsError> {
    let text = "SELECT console FROM tide_objects WHERE kind = 'sync' AND name = $1";
    let found = sql::texts(c, text, vec![sync.to_string().into()]).await?;
    found.first().map(|name| name.as_str().try_into()).transpose().map_err(corrupt)
}

pub(crate) fn corrupt(error: schemas::InvalidName) -> RecordsError {
    RecordsError::Corrupt(format!("console: {error}"))
}

/// One console changes a sync: the one that it belongs to.
pub(crate) fn may_change(sync: &str, owner: &str, acting: &ConsoleName) -> Result<(), RecordsError> {
    if owner == acting.as_str() {
        return Ok(());
    }
    let owned = Owned { name: sync.to_owned(), console: owner.to_owned() };
    let belongs = belongs(&owned, Some(acting));
    Err(refused(
        SYNC_OWNER_DIFFERS,
        format!("{belongs}; only that one changes it. To move it here, delete it and create it anew"),
    ))
}

/// All syncs of `core` to one subscriber belong to one console. `owners`: of the syncs that are recorded; new ones are the acting
/// console's.
pub(crate) fn core_is_of_one(
    definitions: &Definitions,
    owners: &BTreeMap<String, String>,
    acting: &ConsoleName,
) -> Result<(), RecordsError> {
    let mut first: BTreeMap<&SubscriberName, &str> = BTreeMap::new();
    for (name, sync) in definitions.syncs.iter().filter(|(_, sync)| sync.is_core()) {
        let owner = owners.get(name.as_str()).map_or(acting.as_str(), String::as_str);
        let one = *first.entry(&sync.subscriber).or_insert(owner);
        if one != owner {
            let other = if one == acting.as_str() { owner } else { one };
            return Err(refused(
                CORE_OWNER_DIFFERS,
                core_taken(sync.subscriber.as_str(), other, &asked_by(Some(acting))),
            ));
        }
    }
    Ok(())
}

/// What a trigger said, if that is what an error's text holds.
pub(crate) fn refusal_of(text: &str) -> Option<RecordsError> {
    let said = |code: &str| text.contains(&format!("{MARK}{code}"));
    if said(SYNC_OWNER_DIFFERS) {
        return Some(refused(SYNC_OWNER_DIFFERS, "the sync belongs to another console".to_owned()));
    }
    if said(CORE_OWNER_DIFFERS) {
        return Some(refused(CORE_OWNER_DIFFERS, "another console syncs `core` to this subscriber".to_owned()));
    }
    None
}

fn belongs(owned: &Owned, asker: Option<&ConsoleName>) -> String {
    format!("sync {} belongs to console {}, and {}", owned.name, owned.console, asked_by(asker))
}

fn asked_by(asker: Option<&ConsoleName>) -> String {
    asker.map_or_else(|| "no console is named".to_owned(), |asker| format!("this is console {asker}"))
}

fn core_taken(subscriber: &str, owner: &str, asked_by: &str) -> String {
    format!(
        "console {owner} syncs `core` to subscriber {subscriber}, and {asked_by}; one console alone does (`all` counts as `core`)"
    )
}

fn refused(code: &'static str, what: String) -> RecordsError {
    RecordsError::Refused { code, what }
}

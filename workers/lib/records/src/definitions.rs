//! Definitions as rows: `apply` makes the database match, all or nothing, and derives what other tables need of them:
//! targets, settings, schedules.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use domain::definitions::{Accepted, Prunable, Rename};
use domain::state::State;
use domain::targets::SYNC_CHANNEL;
use domain::{in_effect, site, targets};
use schemas::name::Kind;
use schemas::{
    ConsoleName, Definitions, DistributionName, DistributorName, Request, RequestId, RequestKind, Settings, StoreId,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult, Value};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::consoles::{self, Owners};
use crate::db::{Records, RecordsError, clock_ms};
use crate::finish::{self, Ended};
use crate::refresh::{self, Activate, Waiting};
use crate::{lanes, limits, requests, retention, schedules, sql};

/// All definitions in effect, with the version that they stand under.
#[derive(Debug, Clone)]
pub struct Fleet {
    pub version: u64,
    pub definitions: Definitions,
    pub stores: BTreeMap<DistributionName, StoreId>,
    /// Whose each object is; of what is in effect it is not told.
    pub owners: Owners,
}

impl Fleet {
    /// Whether this console may make the fleet so: what applying it would say of syncs and their owners.
    pub fn may_become(&self, accepted: &Accepted, console: &ConsoleName) -> Result<(), RecordsError> {
        let renamed = |name: &str| {
            let old = accepted.renames.iter().find(|r| r.kind == Kind::Sync && r.new == name);
            old.map_or(name, |rename| rename.old.as_str()).to_owned()
        };
        let mut owners = BTreeMap::new();
        for (name, sync) in &accepted.definitions.syncs {
            let before = renamed(name.as_str());
            let Some(owner) = self.owners.get(&(Kind::Sync, before.clone())) else { continue };
            let is_same = before == name.as_str() && self.definitions.syncs.get(name) == Some(sync);
            if !is_same {
                consoles::may_change(&before, owner.as_str(), console)?;
            }
            owners.insert(name.to_string(), owner.to_string());
        }
        consoles::core_is_of_one(&accepted.definitions, &owners, console)
    }

    /// What a prune by this console takes out unless it is declared (SPEC §10, 1).
    pub fn prunable(&self, console: &ConsoleName) -> Prunable {
        let own = self.owners.iter().filter(|(_, owner)| *owner == console);
        own.map(|(object, _)| object.clone()).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    Created,
    Changed,
    Renamed,
    Unchanged,
    Deleted,
}

#[derive(Debug, Clone, Serialize)]
pub struct ObjectChange {
    pub kind: Kind,
    pub name: String,
    pub change: Change,
}

#[derive(Debug, Clone, Serialize)]
pub struct Applied {
    pub version: u64,
    pub objects: Vec<ObjectChange>,
    /// The refreshes that were asked for.
    pub requests: Vec<RequestId>,
    /// Changed objects that stay in effect as they were until a refresh, changed by this apply or by an earlier one.
    pub waiting: Vec<Waiting>,
}

#[derive(FromQueryResult)]
struct ObjectRow {
    kind: String,
    name: String,
    spec: String,
    store: Option<String>,
    console: String,
}

const OBJECTS: &str = "SELECT kind, name, spec, store, console FROM tide_objects";

impl Records {
    pub async fn fleet_version(&self) -> Result<u64, RecordsError> {
        let version = sql::number(self.reader(), "SELECT number FROM tide_meta WHERE name = 'fleet_version'", vec![]);
        Ok(version.await?.unwrap_or(0) as u64)
    }

    pub async fn fleet(&self) -> Result<Fleet, RecordsError> {
        loop {
            let version = self.fleet_version().await?;
            let fleet = read(self.reader(), version, Owning::Told).await?;
            // Two reads outside a transaction: read again if somebody applied in between.
            if self.fleet_version().await? == version {
                return Ok(fleet);
            }
        }
    }

    /// `apply_and` with every distributor's changes in effect as its refresh schedule says.
    pub async fn apply(
        &self,
        accepted: &Accepted,
        based_on: u64,
        console: Option<&ConsoleName>,
    ) -> Result<Applied, RecordsError> {
        self.apply_and(accepted, based_on, console, Activate::AsScheduled).await
    }

    /// Stores the whole fleet as validated against version `based_on`; anything that is not in it is deleted. Fails with
    /// `Conflict` if somebody else was faster. New objects belong to `console`, and so must syncs that it changes.
    pub async fn apply_and(
        &self,
        accepted: &Accepted,
        based_on: u64,
        console: Option<&ConsoleName>,
        activate: Activate,
    ) -> Result<Applied, RecordsError> {
        let now_ms = clock_ms();
        let acting = console.cloned().unwrap_or_default();
        let tx = self.begin().await?;
        self.think_long(&tx).await?;
        let found = sql::number(&tx, "SELECT number FROM tide_meta WHERE name = 'fleet_version' {for_update}", vec![])
            .await?
            .unwrap_or(0) as u64;
        if found != based_on {
            return Err(RecordsError::Conflict { expected: based_on, found });
        }
        let version = found + 1;
        for rename in &accepted.renames {
            carry_out(&tx, rename, &acting).await?;
        }
        let objects = write_objects(&tx, &accepted.definitions, &accepted.renames, &acting, now_ms).await?;
        for gone in objects.iter().filter(|o| o.change == Change::Deleted) {
            end_jobs_of(&tx, gone.kind, &gone.name, now_ms).await?;
        }
        let touched = objects.iter().any(|o| o.change != Change::Unchanged);
        let mut asked = Vec::new();
        if touched {
            sql::exec(
                &tx,
                "UPDATE tide_meta SET number = $1 WHERE name = 'fleet_version'",
                vec![(version as i64).into()],
            )
            .await?;
        }
        if touched || activate == Activate::Now {
            let definitions = &accepted.definitions;
            let refreshed = match activate {
                Activate::AsScheduled => in_effect::refreshed_at_once(definitions),
                Activate::Now => definitions.distributors.keys().cloned().collect(),
            };
            let in_effect = refresh::next_version(&tx).await?;
            refresh::release(&tx, definitions, &refreshed, now_ms).await?;
            let held = refresh::held(&tx).await?;
            let effective = match held.is_empty() {
                true => Cow::Borrowed(definitions),
                false => Cow::Owned(in_effect::in_effect(definitions.clone(), held)),
            };
            derive(&tx, &effective, &refreshed, in_effect).await?;
            asked = ask_refreshes(&tx, &refreshed, in_effect, console, now_ms).await?;
            for name in
                objects.iter().filter(|o| o.kind == Kind::Sync && o.change != Change::Unchanged).map(|o| &o.name)
            {
                sync_at_once(&tx, definitions, name, in_effect, &acting, now_ms).await?;
            }
        }
        let waiting = refresh::waiting(&tx).await?;
        tx.commit().await?;
        Ok(Applied { version: if touched { version } else { found }, objects, requests: asked, waiting })
    }
}

/// What other tables need of the definitions in effect. Of `refreshed` distributors' subscribers all settings are new, of others
/// only what jobs planned from now on need. True if any settings changed.
pub(crate) async fn derive(
    tx: &DatabaseTransaction,
    definitions: &Definitions,
    refreshed: &BTreeSet<DistributorName>,
    version: u64,
) -> Result<bool, RecordsError> {
    write_targets(tx, definitions).await?;
    let changed = write_settings(tx, definitions, refreshed, version).await?;
    schedules::write(tx, definitions).await?;
    limits::write(tx, definitions).await?;
    Ok(changed > 0)
}

/// Objects that are in memory both as rows and as what they mean.
const PAGE_MAX: usize = 4_000;

/// Whose objects are, consoles alone ask; of a large fleet it is a tenth of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owning {
    Told,
    LeftOut,
}

pub(crate) async fn read(c: &impl ConnectionTrait, version: u64, owning: Owning) -> Result<Fleet, RecordsError> {
    // The kinds of which there are most go from their text straight into their types: of a large fleet the JSON between is the most.
    let (mut distributors, mut distributions) = (BTreeMap::new(), BTreeMap::new());
    let (mut channels, mut subscribers) = (BTreeMap::new(), BTreeMap::new());
    let mut sections: Map<String, Json> = Map::new();
    let (mut stores, mut owners) = (BTreeMap::new(), Owners::new());
    let (mut page, mut last) = (objects_after(c, "", "").await?, (String::new(), String::new()));
    while let Some(row) = page.pop_front() {
        if page.is_empty() {
            last = (row.kind.clone(), row.name.clone());
        }
        let kind =
            Kind::parse(&row.kind).ok_or_else(|| RecordsError::Corrupt(format!("object kind `{}`", row.kind)))?;
        if let (Some(store), Ok(name)) = (&row.store, DistributionName::try_from(row.name.as_str())) {
            stores.insert(name, store.parse().map_err(|e| RecordsError::Corrupt(format!("store id: {e}")))?);
        }
        if owning == Owning::Told {
            let console = row.console.as_str().try_into().map_err(consoles::corrupt)?;
            owners.insert((kind, row.name.clone()), console);
        }
        match kind {
            Kind::Distributor => put(&mut distributors, row)?,
            Kind::Distribution => put(&mut distributions, row)?,
            Kind::Channel => put(&mut channels, row)?,
            Kind::Subscriber => put(&mut subscribers, row)?,
            _ => {
                let section = sections.entry(kind.plural()).or_insert_with(|| Json::Object(Map::new()));
                section[row.name] = serde_json::from_str(&row.spec)?;
            }
        }
        if page.is_empty() {
            page = objects_after(c, &last.0, &last.1).await?;
        }
    }
    let others: Definitions = serde_json::from_value(Json::Object(sections))?;
    let definitions = Definitions { distributors, distributions, channels, subscribers, ..others };
    Ok(Fleet { version, definitions, stores, owners })
}

/// The next page in order; the reader looks at the version before and after.
async fn objects_after(c: &impl ConnectionTrait, kind: &str, name: &str) -> Result<VecDeque<ObjectRow>, RecordsError> {
    let text = format!("{OBJECTS} WHERE (kind, name) > ($1, $2) ORDER BY kind, name LIMIT {PAGE_MAX}");
    Ok(sql::rows::<ObjectRow>(c, &text, vec![kind.into(), name.into()]).await?.into())
}

fn put<N, T>(objects: &mut BTreeMap<N, T>, row: ObjectRow) -> Result<(), RecordsError>
where
    N: TryFrom<String, Error = schemas::InvalidName> + Ord,
    T: serde::de::DeserializeOwned,
{
    let name = N::try_from(row.name).map_err(|e| RecordsError::Corrupt(format!("the name of an object: {e}")))?;
    objects.insert(name, serde_json::from_str(&row.spec)?);
    Ok(())
}

/// The objects of all sections as (kind, name) → JSON.
fn flatten(definitions: &Definitions) -> Result<BTreeMap<(Kind, String), Json>, RecordsError> {
    let mut all = BTreeMap::new();
    let Json::Object(sections) = serde_json::to_value(definitions)? else { return Ok(all) };
    for (section, objects) in sections {
        let kind = Kind::parse(&section).ok_or_else(|| RecordsError::Corrupt(format!("section `{section}`")))?;
        if let Json::Object(objects) = objects {
            all.extend(objects.into_iter().map(|(name, spec)| ((kind, name), spec)));
        }
    }
    Ok(all)
}

async fn write_objects(
    tx: &DatabaseTransaction,
    definitions: &Definitions,
    renames: &[Rename],
    acting: &ConsoleName,
    now_ms: i64,
) -> Result<Vec<ObjectChange>, RecordsError> {
    let existing: Vec<ObjectRow> = sql::rows(tx, OBJECTS, vec![]).await?;
    let of_syncs = existing.iter().filter(|row| row.kind == Kind::Sync.as_str());
    let owners = of_syncs.map(|row| (row.name.clone(), row.console.clone())).collect();
    consoles::core_is_of_one(definitions, &owners, acting)?;
    let mut existing: HashMap<(String, String), ObjectRow> =
        existing.into_iter().map(|row| ((row.kind.clone(), row.name.clone()), row)).collect();
    let mut changes = Vec::new();
    let mut rows: Vec<Vec<Value>> = Vec::new();
    let mut created_seq =
        sql::number(tx, "SELECT number FROM tide_meta WHERE name = 'created_seq'", vec![]).await?.unwrap_or(0);
    for ((kind, name), spec) in flatten(definitions)? {
        let before = existing.remove(&(kind.as_str().to_owned(), name.clone()));
        let text = spec.to_string();
        let renamed = renames.iter().any(|r| r.kind == kind && r.new == name);
        let change = match &before {
            None => Change::Created,
            Some(_) if renamed => Change::Renamed,
            Some(row) if serde_json::from_str::<Json>(&row.spec)? == spec => Change::Unchanged,
            Some(_) => Change::Changed,
        };
        changes.push(ObjectChange { kind, name: name.clone(), change });
        if change == Change::Unchanged {
            continue;
        }
        if let (Kind::Sync, Some(row)) = (kind, &before) {
            consoles::may_change(&name, &row.console, acting)?;
        }
        created_seq += 1;
        let store = match before {
            Some(row) => row.store,
            None if kind == Kind::Distribution => Some(Uuid::now_v7().to_string()),
            None => None,
        };
        let title = spec.get("title").and_then(Json::as_str).map(str::to_owned);
        rows.push(vec![
            kind.as_str().into(),
            name.into(),
            text.into(),
            title.into(),
            1i64.into(),
            created_seq.into(),
            store.into(),
            now_ms.into(),
            now_ms.into(),
            acting.to_string().into(),
            format!("{acting}/1").into(),
        ]);
    }
    changes.extend(delete_left_out(tx, existing.into_values(), now_ms).await?);
    let head = "INSERT INTO tide_objects (kind, name, spec, title, version, created_seq, store, created_ms, changed_ms, console, \
        changed_by)";
    let tail = "ON CONFLICT (kind, name) DO UPDATE SET spec = excluded.spec, title = excluded.title,
        version = tide_objects.version + 1, changed_ms = excluded.changed_ms,
        changed_by = excluded.console || '/' || (tide_objects.version + 1),
        in_effect = CASE WHEN tide_objects.kind IN ('distributor', 'distribution')
            THEN COALESCE(tide_objects.in_effect, tide_objects.spec) END,
        in_effect_version = CASE WHEN tide_objects.kind IN ('distributor', 'distribution')
            THEN COALESCE(tide_objects.in_effect_version, tide_objects.version) END";
    sql::insert_rows(tx, head, &rows, tail).await?;
    sql::exec(tx, "UPDATE tide_meta SET number = $1 WHERE name = 'created_seq'", vec![created_seq.into()]).await?;
    Ok(changes)
}

/// First of all: what goes makes room for what comes.
async fn delete_left_out(
    tx: &DatabaseTransaction,
    left_out: impl Iterator<Item = ObjectRow>,
    now_ms: i64,
) -> Result<Vec<ObjectChange>, RecordsError> {
    let mut changes = Vec::new();
    for ObjectRow { kind, name, store, .. } in left_out {
        let deleted = Kind::parse(&kind).ok_or_else(|| RecordsError::Corrupt(format!("object kind `{kind}`")))?;
        sql::exec(tx, "DELETE FROM tide_objects WHERE kind = $1 AND name = $2", vec![kind.into(), name.clone().into()])
            .await?;
        if let (Kind::Distribution, Some(store)) = (deleted, store) {
            retention::set_aside(tx, &name, &store, now_ms).await?;
        }
        changes.push(ObjectChange { kind: deleted, name, change: Change::Deleted });
    }
    Ok(changes)
}

/// Columns that hold names of a kind, and which lanes' names hold it.
fn places(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Distribution => &[
            ("tide_jobs", "distribution"),
            ("tide_revisions", "distribution"),
            ("tide_packs", "distribution"),
            ("tide_holdings", "distribution"),
            ("tide_kept", "distribution"),
            ("tide_stores", "distribution"),
            ("tide_condemned", "distribution"),
        ],
        Kind::Subscriber => &[
            ("tide_jobs", "subscriber"),
            ("tide_holdings", "subscriber"),
            ("tide_kept", "subscriber"),
            ("tide_sites", "subscriber"),
            ("tide_settings", "subscriber"),
            ("tide_forgets", "subscriber"),
        ],
        Kind::Channel => &[("tide_jobs", "channel")],
        Kind::Distributor => &[("tide_jobs", "distributor")],
        Kind::Group | Kind::Hierarchy | Kind::Sync => &[],
    }
}

/// Renames the object and its history. Content stays where it is: stores go by an id of their own.
async fn carry_out(tx: &DatabaseTransaction, rename: &Rename, acting: &ConsoleName) -> Result<(), RecordsError> {
    if rename.kind == Kind::Sync {
        return rename_sync(tx, rename, acting).await;
    }
    let (old, new) = (Value::from(rename.old.clone()), Value::from(rename.new.clone()));
    for (table, column) in places(rename.kind) {
        if *table == "tide_jobs" {
            let open = format!(
                "SELECT COUNT(*) FROM tide_jobs WHERE {column} = $1 AND state IN ('waiting', 'queued', 'running')"
            );
            let open = sql::number(tx, &open, vec![old.clone()]).await?.unwrap_or(0);
            if open > 0 {
                return Err(RecordsError::Refused {
                    code: "rename-with-open-jobs",
                    what: format!(
                        "{} {} has {open} open jobs, which go by its name; wait for them or cancel them, then rename it",
                        rename.kind, rename.old
                    ),
                });
            }
        }
        sql::exec(tx, &format!("UPDATE {table} SET {column} = $1 WHERE {column} = $2"), vec![new.clone(), old.clone()])
            .await?;
    }
    schedules::rename(tx, rename).await?;
    let text = "UPDATE tide_objects SET name = $1 WHERE kind = $2 AND name = $3";
    sql::exec(tx, text, vec![new, rename.kind.as_str().into(), old]).await?;
    Ok(())
}

async fn rename_sync(tx: &DatabaseTransaction, rename: &Rename, acting: &ConsoleName) -> Result<(), RecordsError> {
    let find = "SELECT console FROM tide_objects WHERE kind = 'sync' AND name = $1";
    if let Some(owner) = sql::texts(tx, find, vec![rename.old.clone().into()]).await?.first() {
        consoles::may_change(&rename.old, owner, acting)?;
    }
    schedules::rename(tx, rename).await?;
    let text = "UPDATE tide_objects SET name = $1, version = version + 1, changed_by = CAST($3 AS TEXT) || '/' || (version + 1)
        WHERE kind = 'sync' AND name = $2";
    let values = vec![rename.new.clone().into(), rename.old.clone().into(), acting.to_string().into()];
    sql::exec(tx, text, values).await?;
    Ok(())
}

/// Nobody will work for an object that is gone, or wants the result: its open jobs are cancelled.
async fn end_jobs_of(tx: &DatabaseTransaction, kind: Kind, name: &str, now_ms: i64) -> Result<(), RecordsError> {
    for (_, column) in places(kind).iter().filter(|(table, _)| *table == "tide_jobs") {
        let find =
            format!("SELECT id FROM tide_jobs WHERE {column} = $1 AND state IN ('waiting', 'queued', 'running')");
        let open = sql::texts(tx, &find, vec![name.into()]).await?;
        if open.is_empty() {
            continue;
        }
        lanes::lock(tx, &lanes::around(tx, &open).await?).await?;
        let text = format!(
            "UPDATE tide_jobs SET state = 'cancelled', error_code = 'object-deleted', error = $1, ended_ms = $2
            WHERE {column} = $3 AND state IN ('waiting', 'queued', 'running')"
        );
        let error = format!("{kind} {name} was deleted");
        sql::exec(tx, &text, vec![error.into(), now_ms.into(), name.into()]).await?;
        let ended: Vec<Ended> = open.into_iter().map(|job| Ended { job, state: State::Cancelled }).collect();
        finish::finish(tx, &ended, now_ms).await?;
    }
    Ok(())
}

async fn write_targets(tx: &DatabaseTransaction, definitions: &Definitions) -> Result<(), RecordsError> {
    sql::exec(tx, "DELETE FROM tide_targets", vec![]).await?;
    let rows: Vec<Vec<Value>> = targets::targets(definitions)
        .into_iter()
        .map(|t| {
            vec![
                t.channel.to_string().into(),
                t.distribution.to_string().into(),
                t.subscriber.to_string().into(),
                i32::from(t.active).into(),
                t.why.to_string().into(),
            ]
        })
        .collect();
    sql::insert_rows(tx, "INSERT INTO tide_targets (channel, distribution, subscriber, active, why)", &rows, "")
        .await?;
    Ok(())
}

#[derive(FromQueryResult)]
struct SettingsRow {
    subscriber: String,
    settings: String,
}

/// A site's settings get a new version only if they differ. Those of a site that only other distributors serve wait for their
/// refresh, but for the channels: what is sent there must be taken.
async fn write_settings(
    tx: &DatabaseTransaction,
    definitions: &Definitions,
    refreshed: &BTreeSet<DistributorName>,
    version: u64,
) -> Result<u64, RecordsError> {
    let serving = in_effect::distributors_by_subscriber(definitions);
    let waits = |name| serving.get(name).is_some_and(|by| !by.is_empty() && by.is_disjoint(refreshed));
    let before: Vec<SettingsRow> = sql::rows(tx, "SELECT subscriber, settings FROM tide_settings", vec![]).await?;
    let before: HashMap<String, String> = before.into_iter().map(|r| (r.subscriber, r.settings)).collect();
    let mut channels = site::channels_by_subscriber(definitions);
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for name in definitions.subscribers.keys() {
        let mut own = channels.remove(name).unwrap_or_default();
        own.extend(schemas::ChannelName::try_from(SYNC_CHANNEL));
        let Some(settings) = site::settings_with(definitions, name, version, own) else { continue };
        let old = before.get(name.as_str()).map(|text| serde_json::from_str::<Settings>(text)).transpose()?;
        let settings = match old.clone().filter(|_| waits(name)) {
            Some(old) => Settings { version, channels: settings.channels, ..old },
            None => settings,
        };
        if old.is_some_and(|old| Settings { version, ..old } == settings) {
            continue;
        }
        rows.push(vec![name.to_string().into(), (version as i64).into(), serde_json::to_string(&settings)?.into()]);
    }
    let tail = "ON CONFLICT (subscriber) DO UPDATE SET version = excluded.version, settings = excluded.settings";
    let changed =
        sql::insert_rows(tx, "INSERT INTO tide_settings (subscriber, version, settings)", &rows, tail).await?;
    let known: BTreeSet<&str> = definitions.subscribers.keys().map(|n| n.as_str()).collect();
    for gone in before.keys().filter(|name| !known.contains(name.as_str())) {
        for table in ["tide_settings", "tide_forgets"] {
            sql::exec(tx, &format!("DELETE FROM {table} WHERE subscriber = $1"), vec![gone.clone().into()]).await?;
        }
    }
    Ok(changed)
}

/// A sync that goes by `immediately` and is new or changed.
async fn sync_at_once(
    tx: &DatabaseTransaction,
    definitions: &Definitions,
    name: &str,
    version: u64,
    acting: &ConsoleName,
    now_ms: i64,
) -> Result<(), RecordsError> {
    let found = definitions.syncs.iter().find(|(sync, _)| sync.as_str() == name);
    let Some((sync, _)) = found.filter(|(_, sync)| sync.schedule.is_immediate()) else { return Ok(()) };
    let seed = format!("tidegate/apply/{version}/sync/{sync}");
    let id = RequestId(Uuid::new_v5(&Uuid::NAMESPACE_OID, seed.as_bytes()));
    let mut request = Request::new(id, RequestKind::Sync);
    request.selector.syncs.push(sync.clone());
    request.console = Some(acting.clone());
    requests::insert_own(tx, &request, "apply", now_ms).await?;
    Ok(())
}

async fn ask_refreshes(
    tx: &DatabaseTransaction,
    refreshed: &BTreeSet<DistributorName>,
    version: u64,
    console: Option<&ConsoleName>,
    now_ms: i64,
) -> Result<Vec<RequestId>, RecordsError> {
    let mut asked = Vec::new();
    for name in refreshed {
        let seed = format!("tidegate/apply/{version}/refresh/{name}");
        let mut request =
            Request::new(RequestId(Uuid::new_v5(&Uuid::NAMESPACE_OID, seed.as_bytes())), RequestKind::Refresh);
        request.selector.distributors.push(name.clone());
        request.console = console.cloned();
        if requests::insert_own(tx, &request, "apply", now_ms).await? {
            asked.push(request.id);
        }
    }
    Ok(asked)
}

//! The schedules of all objects, as `apply` writes them: one that is new or changed counts from now, by the database's clock;
//! the others keep their place.

use std::collections::HashMap;

use domain::definitions::Rename;
use domain::effective;
use domain::schedule::zone_data_version;
use schemas::name::Kind;
use schemas::{Definitions, Schedule};
use sea_orm::{DatabaseTransaction, FromQueryResult, Value};

use super::{COLUMNS, ScheduleRow, read};
use crate::db::{Records, RecordsError, clock_ms};
use crate::leases::Term;
use crate::{STEP_MAX, sql};

const RECORDED_PAGE_MAX: usize = 4_000;

/// One schedule of an object.
struct Declared<'a> {
    name: String,
    verb: &'static str,
    object: String,
    rule: std::borrow::Cow<'a, Schedule>,
    zone: String,
}

#[derive(FromQueryResult)]
struct Before {
    name: String,
    spec: String,
    zone: String,
}

pub(crate) async fn write(tx: &DatabaseTransaction, definitions: &Definitions) -> Result<(), RecordsError> {
    let now_ms = sql::number(tx, "SELECT {now_ms}", vec![]).await?.unwrap_or_else(clock_ms);
    let mut before = recorded(tx).await?;
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for declared in declared(definitions) {
        let spec = serde_json::to_string(declared.rule.as_ref())?;
        if before.remove(&declared.name).is_some_and(|(old, zone)| old == spec && zone == declared.zone) {
            continue;
        }
        let schedule = read(declared.rule.as_ref(), &declared.name, &declared.zone, now_ms)?;
        let next_ms = schedule.next(now_ms).map(|next| next.start_ms);
        let awaits = schedule.awaits();
        if next_ms.is_none() && schedule.is_timed() {
            return Err(in_the_past(&declared, &schedule.in_words()));
        }
        let Declared { name, verb, object, zone, .. } = declared;
        rows.push(vec![
            name.into(),
            verb.into(),
            object.into(),
            spec.into(),
            zone.into(),
            now_ms.into(),
            now_ms.into(),
            next_ms.into(),
            awaits.into(),
        ]);
    }
    let head = format!("INSERT INTO tide_schedules ({COLUMNS}, awaits)");
    let tail =
        "ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, zone = excluded.zone, anchor_ms = excluded.anchor_ms,
        through_ms = excluded.through_ms, next_due_ms = excluded.next_due_ms, awaits = excluded.awaits";
    sql::insert_rows(tx, &head, &rows, tail).await?;
    let gone: Vec<String> = before.into_keys().collect();
    for gone in gone.chunks(STEP_MAX) {
        let text = format!("DELETE FROM tide_schedules WHERE name IN ({})", sql::list(1, gone.len()));
        sql::exec(tx, &text, sql::values(gone)).await?;
    }
    Ok(())
}

/// Every schedule's rule and zone, read in pages: rows as they come from a driver take several times the memory.
async fn recorded(tx: &DatabaseTransaction) -> Result<HashMap<String, (String, String)>, RecordsError> {
    let page =
        format!("SELECT name, spec, zone FROM tide_schedules WHERE name > $1 ORDER BY name LIMIT {RECORDED_PAGE_MAX}");
    let (mut all, mut last) = (HashMap::new(), String::new());
    loop {
        let rows: Vec<Before> = sql::rows(tx, &page, vec![last.clone().into()]).await?;
        let Some(row) = rows.last() else { return Ok(all) };
        last.clone_from(&row.name);
        all.extend(rows.into_iter().map(|row| (row.name, (row.spec, row.zone))));
    }
}

/// SPEC §10, 10.
fn in_the_past(declared: &Declared, words: &str) -> RecordsError {
    let what = format!("schedule {}: `{words}` lies in the past; give a later day, or write `never`", declared.name);
    RecordsError::Refused { code: "schedule-in-past", what }
}

fn declared(definitions: &Definitions) -> Vec<Declared<'_>> {
    let mut all = Vec::new();
    let mut push = |verb: &'static str, object: String, rule, zone: String| {
        all.push(Declared { name: format!("{verb}/{object}"), verb, object, rule, zone });
    };
    use std::borrow::Cow::{Borrowed, Owned};
    for (name, distributor) in &definitions.distributors {
        let zone = effective::distributor_zone(distributor).to_owned();
        push("refresh", name.to_string(), Owned(effective::refresh(distributor)), zone);
    }
    for (name, distribution) in definitions.distributions.iter().filter(|(_, d)| d.active && !d.freeze_build) {
        let owner = definitions.distributors.get(&distribution.distributor);
        let zone = owner.map_or(effective::TIME_ZONE, effective::distributor_zone).to_owned();
        if let Some(rule) = &distribution.build {
            push("build", name.to_string(), Borrowed(rule), zone);
        }
    }
    for (name, channel) in definitions.channels.iter().filter(|(_, channel)| channel.active) {
        if let Some(rule) = &channel.send {
            push("send", name.to_string(), Borrowed(rule), effective::channel_zone(name, definitions));
        }
    }
    for (name, subscriber) in &definitions.subscribers {
        if let Some(rule) = &subscriber.extract {
            push("extract", name.to_string(), Borrowed(rule), effective::subscriber_zone(subscriber).to_owned());
        }
    }
    for (name, sync) in &definitions.syncs {
        let site = definitions.subscribers.get(&sync.subscriber);
        let zone = site.map_or(effective::TIME_ZONE, effective::subscriber_zone).to_owned();
        push("sync", name.to_string(), Borrowed(&sync.schedule), zone);
    }
    all
}

/// A renamed object's schedule goes on under its new name, with what it did so far.
pub(crate) async fn rename(tx: &DatabaseTransaction, rename: &Rename) -> Result<(), RecordsError> {
    let verb = match rename.kind {
        Kind::Distributor => "refresh",
        Kind::Distribution => "build",
        Kind::Channel => "send",
        Kind::Subscriber => "extract",
        Kind::Sync => "sync",
        Kind::Group | Kind::Hierarchy => return Ok(()),
    };
    let (new, old) = (format!("{verb}/{}", rename.new), format!("{verb}/{}", rename.old));
    for (table, column) in [
        ("tide_schedules", "name"),
        ("tide_occurrences", "schedule"),
        ("tide_requests", "schedule"),
        ("tide_alerts", "schedule"),
        ("tide_due", "schedule"),
    ] {
        let text = format!("UPDATE {table} SET {column} = $1 WHERE {column} = $2");
        sql::exec(tx, &text, vec![new.clone().into(), old.clone().into()]).await?;
    }
    let text = "UPDATE tide_schedules SET object = $1 WHERE name = $2";
    sql::exec(tx, text, vec![rename.new.clone().into(), new.into()]).await?;
    Ok(())
}

impl Records {
    /// Zones change their rules: with other time-zone data than last time, every `next due` is computed again. Returns how many.
    pub async fn settle_zone_data(&self, term: &Term) -> Result<usize, RecordsError> {
        let mut settling = Settling::default();
        while !settling.is_over {
            self.settle_more(term, &mut settling).await?;
        }
        Ok(settling.settled)
    }

    /// The same in steps, between which a leader renews its lease and fires what is due.
    pub async fn settle_more(&self, term: &Term, settling: &mut Settling) -> Result<(), RecordsError> {
        let number = zone_data_number(zone_data_version());
        let known = "SELECT number FROM tide_meta WHERE name = 'zone_data'";
        if settling.is_over || sql::number(self.reader(), known, vec![]).await? == Some(number) {
            settling.is_over = true;
            return Ok(());
        }
        let tx = self.fenced(term).await?;
        let text = format!(
            "SELECT {COLUMNS} FROM tide_schedules WHERE next_due_ms IS NOT NULL AND name > $1 ORDER BY name LIMIT {STEP_MAX}"
        );
        let rows: Vec<ScheduleRow> = sql::rows(&tx, &text, vec![settling.through.clone().into()]).await?;
        let mut next: Vec<Vec<Value>> = Vec::with_capacity(rows.len());
        for row in &rows {
            // One that cannot be read is told by the tick that finds it due.
            if let Ok(rule) = row.rule() {
                let next_ms = rule.next(row.judged_through_ms()).map(|next| next.start_ms);
                next.push(vec![row.name.clone().into(), next_ms.unwrap_or(row.next_due_ms.unwrap_or_default()).into()]);
            }
        }
        let rest = "UPDATE tide_schedules SET next_due_ms = v.next_ms FROM v WHERE tide_schedules.name = v.name";
        sql::with_rows(&tx, &["name", "next_ms"], &next, rest).await?;
        if rows.is_empty() {
            let text = "UPDATE tide_meta SET number = $1 WHERE name = 'zone_data'";
            sql::exec(&tx, text, vec![number.into()]).await?;
        }
        tx.commit().await?;
        settling.is_over = rows.is_empty();
        if let Some(last) = rows.last() {
            settling.through.clone_from(&last.name);
        }
        settling.settled += rows.len();
        Ok(())
    }
}

/// How far `settle_more` has come.
#[derive(Debug, Clone, Default)]
pub struct Settling {
    through: String,
    pub is_over: bool,
    /// Schedules so far.
    pub settled: usize,
}

/// `2026e` as 202605.
fn zone_data_number(version: &str) -> i64 {
    let year: i64 = version.get(..4).and_then(|year| year.parse().ok()).unwrap_or(0);
    let letter =
        version.as_bytes().get(4).filter(|byte| byte.is_ascii_lowercase()).map_or(0, |letter| letter - b'a' + 1);
    year * 100 + i64::from(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_zone_data_are_told_apart() {
        assert_eq!(zone_data_number("2026e"), 202_605);
        assert_ne!(zone_data_number("2026a"), zone_data_number("2025z"));
        assert!(zone_data_number(zone_data_version()) > 202_400, "{}", zone_data_version());
    }
}

//! What sites say of themselves, and what they must be told: settings and their children's keys.

use std::collections::BTreeMap;

use schemas::{ChildKey, Control, JobProgress, Presence, Settings, SubscriberName};
use sea_orm::{FromQueryResult, Value};

use crate::db::{Records, RecordsError};
use crate::leases::Term;
use crate::{STEP_MAX, forgets, sql};

#[derive(Debug, Clone, FromQueryResult)]
pub struct SiteRow {
    pub subscriber: String,
    pub public_key: Option<String>,
    pub url: Option<String>,
    pub settings_version: i64,
    pub silent_since_ms: Option<i64>,
    pub children_version: i64,
    pub children_sent: String,
}

/// A control message that a site has not got yet.
#[derive(Debug, Clone)]
pub struct ControlToSend {
    pub subscriber: SubscriberName,
    pub control: Control,
}

#[derive(FromQueryResult)]
struct SettingsRow {
    subscriber: String,
    version: i64,
    settings: String,
}

impl Records {
    /// A site lives: where, under which key, with which open jobs. Its silence ends. Sites that are not defined are ignored;
    /// a key that was recorded once is not replaced by another (trust on first use).
    /// The last presence of a run says only that.
    pub async fn presence(&self, presence: &Presence) -> Result<bool, RecordsError> {
        // Before the row says that this run is known: what fails half-way is done again by the next presence.
        self.site_side(presence).await?;
        if presence.stopping {
            return Ok(true);
        }
        let text = "INSERT INTO tide_sites (subscriber, public_key, url, program_version, settings_version, first_presence_ms,
                presence_ms, open_jobs, run)
            SELECT name, $2, $3, $4, $5, {now_ms}, {now_ms}, $6, $7 FROM tide_objects WHERE kind = 'subscriber' AND name = $1
            ON CONFLICT (subscriber) DO UPDATE SET url = excluded.url, program_version = excluded.program_version,
                settings_version = excluded.settings_version, open_jobs = excluded.open_jobs, silent_since_ms = NULL,
                run = COALESCE(excluded.run, tide_sites.run),
                first_presence_ms = COALESCE(tide_sites.first_presence_ms, excluded.first_presence_ms),
                presence_before_ms = tide_sites.presence_ms, presence_ms = excluded.presence_ms,
                public_key = COALESCE(tide_sites.public_key, excluded.public_key)";
        let values: Vec<Value> = vec![
            presence.subscriber.to_string().into(),
            presence.public_key.clone().into(),
            presence.url.clone().into(),
            presence.version.clone().into(),
            (presence.settings_version as i64).into(),
            serde_json::to_string(&presence.open_jobs)?.into(),
            presence.run.map(|run| run.to_string()).into(),
        ];
        let known = sql::exec(self.writer(), text, values).await? > 0;
        if presence.settings_version == 0 {
            self.tell_again(&presence.subscriber).await?;
        }
        Ok(known)
    }

    /// A site without settings has just been set up, or has lost its working directory: whatever it was told is void. Its first
    /// presence may also have crossed with the settings: then they come twice, and change nothing.
    async fn tell_again(&self, site: &SubscriberName) -> Result<(), RecordsError> {
        let name = || vec![Value::from(site.to_string())];
        sql::exec(self.writer(), "UPDATE tide_settings SET sent_version = 0 WHERE subscriber = $1", name()).await?;
        sql::exec(self.writer(), "UPDATE tide_sites SET children_sent = '' WHERE subscriber = $1", name()).await?;
        Ok(())
    }

    /// The last progress of jobs; a builder's also renews their leases.
    pub async fn progress(&self, worker: &str, jobs: &[JobProgress]) -> Result<(), RecordsError> {
        let mut rows: Vec<Vec<Value>> = Vec::with_capacity(jobs.len());
        for job in jobs {
            rows.push(vec![
                job.job.to_string().into(),
                (job.attempt as i32).into(),
                serde_json::to_string(job)?.into(),
                worker.to_owned().into(),
            ]);
        }
        let rest = "UPDATE tide_jobs SET progress = v.progress, progress_ms = {now_ms}, worker = COALESCE(tide_jobs.worker, v.worker),
                lease_until_ms = CASE WHEN tide_jobs.kind IN ('build', 'collect') AND tide_jobs.state = 'running' THEN {now_ms} + 30000
                    ELSE tide_jobs.lease_until_ms END
            FROM v WHERE tide_jobs.id = v.id AND tide_jobs.attempt = v.attempt AND tide_jobs.state IN ('queued', 'running')";
        sql::with_rows(self.writer(), &["id", "attempt", "progress", "worker"], &rows, rest).await?;
        Ok(())
    }

    pub async fn sites(&self) -> Result<BTreeMap<String, SiteRow>, RecordsError> {
        let text = "SELECT subscriber, public_key, url, settings_version, silent_since_ms, children_version, children_sent FROM tide_sites";
        let rows: Vec<SiteRow> = sql::rows(self.reader(), text, vec![]).await?;
        Ok(rows.into_iter().map(|r| (r.subscriber.clone(), r)).collect())
    }

    /// Settings that were not sent yet in this version.
    pub async fn settings_to_send(&self) -> Result<Vec<ControlToSend>, RecordsError> {
        let text = format!(
            "SELECT subscriber, version, settings FROM tide_settings WHERE version > sent_version ORDER BY subscriber LIMIT {STEP_MAX}"
        );
        let rows: Vec<SettingsRow> = sql::rows(self.reader(), &text, vec![]).await?;
        rows.into_iter()
            .map(|row| {
                debug_assert!(row.version > 0);
                let settings: Settings = serde_json::from_str(&row.settings)?;
                Ok(ControlToSend { subscriber: site(&row.subscriber)?, control: Control::Settings(settings) })
            })
            .collect()
    }

    /// Children's keys of the parents for which they changed. `children` says who may fetch from whom. Each goes under a number of its
    /// own, taken under this term: what an earlier leader sends late never replaces it at the site.
    pub async fn children_to_send(
        &self,
        term: &Term,
        children: &BTreeMap<SubscriberName, Vec<SubscriberName>>,
    ) -> Result<Vec<ControlToSend>, RecordsError> {
        let sites = self.sites().await?;
        let mut changed = Vec::new();
        for (parent, names) in children {
            let keys: Vec<ChildKey> = names
                .iter()
                .filter_map(|child| {
                    let public_key = sites.get(child.as_str())?.public_key.clone()?;
                    Some(ChildKey { subscriber: child.clone(), public_key })
                })
                .collect();
            let Some(row) = sites.get(parent.as_str()) else { continue };
            if row.children_sent != serde_json::to_string(&keys)? && !(keys.is_empty() && row.children_sent.is_empty())
            {
                changed.push((parent.clone(), keys));
            }
            if changed.len() == STEP_MAX {
                break;
            }
        }
        self.numbered(term, changed).await
    }

    async fn numbered(
        &self,
        term: &Term,
        changed: Vec<(SubscriberName, Vec<ChildKey>)>,
    ) -> Result<Vec<ControlToSend>, RecordsError> {
        let mut out = Vec::with_capacity(changed.len());
        if changed.is_empty() {
            return Ok(out);
        }
        let tx = self.fenced(term).await?;
        let text = "UPDATE tide_sites SET children_version = children_version + 1 WHERE subscriber = $1 RETURNING children_version";
        for (subscriber, children) in changed {
            let version = sql::number(&tx, text, vec![subscriber.to_string().into()]).await?.unwrap_or(0) as u64;
            out.push(ControlToSend { subscriber, control: Control::Children { version, children } });
        }
        tx.commit().await?;
        Ok(out)
    }

    /// The broker confirmed these control messages.
    pub async fn controls_sent(&self, term: &Term, sent: &[ControlToSend]) -> Result<(), RecordsError> {
        let tx = self.fenced(term).await?;
        for ControlToSend { subscriber, control } in sent {
            let name = Value::from(subscriber.to_string());
            match control {
                Control::Settings(settings) => {
                    let text = "UPDATE tide_settings SET sent_version = $2 WHERE subscriber = $1 AND sent_version < $2";
                    sql::exec(&tx, text, vec![name, (settings.version as i64).into()]).await?;
                }
                Control::Children { version, children } => {
                    let text =
                        "UPDATE tide_sites SET children_sent = $3 WHERE subscriber = $1 AND children_version = $2";
                    let keys = serde_json::to_string(children)?;
                    sql::exec(&tx, text, vec![name, (*version as i64).into(), keys.into()]).await?;
                }
                Control::Forget { stores } => forgets::told(&tx, &name, stores).await?,
                Control::Cancel { .. } | Control::Pause { .. } | Control::Resume { .. } => {}
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// The in-process queue lost what it held: it is sent again.
    pub async fn resend_controls(&self) -> Result<(), RecordsError> {
        sql::exec(self.writer(), "UPDATE tide_settings SET sent_version = 0", vec![]).await?;
        sql::exec(self.writer(), "UPDATE tide_sites SET children_sent = ''", vec![]).await?;
        forgets::again(self.writer()).await
    }

    /// Reports up to this instant are recorded: silence is judged no later. A recorder that was away says so by a gap.
    pub async fn heard(&self, through_ms: Option<i64>, gap_ms: i64) -> Result<(), RecordsError> {
        let text = "UPDATE tide_meta SET number = {now_ms} WHERE name = 'listening_since_ms' AND
            (SELECT number FROM tide_meta WHERE name = 'heard_ms') < {now_ms} - $1";
        sql::exec(self.writer(), text, vec![gap_ms.into()]).await?;
        sql::exec(self.writer(), "UPDATE tide_meta SET number = {now_ms} WHERE name = 'heard_ms'", vec![]).await?;
        let text = "UPDATE tide_meta SET number = COALESCE($1, {now_ms}) WHERE name = 'reports_through_ms'";
        sql::exec(self.writer(), text, vec![through_ms.into()]).await?;
        Ok(())
    }
}

pub(crate) fn site(name: &str) -> Result<SubscriberName, RecordsError> {
    SubscriberName::try_from(name).map_err(|e| RecordsError::Corrupt(e.to_string()))
}

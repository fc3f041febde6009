//! Whatever a leader does when its term is over changes no row of any table, and the same changes rows under the current term.

use std::time::Duration;

use domain::retention::Rule;
use records::{CollectTimes, OwnEvent, RecordsError, Retirement, Term, Thresholds};
use schemas::Control;

use super::{FLEET, Scene, build, presence, send, started, store};

/// Everything that a leader does, one after the other.
const ACTS: [&str; 11] = [
    "tick",
    "settle",
    "startup",
    "extracted",
    "fire",
    "sweep",
    "windows",
    "retire",
    "collection",
    "control",
    "children",
];

/// Longer than it takes to read all rows of all tables again and again where disks are slow.
const LEASE_MS: i64 = 600_000;

impl Scene {
    /// All rows of all tables, as text.
    async fn rows(&self) -> Vec<String> {
        let list = if self.records.is_postgres() {
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1"
        } else {
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1"
        };
        let tables = self.records.query(list).await.unwrap().rows;
        let tables: Vec<&str> =
            tables.iter().filter_map(|row| row[0].as_str()).filter(|name| name.starts_with("tide_")).collect();
        if self.records.is_postgres() {
            return self.rows_at_once(&tables).await;
        }
        let mut all = Vec::new();
        for table in tables {
            let rows = self.records.query(&format!("SELECT * FROM {table}")).await.unwrap().rows;
            let mut rows: Vec<String> =
                rows.iter().map(|row| format!("{table} {}", serde_json::to_string(row).unwrap())).collect();
            rows.sort();
            all.extend(rows);
        }
        all
    }

    /// In one query: a lease does not wait for one that takes its time for each table.
    async fn rows_at_once(&self, tables: &[&str]) -> Vec<String> {
        let each: Vec<String> =
            tables.iter().map(|t| format!("SELECT '{t} ' || CAST(x.* AS TEXT) AS r FROM {t} x")).collect();
        let all = self.records.query(&format!("{} ORDER BY 1", each.join(" UNION ALL "))).await.unwrap();
        all.rows.iter().map(|row| row[0].as_str().unwrap().to_owned()).collect()
    }

    async fn act(&self, act: &str, term: &Term) -> Result<(), RecordsError> {
        let records = &self.records;
        let rule = Retirement {
            distribution: "antivirus".try_into().unwrap(),
            store: store(),
            rule: Rule { revisions_max: 1, age_max_ms: None },
        };
        let times = CollectTimes::of_grace(Duration::from_secs(60));
        match act {
            // What is due by time, and later what an event and an extraction have made due.
            "tick" | "fire" => records.tick(term).await.map(drop),
            "startup" => records.control_side(term, OwnEvent::Startup).await.map(drop),
            "extracted" => records.find_extracted(term).await.map(drop),
            "settle" => records.settle_zone_data(term).await.map(drop),
            "sweep" => records.sweep(term, &Thresholds::default()).await.map(drop),
            "windows" => records.close_windows(term).await.map(drop),
            "retire" => records.retire(Some(term), &[rule], &times).await.map(drop),
            "collection" => {
                let fleet = records.fleet_in_effect().await?;
                records.ask_collection(term, &fleet, 1_000).await.map(drop)
            }
            "control" => {
                let owed = records.settings_to_send().await?;
                records.controls_sent(term, &owed[..1]).await
            }
            _ => {
                let children = [("region".try_into().unwrap(), vec!["paris".try_into().unwrap()])].into();
                let owed = records.children_to_send(term, &children).await?;
                records.controls_sent(term, &owed[..1]).await
            }
        }
    }

    /// There is something to do for each of the acts.
    async fn work_for_a_leader(&self) {
        self.apply(
            &FLEET
                .replace("send: immediately", "send: { daily: all, window: '00:00-24:00', repeat_every: 1h }")
                .replace("build: { every: 1h }", "build: { event: startup }")
                .replace(
                    "lyon: { parent: region, variables: { DEST: /srv }, extract: immediately",
                    "lyon: { parent: region, variables: { DEST: /srv }, extract: { after: paris }",
                ),
        )
        .await;
        for number in 1..=3 {
            self.revision("antivirus", number).await;
        }
        for subscriber in ["region", "paris"] {
            self.records.presence(&presence(subscriber)).await.unwrap();
        }
        // A build that nobody renews, sends of which one waits past its window, a request without jobs.
        let lost = build("patches");
        self.plan(std::slice::from_ref(&lost)).await;
        self.report(&[started(&lost)]).await;
        let mut waiting = send("paris", "antivirus", 2);
        waiting.distribution = "patches".try_into().unwrap();
        self.plan(&[send("paris", "antivirus", 3), send("paris", "antivirus", 2), waiting]).await;
        self.records.heard(None, 10_000).await.unwrap();
        for text in [
            "UPDATE tide_schedules SET next_due_ms = 1, through_ms = 0, anchor_ms = 0 WHERE name = 'build/antivirus'",
            "UPDATE tide_meta SET number = 202501 WHERE name = 'zone_data'",
            "UPDATE tide_meta SET number = number - 3600000 WHERE name = 'listening_since_ms'",
            "UPDATE tide_jobs SET lease_until_ms = 1 WHERE state = 'running'",
            "UPDATE tide_sites SET presence_ms = 1, presence_before_ms = 1",
            "UPDATE tide_jobs SET claimed_until_ms = 1, published_ms = NULL WHERE state = 'queued'",
            "UPDATE tide_requests SET window_end_ms = 1 WHERE state = 'open'",
            "INSERT INTO tide_holdings (subscriber, distribution, extracted_revision, extracted_ms) VALUES ('paris', 'antivirus', 3, 1)",
            "INSERT INTO tide_kept (subscriber, distribution, revision, as_of_ms) VALUES ('lyon', 'antivirus', 3, 1)",
            "INSERT INTO tide_requests (id, kind, body, digest, origin, state, created_ms) VALUES ('forgotten', 'send', '{}', '', 'test', 'open', 1)",
        ] {
            self.force(text).await;
        }
    }
}

pub async fn a_leader_whose_term_is_over_changes_no_row(scene: &Scene) {
    scene.work_for_a_leader().await;
    let stale = scene.records.lead("scheduler", "paused", 60_000).await.unwrap().unwrap();
    scene.force("UPDATE tide_leases SET until_ms = 1").await;
    let ended = scene.rows().await;
    for act in ACTS {
        // Its lease has run out, and nobody has taken over yet.
        assert!(matches!(scene.act(act, &stale).await, Err(RecordsError::Fenced)), "{act}");
        assert_eq!(scene.rows().await, ended, "{act}");
    }
    let current = scene.records.lead("scheduler", "tester", LEASE_MS).await.unwrap().unwrap();
    let before = scene.rows().await;
    for act in ACTS {
        assert!(matches!(scene.act(act, &stale).await, Err(RecordsError::Fenced)), "{act}");
        scene.records.resign(&stale).await.unwrap();
        assert_eq!(scene.rows().await, before, "{act}");
    }
    let mut before = before;
    for act in ACTS {
        scene.act(act, &current).await.unwrap_or_else(|error| panic!("{act}: {error}"));
        let after = scene.rows().await;
        assert_ne!(after, before, "{act} under the current term");
        before = after;
    }
}

/// A child's key reaches its parent under a number that no earlier leader can take.
pub async fn what_an_earlier_leader_sends_late_is_older(scene: &Scene) {
    scene.work_for_a_leader().await;
    let children = [("region".try_into().unwrap(), vec!["paris".try_into().unwrap()])].into();
    let number = |owed: Vec<records::ControlToSend>| match &owed[0].control {
        Control::Children { version, .. } => *version,
        other => panic!("{other:?}"),
    };
    let earlier = scene.records.lead("scheduler", "paused", 60_000).await.unwrap().unwrap();
    let late = number(scene.records.children_to_send(&earlier, &children).await.unwrap());
    scene.force("UPDATE tide_leases SET until_ms = 1").await;
    let current = scene.term().await;
    let owed = scene.records.children_to_send(&current, &children).await.unwrap();
    scene.records.controls_sent(&current, &owed[..1]).await.unwrap();
    assert!(number(owed) > late);
    assert!(scene.records.children_to_send(&current, &children).await.unwrap().is_empty(), "it is told");
}

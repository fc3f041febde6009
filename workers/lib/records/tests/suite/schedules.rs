use domain::schedule::{Schedule, Setting};

use super::{FLEET, Scene, send, succeeded};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

impl Scene {
    /// As if so much time had passed without anybody looking at the schedule; and a millisecond, so that no instant is the same again.
    async fn unattended(&self, schedule: &str, ms: i64) {
        let ms = ms + 1;
        self.force(&format!(
            "UPDATE tide_schedules SET anchor_ms = anchor_ms - {ms}, through_ms = through_ms - {ms}, next_due_ms = next_due_ms - {ms}
            WHERE name = '{schedule}'"
        ))
        .await;
        self.force(&format!(
            "UPDATE tide_occurrences SET nominal_ms = nominal_ms - {ms} WHERE schedule = '{schedule}'"
        ))
        .await;
    }

    async fn tick(&self) -> Vec<records::Fired> {
        let term = self.term().await;
        self.records.tick(&term).await.unwrap()
    }

    /// Ticks until nothing is due; what was fired, in order.
    async fn ticks(&self) -> Vec<records::Fired> {
        let mut all = Vec::new();
        let due = "SELECT COUNT(*) FROM schedules WHERE overdue_ms > 0";
        while self.number(due).await > 0 {
            let fired = self.tick().await;
            for fired in &fired {
                self.done(fired).await;
            }
            all.extend(fired);
        }
        all
    }

    /// Its request has nothing to do.
    async fn done(&self, fired: &records::Fired) {
        self.records.planned(fired.request, None).await.unwrap();
    }
}

/// FLEET with another build schedule for `antivirus`.
fn built(rule: &str) -> String {
    FLEET.replacen("build: { every: 10m }", &format!("build: {rule}"), 1)
}

pub async fn an_occurrence_fires_once(scene: &Scene) {
    scene.apply(FLEET).await;
    let term = scene.term().await;
    assert!(scene.records.tick(&term).await.unwrap().is_empty(), "nothing is due yet");
    scene.unattended("build/antivirus", 600_000).await;
    let (a, b) = (scene.records.clone(), scene.records.clone());
    let (first, second) = tokio::join!(a.tick(&term), b.tick(&term));
    let fired: Vec<_> = first.unwrap().into_iter().chain(second.unwrap()).collect();
    assert_eq!(fired.len(), 1, "{fired:?}");
    assert_eq!(fired[0].schedule, "build/antivirus");
    let asked = "SELECT COUNT(*) FROM requests WHERE origin = 'schedule' AND kind = 'build'";
    assert_eq!(scene.number(asked).await, 1);
    assert!(scene.records.tick(&term).await.unwrap().is_empty());
    // Even if somebody wound the row back: the occurrence is there.
    scene
        .force(
            "UPDATE tide_schedules SET through_ms = anchor_ms, next_due_ms = anchor_ms WHERE name = 'build/antivirus'",
        )
        .await;
    assert!(scene.records.tick(&term).await.unwrap().is_empty());
    assert_eq!(scene.number(asked).await, 1);
}

pub async fn missed_occurrences_fire_once_under_the_latest_instant(scene: &Scene) {
    scene.apply(FLEET).await;
    let term = scene.term().await;
    scene.unattended("build/antivirus", 2 * HOUR_MS).await;
    let fired = scene.records.tick(&term).await.unwrap();
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0].missed, 11, "every ten minutes for two hours");
    assert!(scene.number("SELECT late_ms FROM occurrences").await < 600_000);
    let next = scene.number("SELECT next_due_ms FROM tide_schedules WHERE name = 'build/antivirus'").await;
    assert!(next > scene.records.now_ms().await.unwrap());
    let alert = "SELECT occurrences FROM alerts WHERE code = 'occurrence-missed' AND schedule = 'build/antivirus'";
    assert_eq!(scene.number(alert).await, 11);
}

pub async fn every_kind_that_time_makes_due_is_fired_and_planned_again(scene: &Scene) {
    for rule in [
        "{ every: 10m }",
        "{ every: 3d }",
        "{ every: 2h, window: '20:00-05:00' }",
        "{ daily: all, at: '03:00' }",
        "{ daily: [mon, thu], window: '20:00-05:00', repeat_every: 5m }",
        "{ weekly: sun, window: '00:00-24:00', random_start: true }",
        "{ monthly: second tuesday, delay_days: 4, at: '02:00' }",
        "{ monthly: last, at: '02:00' }",
        "{ yearly: '02-29', at: '02:00', time_zone: Asia/Tokyo }",
        "{ cron: '30 2 * * 1-5', dialect: croner }",
        "{ cron: '0 30 2 * * Mon-Fri', dialect: cron }",
    ] {
        scene.apply(&built(rule)).await;
        let row = scene.records.schedule("build/antivirus").await.unwrap().unwrap();
        assert_eq!(row.zone, "Europe/Paris", "the distributor's");
        // Left alone for two years, and found right after one of its starts.
        let through = row.anchor_ms - 800 * DAY_MS;
        let declared: schemas::Schedule = serde_json::from_str(&row.spec).unwrap();
        let setting = Setting { zone: &row.zone, anchor_ms: through, seed: &row.name };
        let rule_read = Schedule::read(&declared, setting).unwrap();
        let now = scene.records.now_ms().await.unwrap();
        let latest = rule_read.latest(through, now).unwrap_or_else(|| panic!("{rule} names nothing in 800 days"));
        scene.force(&format!("UPDATE tide_schedules SET anchor_ms = {through}, through_ms = {}, next_due_ms = {} WHERE name = 'build/antivirus'", latest.start_ms - 1, latest.start_ms)).await;
        let fired = scene.ticks().await;
        let is_open = rule_read.is_open(now);
        assert_eq!(
            fired.iter().map(|f| f.nominal_ms).collect::<Vec<_>>(),
            if is_open { vec![latest.nominal_ms] } else { vec![] },
            "{rule}"
        );
        let next = scene.number("SELECT next_due_ms FROM tide_schedules WHERE name = 'build/antivirus'").await;
        let expected = rule_read.next(now).unwrap().start_ms;
        let expected = if is_open { expected } else { rule_read.next_opening(now).unwrap().min(expected) };
        assert!(
            next == expected || rule_read.next(now + 60_000).unwrap().start_ms == next,
            "{rule}: {next}, not {expected}"
        );
        scene.force("DELETE FROM tide_occurrences").await;
    }
}

pub async fn what_is_not_timed_is_never_due(scene: &Scene) {
    scene.apply(&built("never")).await;
    let due = "SELECT COUNT(*) FROM schedules WHERE next_due IS NOT NULL";
    assert_eq!(scene.number(due).await, 1, "only `patches` has a timed one");
    let all = "SELECT COUNT(*) FROM schedules WHERE schedule IN ('build/antivirus', 'send/protect', 'refresh/hq', 'extract/paris')";
    assert_eq!(scene.number(all).await, 4, "they can be run by hand");
}

pub async fn without_catch_up_the_missed_are_told_and_nothing_starts(scene: &Scene) {
    scene.apply(&built("{ every: 10m, catch_up: none }")).await;
    scene.unattended("build/antivirus", 2 * HOUR_MS + 300_000).await;
    assert!(scene.ticks().await.is_empty());
    assert_eq!(scene.number("SELECT occurrences FROM alerts").await, 12);
    assert_eq!(scene.number("SELECT COUNT(*) FROM occurrences").await, 0);
    // The next one is on time.
    scene.unattended("build/antivirus", 300_000).await;
    assert_eq!(scene.ticks().await.len(), 1);
}

pub async fn all_the_missed_start_one_after_the_other(scene: &Scene) {
    scene.apply(&built("{ every: 1h, catch_up: all }")).await;
    scene.unattended("build/antivirus", 3 * HOUR_MS + HOUR_MS / 2).await;
    let first = scene.tick().await;
    assert_eq!(first.len(), 1);
    assert!(scene.tick().await.is_empty(), "the first is at work");
    scene.done(&first[0]).await;
    scene.force("UPDATE tide_schedules SET next_due_ms = 0 WHERE name = 'build/antivirus'").await;
    let rest = scene.ticks().await;
    let nominal: Vec<i64> = first.iter().chain(&rest).map(|fired| fired.nominal_ms).collect();
    assert_eq!(nominal.len(), 3, "{nominal:?}");
    assert!(nominal.windows(2).all(|pair| pair[1] - pair[0] == HOUR_MS), "{nominal:?}");
    assert_eq!(scene.number("SELECT COUNT(*) FROM alerts").await, 0, "none was missed in the end");
}

pub async fn one_occurrence_waits_behind_the_work_and_the_next_joins_it(scene: &Scene) {
    scene.apply(FLEET).await;
    let mut outcomes = Vec::new();
    for n in 0..4 {
        scene.unattended("build/antivirus", 600_000).await;
        let fired = scene.tick().await;
        outcomes.push(fired.len());
        if let (0 | 1, Some(fired)) = (n, fired.first()) {
            // Planned, and its build not done.
            let job = super::build("antivirus");
            scene.insert(fired.request, std::slice::from_ref(&job)).await;
            scene.records.planned(fired.request, None).await.unwrap();
        }
    }
    assert_eq!(outcomes, [1, 1, 0, 0], "one at work, one waiting");
    let joined = "SELECT COUNT(*) FROM occurrences WHERE outcome = 'joined' AND state = 'open'";
    assert_eq!(scene.number(joined).await, 2);
    assert_eq!(scene.number("SELECT COUNT(*) FROM alerts").await, 0, "their work is done by the one that waits");
}

pub async fn an_occurrence_is_skipped_while_the_work_runs_if_so_declared(scene: &Scene) {
    scene.apply(&built("{ every: 10m, overlap: skip }")).await;
    scene.unattended("build/antivirus", 600_000).await;
    let first = scene.tick().await.remove(0);
    scene.unattended("build/antivirus", 600_000).await;
    assert!(scene.tick().await.is_empty());
    assert_eq!(scene.text("SELECT outcome FROM occurrences ORDER BY nominal DESC LIMIT 1").await, "skipped");
    assert_eq!(scene.number("SELECT COUNT(*) FROM alerts WHERE code = 'occurrence-skipped'").await, 1);
    scene.done(&first).await;
    scene.unattended("build/antivirus", 600_000).await;
    assert_eq!(scene.tick().await.len(), 1);
}

pub async fn a_dead_site_delays_nobody(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    for (overlap, others_only) in [("queue", false), ("skip", true)] {
        scene.apply(&FLEET.replace("send: immediately", &format!("send: {{ every: 1h, overlap: {overlap} }}"))).await;
        scene.force("DELETE FROM tide_occurrences").await;
        scene.unattended("send/protect", HOUR_MS).await;
        let first = scene.tick().await.remove(0);
        let (paris, lyon) = (send("paris", "antivirus", 1), send("lyon", "antivirus", 1));
        scene.insert(first.request, &[paris.clone(), lyon.clone()]).await;
        scene.records.planned(first.request, None).await.unwrap();
        // Paris never answers.
        scene.report(&[succeeded(&lyon, super::sent())]).await;
        scene.unattended("send/protect", HOUR_MS).await;
        let second = scene.tick().await;
        assert_eq!(second.len(), 1, "{overlap}");
        let body = scene.text(&format!("SELECT body FROM requests WHERE id = '{}'", second[0].request)).await;
        let asked: schemas::Request = serde_json::from_str(&body).unwrap();
        let only: Vec<_> = asked.selector.subscribers.iter().map(|name| name.as_str()).collect();
        assert_eq!(only, if others_only { vec!["lyon"] } else { vec![] }, "{overlap}");
        // A third one finds the second unplanned, and need not ask again.
        scene.unattended("send/protect", HOUR_MS).await;
        assert!(scene.tick().await.is_empty(), "{overlap}");
        scene.force("UPDATE tide_jobs SET state = 'succeeded'").await;
        scene.force("UPDATE tide_requests SET state = 'succeeded'").await;
    }
}

pub async fn a_stale_leader_fires_nothing(scene: &Scene) {
    scene.apply(FLEET).await;
    let stale = scene.records.lead("scheduler", "paused", 60_000).await.unwrap().unwrap();
    scene.force("UPDATE tide_leases SET until_ms = 1").await;
    let current = scene.term().await;
    scene.unattended("build/antivirus", 600_000).await;
    assert!(matches!(scene.records.tick(&stale).await, Err(records::RecordsError::Fenced)));
    assert!(matches!(scene.records.settle_zone_data(&stale).await, Err(records::RecordsError::Fenced)));
    assert_eq!(scene.number("SELECT COUNT(*) FROM occurrences").await, 0);
    assert_eq!(scene.records.tick(&current).await.unwrap().len(), 1);
}

pub async fn once_in_the_past_is_refused_and_once_that_ran_is_kept(scene: &Scene) {
    let refused = scene.try_apply(&built("{ once: '2020-01-01 00:00' }")).await.unwrap_err();
    assert_eq!(refused.code(), "schedule-in-past");
    assert!(refused.to_string().contains("build/antivirus"), "{refused}");
    assert_eq!(scene.number("SELECT COUNT(*) FROM schedules").await, 0, "nothing was applied");
    scene.apply(&built("{ once: '2190-01-01 00:00' }")).await;
    scene.force("UPDATE tide_schedules SET spec = REPLACE(spec, '2190', '2020'), through_ms = 0, anchor_ms = 0, next_due_ms = 1 WHERE name = 'build/antivirus'").await;
    assert_eq!(scene.tick().await.len(), 1);
    assert_eq!(scene.text("SELECT next_due FROM schedules WHERE schedule = 'build/antivirus'").await, "null", "once");
    scene.apply(&built("{ once: '2020-01-01 00:00' }").replace("patches", "updates")).await;
}

pub async fn a_rule_that_cannot_be_read_holds_up_no_other(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.unattended("build/antivirus", 600_000).await;
    scene.unattended("build/patches", HOUR_MS).await;
    scene
        .force(
            "UPDATE tide_schedules SET spec = '{\"tidal\":\"high\"}', next_due_ms = 0 WHERE name = 'build/antivirus'",
        )
        .await;
    let fired = scene.tick().await;
    assert_eq!(fired.iter().map(|f| f.schedule.as_str()).collect::<Vec<_>>(), ["build/patches"]);
    assert_eq!(scene.text("SELECT schedule FROM alerts WHERE code = 'schedule-unreadable'").await, "build/antivirus");
    assert!(scene.tick().await.is_empty(), "it is due no more");
    scene.apply(&built("{ every: 20m }")).await;
    assert!(scene.number("SELECT next_due_ms FROM tide_schedules WHERE name = 'build/antivirus'").await > 0);
}

pub async fn an_unchanged_schedule_keeps_its_place_and_a_changed_one_counts_from_now(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.force("UPDATE tide_schedules SET anchor_ms = anchor_ms - 1000, next_due_ms = next_due_ms - 1000").await;
    let due = |name: &str| format!("SELECT next_due_ms FROM tide_schedules WHERE name = 'build/{name}'");
    let (antivirus, patches) = (scene.number(&due("antivirus")).await, scene.number(&due("patches")).await);
    scene.apply(&built("{ every: 20m }")).await;
    assert_eq!(scene.number(&due("patches")).await, patches);
    assert!(scene.number(&due("antivirus")).await >= antivirus + 600_000);
    let zone = "SELECT COUNT(*) FROM schedules WHERE zone = 'Asia/Tokyo'";
    assert_eq!(scene.number(zone).await, 0);
    scene.apply(&FLEET.replace("Europe/Paris", "Asia/Tokyo")).await;
    assert_eq!(scene.number(zone).await, 4, "its own, its two builds', and its channel's");
}

pub async fn a_renamed_objects_schedule_goes_on_under_its_new_name(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.unattended("build/antivirus", 600_000).await;
    scene.ticks().await;
    let last = scene.text("SELECT last_nominal FROM schedules WHERE schedule = 'build/antivirus'").await;
    let renamed = FLEET
        .replace("  antivirus: {", "  virus-protect: { renamed_from: antivirus,")
        .replace("[antivirus, patches]", "[virus-protect, patches]");
    scene.apply(&renamed).await;
    assert_eq!(scene.text("SELECT last_nominal FROM schedules WHERE schedule = 'build/virus-protect'").await, last);
    assert_eq!(
        scene.text("SELECT object FROM schedules WHERE schedule = 'build/virus-protect'").await,
        "virus-protect"
    );
    assert_eq!(scene.number("SELECT COUNT(*) FROM occurrences WHERE schedule = 'build/virus-protect'").await, 1);
    assert_eq!(scene.number("SELECT COUNT(*) FROM schedules WHERE object = 'antivirus'").await, 0);
}

pub async fn other_time_zone_data_compute_next_due_again(scene: &Scene) {
    scene.apply(&built("{ daily: all, at: '03:00' }")).await;
    let term = scene.term().await;
    assert_eq!(scene.records.settle_zone_data(&term).await.unwrap(), 2, "a new database knows no version");
    assert_eq!(scene.records.settle_zone_data(&term).await.unwrap(), 0);
    let due = "SELECT next_due_ms FROM tide_schedules WHERE name = 'build/antivirus'";
    let expected = scene.number(due).await;
    // What an older version of the data had computed.
    scene.force("UPDATE tide_schedules SET next_due_ms = next_due_ms + 3600000 WHERE name = 'build/antivirus'").await;
    scene.force("UPDATE tide_meta SET number = 202501 WHERE name = 'zone_data'").await;
    assert_eq!(scene.records.settle_zone_data(&term).await.unwrap(), 2);
    assert_eq!(scene.number(due).await, expected);
}

/// 100,000 schedules, two of them due: found by the index, within ten milliseconds.
pub async fn a_tick_reads_what_is_due_by_its_index(scene: &Scene) {
    scene.apply(FLEET).await;
    let now = if scene.records.is_postgres() {
        "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
    } else {
        "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
    };
    let find = format!(
        "SELECT name FROM tide_schedules WHERE next_due_ms IS NOT NULL AND next_due_ms <= (SELECT {now}) ORDER BY next_due_ms LIMIT 500"
    );
    scene
        .force(
            "INSERT INTO tide_schedules (name, verb, object, spec, anchor_ms, next_due_ms)
            WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100000)
            SELECT 'build/x' || x, 'build', 'x' || x, '\"never\"', 0, 9000000000000 + x FROM n",
        )
        .await;
    scene.force("ANALYZE tide_schedules").await;
    let explain = if scene.records.is_postgres() { "EXPLAIN" } else { "EXPLAIN QUERY PLAN" };
    let plan = scene.records.query(&format!("{explain} {find}")).await.unwrap();
    let told = serde_json::to_string(&plan.rows).unwrap();
    assert!(told.contains("tide_schedules_due"), "{told}");
    let term = scene.term().await;
    let mut took = Vec::new();
    for _ in 0..50 {
        let begun = std::time::Instant::now();
        assert!(scene.records.tick(&term).await.unwrap().is_empty());
        took.push(begun.elapsed());
    }
    scene.unattended("build/antivirus", 600_000).await;
    scene.unattended("build/patches", HOUR_MS).await;
    assert_eq!(scene.records.tick(&term).await.unwrap().len(), 2);
    // The quickest: other work on the machine is not its cost.
    let quickest = took.iter().min().unwrap();
    assert!(quickest.as_millis() < 10, "{took:?}");
}

/// Leaders that were paused past their leases wake and tick beside the current one, again and again.
pub async fn leaders_in_turn_and_at_once_fire_each_occurrence_once(scene: &Scene) {
    const ROUNDS: u64 = 60;
    scene.apply(FLEET).await;
    let mut terms: Vec<Option<records::Term>> = vec![None, None, None];
    let mut number = 20_261_121u64;
    let mut fenced = 0;
    for round in 0..ROUNDS {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if number >> 63 == 1 {
            scene.force("UPDATE tide_leases SET until_ms = 1").await;
        }
        for step in 0..3 {
            let who = ((number >> 33) as usize + step) % 3;
            if let Some(term) = scene.records.lead("scheduler", &format!("s{who}"), 60_000).await.unwrap() {
                terms[who] = Some(term);
            }
        }
        scene.unattended("build/antivirus", 600_000).await;
        let ticks = terms.iter().flatten().map(|term| {
            let (records, term) = (scene.records.clone(), term.clone());
            tokio::spawn(async move { records.tick(&term).await })
        });
        let mut fired = Vec::new();
        for tick in ticks.collect::<Vec<_>>() {
            match tick.await.unwrap() {
                Ok(some) => fired.extend(some),
                Err(records::RecordsError::Fenced) => fenced += 1,
                Err(error) => panic!("round {round}: {error}"),
            }
        }
        assert_eq!(fired.len(), 1, "round {round}: {fired:?}");
        scene.done(&fired[0]).await;
    }
    assert!(fenced > 0, "{fenced} ticks of stale leaders");
    assert_eq!(scene.number("SELECT COUNT(*) FROM occurrences").await, ROUNDS as i64);
    assert_eq!(scene.number("SELECT COUNT(*) FROM requests WHERE origin = 'schedule'").await, ROUNDS as i64);
    assert_eq!(scene.number("SELECT COUNT(*) FROM alerts").await, 0);
}

/// A window of all day, so that it is open whenever the test runs; that it closed is forced.
pub async fn what_had_not_begun_when_its_window_closed_begins_no_more(scene: &Scene) {
    let windowed = "send: { daily: all, window: '00:00-24:00', repeat_every: 1h }";
    scene.apply(&FLEET.replace("send: immediately", windowed)).await;
    scene.revision("antivirus", 1).await;
    scene.revision("patches", 1).await;
    let now = scene.records.now_ms().await.unwrap();
    scene.force(&format!("UPDATE tide_schedules SET through_ms = {now} - 3600000, anchor_ms = 0, next_due_ms = 0 WHERE name = 'send/protect'")).await;
    let fired = scene.tick().await.remove(0);
    // Three in one lane: two are handed out, one waits. One of the waiting ones is somebody else's too.
    let jobs = [send("paris", "antivirus", 1), send("paris", "patches", 1), send("lyon", "antivirus", 1)];
    let mut waiting = send("paris", "patches", 1);
    waiting.revision = None;
    waiting.distribution = "antivirus".try_into().unwrap();
    scene.insert(fired.request, &[jobs.to_vec(), vec![waiting.clone()]].concat()).await;
    scene.records.planned(fired.request, None).await.unwrap();
    assert_eq!(scene.state(waiting.id).await, "waiting");
    let term = scene.term().await;
    assert!(scene.records.close_windows(&term).await.unwrap().cancelled.is_empty(), "it is open");
    let close =
        format!("UPDATE tide_requests SET window_end_ms = 1 WHERE id = '{}' AND window_end_ms > {now}", fired.request);
    scene.force(&close).await;
    let other = scene.request().await;
    scene
        .force(&format!("INSERT INTO tide_request_jobs (request_id, job_id) VALUES ('{other}', '{}')", waiting.id))
        .await;
    assert!(scene.records.close_windows(&term).await.unwrap().cancelled.is_empty(), "a person asked for it too");
    scene.force(&format!("DELETE FROM tide_request_jobs WHERE request_id = '{other}'")).await;
    assert_eq!(scene.records.close_windows(&term).await.unwrap().cancelled, [waiting.id]);
    let code = format!("SELECT error_code FROM jobs WHERE id = '{}'", waiting.id);
    assert_eq!(scene.text(&code).await, "window-closed");
    assert_eq!(scene.state(jobs[0].id).await, "queued", "what was handed out goes on");
}

pub async fn the_example_of_schedules_is_applied(scene: &Scene) {
    scene.apply(include_str!("../../../../../examples/schedules.yaml")).await;
    let timed = scene.number("SELECT COUNT(*) FROM schedules WHERE next_due IS NOT NULL").await;
    assert!(timed >= 10, "{timed}");
}

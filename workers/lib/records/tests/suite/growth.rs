//! What a leader asks again and again costs no more when the tables have grown: a hundred thousand jobs, requests and schedules that
//! are over or far off are not read.

use std::time::{Duration, Instant};

use super::{FLEET, Scene};

const ROWS: i64 = 100_000;
const TRIES: usize = 12;
/// Beyond what the same cost before, and half as much again: other work on the machine is not its cost.
const SLACK: Duration = Duration::from_millis(10);

impl Scene {
    async fn many(&self) {
        let n = format!("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {ROWS})");
        for text in [
            format!("INSERT INTO tide_requests (id, kind, body, digest, origin, state, created_ms, schedule, window_end_ms)
                {n} SELECT 'r' || x, 'send', '{{}}', '', 'test', 'succeeded', x, 'send/x' || (x % 1000), x FROM n"),
            format!("INSERT INTO tide_jobs (id, request_id, kind, lane, distributor, distribution, channel, subscriber, revision, priority, state,
                    attempts_max, task, created_ms, place, ended_ms, published_ms, seq_n, lease_until_ms)
                {n} SELECT 'j' || x, 'r' || x, CASE WHEN x % 4 = 0 THEN 'build' ELSE 'send' END, 'site/s' || (x % 1000) || '/c', 'hq', 'd' || (x % 50), 'c',
                    's' || (x % 1000), x / 1000, 2, 'succeeded', 3, '{{}}', x, 0, x, x, x, x FROM n"),
            format!("INSERT INTO tide_request_jobs (request_id, job_id) {n} SELECT 'r' || x, 'j' || x FROM n"),
            format!("INSERT INTO tide_job_waits (job_id, awaited_id, on_bad) {n} SELECT 'j' || x, 'j' || (x - 1), 'proceed' FROM n"),
            format!("INSERT INTO tide_occurrences (schedule, nominal_ms, fired_ms, term, request_id) {n} SELECT 'send/x' || (x % 1000), x, x, 1, 'r' || x FROM n"),
            format!("INSERT INTO tide_schedules (name, verb, object, spec, anchor_ms, next_due_ms)
                {n} SELECT 'build/x' || x, 'build', 'x' || x, '\"never\"', 0, 9000000000000 + x FROM n"),
            format!("INSERT INTO tide_due (schedule, awaits, cause, nominal_ms, due_ms)
                {n} SELECT 'build/x' || x, 'event/x', 'event/' || x, 9000000000000 + x, 9000000000000 + x FROM n"),
        ] {
            self.force(&text).await;
        }
        self.force("ANALYZE").await;
    }

    /// The quickest of several tries of each.
    async fn quickest(&self) -> Vec<(&'static str, Duration)> {
        let term = self.term().await;
        let mut best = Vec::new();
        for act in ["due", "tick", "sweep", "windows", "extracted", "requests", "unpublished"] {
            let mut quickest = Duration::MAX;
            for _ in 0..TRIES {
                let begun = Instant::now();
                match act {
                    "due" => drop(self.records.due_in_ms().await.unwrap()),
                    "tick" => drop(self.records.tick(&term).await.unwrap()),
                    "sweep" => drop(self.sweep().await),
                    "windows" => drop(self.records.close_windows(&term).await.unwrap()),
                    "extracted" => drop(self.records.find_extracted(&term).await.unwrap()),
                    "requests" => drop(self.records.claim_requests().await.unwrap()),
                    _ => drop(self.records.claim_unpublished().await.unwrap()),
                }
                quickest = quickest.min(begun.elapsed());
            }
            best.push((act, quickest));
        }
        best
    }
}

pub async fn what_a_leader_asks_again_and_again_does_not_read_what_is_over(scene: &Scene) {
    scene.apply(FLEET).await;
    let few = scene.quickest().await;
    scene.many().await;
    let many = scene.quickest().await;
    println!("{few:?}\n{many:?}");
    for ((act, few), (_, many)) in few.iter().zip(&many) {
        assert!(*many < *few * 3 / 2 + SLACK, "{act}: {many:?} beside {ROWS} rows of each table, {few:?} without");
    }
}

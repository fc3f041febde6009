//! Three schedulers on PostgreSQL, round after round: the leader is stopped past its lease and goes on, often in the middle of its
//! transaction, where a locked table holds it up until it stands still; it is killed and started again; followers too; and the clock of one is always an hour off. In the end
//! every instant that the schedules name, by the model of `domain`, happened once or is told as missed, and no leader wrote anything
//! after the next one had begun.
//!
//! TIDEGATE_ROUNDS says how many, TIDEGATE_SEED repeats a run's choices (when each process comes to its steps is not ours to say).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use domain::schedule::{Schedule, Setting};
use serde_json::Value;
use tests::other_clock::OtherClock;
use tests::wait::until;
use tests::{Chance, Fleet, Ground};

const ROUNDS: usize = 40;
/// What a leader writes to within a tick's transaction, when it has its lease's row.
const TICK_WRITES_TO: [&str; 2] = ["tide_requests", "tide_schedules"];
const SCHEDULERS: [&str; 3] = ["scheduler-1", "scheduler-2", "scheduler-3"];
/// Its clock is an hour ahead or behind, as chance has it at each start.
const WRONG: &str = "scheduler-3";
const HOUR_S: i64 = 3_600;
const LEASE: &str = "1s";
const LEASE_TIME: Duration = Duration::from_secs(1);
/// A takeover on a machine that does other things too; with what is left of a lease, a tick and a start it takes two seconds.
const TAKEOVER_TIME: Duration = Duration::from_secs(20);
/// A claim of a request that its planner died with runs out.
const PLANNED_TIME: Duration = Duration::from_secs(60);
const START: Duration = Duration::from_secs(60);
/// Until a leader comes to its transaction; something is due every second or so.
const CATCH_TIME: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

const FLEET: &str = "
distributors:
  hq: { time_zone: Europe/Paris, refresh: { every: 9s, catch_up: all } }
distributions:
  queued: { distributor: hq, type: file, sources: [ { path: /srv/a } ], target: /srv/ta, mode: mirror, build: { every: 5s } }
  skipped: { distributor: hq, type: file, sources: [ { path: /srv/b } ], target: /srv/tb, mode: mirror, build: { every: 7s, overlap: skip } }
channels:
  one: { distributions: [queued], send: { every: 6s, catch_up: all }, subscriptions: [all-1] }
  two: { distributions: [skipped], send: { every: 8s, catch_up: none }, subscriptions: [all-2] }
subscribers:
";

/// Extractions of what no site has are planned and over at once.
fn definitions() -> String {
    let mut text = FLEET.to_owned();
    for (catch_up, count) in [("all", 12), ("one", 6), ("none", 4)] {
        for n in 1..=count {
            text.push_str(&format!(
                "  {catch_up}-{n}: {{ extract: {{ every: {}s, catch_up: {catch_up} }} }}\n",
                5 + n % 4
            ));
        }
    }
    text
}

#[test]
fn rounds_of_stopped_and_killed_leaders_fire_every_occurrence_once() {
    let folder = tempfile::Builder::new().prefix("tidegate-rounds-").tempdir().unwrap();
    let Some(ground) = Ground::fresh() else { return };
    let seed = number("TIDEGATE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let rounds = number("TIDEGATE_ROUNDS").map_or(ROUNDS, |n| n as usize);
    println!("{rounds} rounds, TIDEGATE_SEED={seed}");
    let mut fleet = Fleet::new(folder.path(), ground);
    declare(&mut fleet);
    let mut run = Run {
        clock: OtherClock::build(folder.path()),
        fleet,
        chance: Chance::new(seed),
        takeovers: Vec::new(),
        hunted: 0,
        caught: 0,
        done: BTreeMap::new(),
    };
    run.start_all();
    let begun = Instant::now();
    for round in 1..=rounds {
        run.round(round);
    }
    run.tell(rounds, begun.elapsed());
    run.settle();
    run.stop_all();
    assert_each_happened_once(&run.fleet);
    assert_terms_follow_each_other(&run.fleet);
    assert_told_once_in_the_logs(&run);
    let (hunted, caught) = (run.hunted, run.caught);
    assert!(4 * caught >= hunted, "only {caught} of {hunted} leaders were stopped within a transaction");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// The API is needed for this only.
fn declare(fleet: &mut Fleet) {
    let path = fleet.folder.join("rounds.yaml");
    std::fs::write(&path, definitions()).unwrap();
    fleet.api();
    fleet.await_ready();
    fleet.cli.ok(&["apply", "-f", path.to_str().expect("a path in UTF-8")]);
    assert_eq!(fleet.stop("api"), Some(0));
}

struct Run {
    clock: OtherClock,
    fleet: Fleet,
    chance: Chance,
    takeovers: Vec<Duration>,
    /// Leaders that were to be stopped within a transaction, and those that then held their lease's row.
    hunted: usize,
    caught: usize,
    done: BTreeMap<&'static str, usize>,
}

/// Who leads, under which term.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lead {
    name: String,
    term: i64,
}

impl Run {
    fn start_all(&mut self) {
        for name in SCHEDULERS {
            self.fleet.scheduler_with(name, &["--lease", LEASE]);
        }
        // It has begun with the right clock.
        self.kill_and_start(WRONG);
        for name in SCHEDULERS {
            self.fleet.process(name).await_text(": ready", 1, START);
        }
        self.assert_its_clock_is_wrong();
    }

    fn round(&mut self, round: usize) {
        let leader = self.leader();
        let kind = match self.chance.below(10) {
            0..=4 => "stopped",
            5..=7 => "killed",
            8 => "both",
            _ => "short",
        };
        *self.done.entry(kind).or_default() += 1;
        let at_work = self.chance.below(3) > 0;
        println!(
            "round {round}: {} of term {} {kind}{}",
            leader.name,
            leader.term,
            if at_work { ", at work" } else { "" }
        );
        match kind {
            "stopped" => {
                self.stop(&leader, at_work);
                self.await_takeover(&leader);
                self.fleet.process(&leader.name).thaw();
            }
            "killed" => {
                if at_work {
                    self.stop(&leader, true);
                }
                self.kill_and_start(&leader.name);
                self.await_takeover(&leader);
            }
            "both" => {
                let follower = self.follower(&leader);
                self.fleet.process(&follower).freeze();
                self.kill_and_start(&leader.name);
                self.await_takeover(&leader);
                self.fleet.process(&follower).thaw();
            }
            _ => {
                let follower = self.follower(&leader);
                self.stop(&leader, at_work);
                std::thread::sleep(LEASE_TIME / 3);
                self.fleet.process(&leader.name).thaw();
                self.kill_and_start(&follower);
            }
        }
    }

    fn follower(&mut self, leader: &Lead) -> String {
        let others: Vec<&str> = SCHEDULERS.into_iter().filter(|name| *name != leader.name).collect();
        (*self.chance.pick(&others)).to_owned()
    }

    /// Where it is, or within a transaction.
    fn stop(&mut self, leader: &Lead, at_work: bool) {
        if !at_work {
            self.fleet.process(&leader.name).freeze();
            return;
        }
        self.hunted += 1;
        let table = *self.chance.pick(&TICK_WRITES_TO);
        let lock = self.fleet.ground.database.lock(table).expect("the table can be locked");
        let deadline = Instant::now() + CATCH_TIME;
        while !self.awaits_with_its_lease(table) && Instant::now() < deadline {
            std::thread::sleep(LOOK_EVERY);
        }
        self.fleet.process(&leader.name).freeze();
        // What it waited for is done now, and it hears nothing of it.
        drop(lock);
        self.caught += usize::from(self.holds_its_lease());
    }

    /// Somebody's transaction has the lease's row, or has asked for it, and cannot write to the table.
    fn awaits_with_its_lease(&self, table: &str) -> bool {
        let held_up = format!(
            "SELECT COUNT(*) FROM pg_locks table_lock JOIN pg_locks lease USING (pid)
            WHERE table_lock.relation = '{table}'::regclass AND NOT table_lock.granted
                AND lease.relation = 'tide_leases'::regclass AND lease.granted"
        );
        self.fleet.number(&held_up) > 0
    }

    /// True while somebody's transaction, which does not move, has the lease's row. A follower that asks for it has it for a moment.
    fn holds_its_lease(&self) -> bool {
        let free = "SELECT COUNT(*) FROM (SELECT 1 FROM tide_leases FOR UPDATE SKIP LOCKED) free";
        let silent = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'";
        self.fleet.number(free) == 0 && self.fleet.number(silent) > 0 && self.fleet.number(free) == 0
    }

    fn kill_and_start(&mut self, name: &str) {
        self.fleet.kill(name);
        if name == WRONG {
            let seconds = if self.chance.below(2) == 0 { HOUR_S } else { -HOUR_S };
            self.fleet.set_environment(name, self.clock.ahead_by(seconds));
        }
        self.fleet.start(name);
    }

    fn leader(&mut self) -> Lead {
        until("a leader", TAKEOVER_TIME, || self.leads())
    }

    fn leads(&mut self) -> Option<Lead> {
        let row = self.fleet.psql(
            "SELECT term, split_part(split_part(holder, ':', 2), '/', 1) FROM tide_leases
            WHERE name = 'scheduler' AND until_ms > CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
        );
        let (term, pid) = row.split_once('|')?;
        let name = SCHEDULERS.into_iter().find(|name| self.fleet.process(name).pid().to_string() == pid)?;
        Some(Lead { name: name.to_owned(), term: term.parse().ok()? })
    }

    fn await_takeover(&mut self, before: &Lead) {
        let begun = Instant::now();
        until("another leader", TAKEOVER_TIME, || self.leads().filter(|now| now.term > before.term));
        self.takeovers.push(begun.elapsed());
    }

    fn tell(&mut self, rounds: usize, took: Duration) {
        self.takeovers.sort_unstable();
        let of = |part: usize| self.takeovers.get(self.takeovers.len() * part / 100).map_or(0, Duration::as_millis);
        println!(
            "{rounds} rounds in {} s: {:?}, {} of {} caught in a transaction; takeovers after {} ms (median), {} ms (p99), lease {} ms",
            took.as_secs(),
            self.done,
            self.caught,
            self.hunted,
            of(50),
            of(99),
            LEASE_TIME.as_millis()
        );
    }

    /// Everything that is due has been judged, and what was asked for is planned, whoever claimed it under whatever clock.
    fn settle(&mut self) {
        let overdue = "SELECT COUNT(*) FROM schedules WHERE overdue_ms > 0";
        self.fleet.await_number("a moment without anything overdue", overdue, 0, TAKEOVER_TIME);
        let open = "SELECT COUNT(*) FROM tide_requests WHERE state = 'accepted' AND created_ms < CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) - 2000";
        self.fleet.await_number("the planning of every request", open, 0, PLANNED_TIME);
        let unpublished = "SELECT COUNT(*) FROM tide_jobs WHERE state = 'queued' AND published_ms IS NULL";
        self.fleet.await_number("the publishing of every job", unpublished, 0, PLANNED_TIME);
    }

    /// One that was started just now would say that a signal came before its services.
    fn stop_all(&mut self) {
        for name in SCHEDULERS {
            let of_now = format!(":{}/", self.fleet.process(name).pid());
            until("the scheduler that is to stop is ready", START, || {
                let log = self.fleet.process(name).log_text();
                log.lines().any(|line| line.contains(": ready") && line.contains(&of_now)).then_some(())
            });
            assert_eq!(self.fleet.stop(name), Some(0), "{name} did not end in order");
        }
    }

    /// The lines of its log tell the time by which it works.
    fn assert_its_clock_is_wrong(&mut self) {
        let hour_of = |text: &str| {
            let line = text.lines().rev().find(|line| line.contains(": ready"))?;
            line.get(11..13)?.parse::<i64>().ok()
        };
        let (right, wrong) = (self.fleet.process(SCHEDULERS[0]).log_text(), self.fleet.process(WRONG).log_text());
        let apart = hour_of(&wrong).zip(hour_of(&right)).map(|(wrong, right)| (wrong - right).rem_euclid(24));
        assert!(matches!(apart, Some(1..=2 | 22..=23)), "{apart:?}: {wrong}");
    }
}

/// What the rows say of one schedule.
struct Told {
    name: String,
    catch_up: String,
    rule: Schedule,
    anchor_ms: i64,
    through_ms: i64,
}

fn told(fleet: &Fleet) -> Vec<Told> {
    let rows =
        fleet.rows("SELECT name, spec, zone, anchor_ms, through_ms FROM tide_schedules WHERE next_due_ms IS NOT NULL");
    rows.into_iter()
        .map(|row| {
            let (name, zone) = (text(&row["name"]), text(&row["zone"]));
            let spec: Value = serde_json::from_str(&text(&row["spec"])).expect("rules are JSON");
            let declared: schemas::Schedule = serde_json::from_value(spec.clone()).expect("a schedule");
            let anchor_ms = row["anchor_ms"].as_i64().expect("a number");
            let rule =
                Schedule::read(&declared, Setting { zone: &zone, anchor_ms, seed: &name }).expect("it was applied");
            let catch_up = spec["catch_up"].as_str().unwrap_or("one").to_owned();
            Told { name, catch_up, rule, anchor_ms, through_ms: row["through_ms"].as_i64().expect("a number") }
        })
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

impl Told {
    /// By the model: every instant from the first `apply` to what was judged.
    fn named(&self) -> BTreeSet<i64> {
        let mut all = BTreeSet::new();
        let mut next = self.rule.next(self.anchor_ms);
        while let Some(found) = next.filter(|found| found.start_ms <= self.through_ms) {
            all.insert(found.nominal_ms);
            next = self.rule.next(found.start_ms);
        }
        all
    }
}

/// Each instant that the model names is a row, or lies in one alert of missed ones, which nothing but `catch_up: all` rules out.
fn assert_each_happened_once(fleet: &Fleet) {
    let (mut named, mut happened, mut missed) = (0, 0, 0);
    for told in told(fleet) {
        let name = &told.name;
        let rows =
            instants(fleet, &format!("SELECT nominal_ms FROM tide_occurrences WHERE schedule = '{name}' ORDER BY 1"));
        let unique: BTreeSet<i64> = rows.iter().copied().collect();
        assert_eq!(rows.len(), unique.len(), "{name} has an occurrence twice");
        let expected = told.named();
        assert!(unique.is_subset(&expected), "{name}: what no rule names: {:?}", unique.difference(&expected));
        let mut lost: BTreeSet<i64> = expected.difference(&unique).copied().collect();
        named += expected.len();
        happened += unique.len();
        for alert in alerts(fleet, name) {
            let within: Vec<i64> = lost.range(alert.first_ms..=alert.last_ms).copied().collect();
            assert_eq!(within.len() as i64, alert.occurrences, "{name}: an alert tells of others than were missed");
            missed += within.len();
            lost.retain(|nominal_ms| !within.contains(nominal_ms));
        }
        assert!(lost.is_empty(), "{name} ({}) lost {lost:?} of {} and told nobody", told.catch_up, expected.len());
        assert!(told.catch_up != "all" || expected == unique, "{name} makes up for all, and did not");
    }
    println!("{named} instants: {happened} happened, {missed} were told as missed");
    let started = fleet.number("SELECT COUNT(*) FROM tide_occurrences WHERE outcome = 'started'");
    let asked =
        "SELECT COUNT(*) FROM tide_requests r JOIN tide_occurrences o ON o.request_id = r.id AND o.outcome = 'started'";
    assert_eq!(fleet.number(asked), started, "each that started has its request");
    assert_eq!(fleet.number("SELECT COUNT(*) FROM tide_requests WHERE origin = 'schedule'"), started, "and no other");
    let twice = "SELECT COUNT(*) FROM (SELECT request_id, kind, lane, distribution FROM tide_jobs GROUP BY 1, 2, 3, 4 HAVING COUNT(*) > 1) x";
    assert_eq!(fleet.number(twice), 0, "jobs planned twice");
}

struct Alert {
    occurrences: i64,
    first_ms: i64,
    last_ms: i64,
}

fn alerts(fleet: &Fleet, schedule: &str) -> Vec<Alert> {
    let rows = fleet.rows(&format!(
        "SELECT occurrences, first_nominal_ms, last_nominal_ms FROM tide_alerts WHERE code = 'occurrence-missed' AND schedule = '{schedule}'"
    ));
    let of = |row: &Value, column: &str| row[column].as_i64().expect("a number");
    rows.iter()
        .map(|row| Alert {
            occurrences: of(row, "occurrences"),
            first_ms: of(row, "first_nominal_ms"),
            last_ms: of(row, "last_nominal_ms"),
        })
        .collect()
}

fn instants(fleet: &Fleet, sql: &str) -> Vec<i64> {
    fleet.psql(sql).lines().map(|line| line.parse().expect("milliseconds")).collect()
}

/// By the database's clock, under its lock: once a term has fired something, an earlier one fires nothing more.
fn assert_terms_follow_each_other(fleet: &Fleet) {
    let back = "SELECT COUNT(*) FROM (SELECT term, MAX(term) OVER (ORDER BY fired_ms, term) AS newest FROM tide_occurrences) o WHERE term < newest";
    assert_eq!(fleet.number(back), 0, "a leader whose term was over wrote");
    let terms = fleet.number("SELECT COUNT(DISTINCT term) FROM tide_occurrences");
    assert!(terms > 1, "{terms} terms fired anything");
}

/// Nobody believes to have fired what another one fired.
fn assert_told_once_in_the_logs(run: &Run) {
    let mut seen = BTreeSet::new();
    for name in SCHEDULERS {
        let log = std::fs::read_to_string(run.fleet.folder.join(format!("{name}.log"))).expect("it has a log");
        for line in log.lines().filter(|line| line.contains("fired schedule=")) {
            let word = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key)).unwrap_or_default();
            let occurrence = (word("schedule=").to_owned(), word("nominal_ms=").to_owned());
            assert!(!occurrence.1.is_empty(), "{line}");
            assert!(seen.insert(occurrence), "fired twice: {line}");
        }
    }
    assert!(!seen.is_empty(), "no log tells of anything fired");
}

//! A hundred kills on real services: builder, subscriber, relay, scheduler and recorder die by SIGKILL while they work, each is
//! started again at once, and in the end every job has ended once and every target is right.
//!
//! A kill in the swap is one between the word before the exchange of the two trees (for a merged distribution: before the first file
//! is moved into place) and the journal's commit of it: the exchange alone is one system call, and over before anybody could see it.
//!
//! TIDEGATE_KILLS says how many, TIDEGATE_SEED repeats a run's choices (when each process comes to its steps is not ours to say).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use tests::definitions::{CHANNEL, SITES, TwoTiers, source};
use tests::{Chance, Fleet, Ground, ends, tree};

const KILLS: usize = 100;
/// Of each of the five steps, at least.
const HITS_MIN: usize = 5;
const STEPS: [&str; 5] = ["upload", "download", "stage", "swap", "report"];
const RELAY: &str = "region";
const DISTRIBUTIONS: [&str; 4] = ["one", "two", "three", "four"];
/// The others are mirrored.
const MERGED: &str = "four";
const FILES: usize = 150;
/// Requests that may be open before more are posted.
const OPEN_MAX: i64 = 10;
const LOAD_EVERY: Duration = Duration::from_millis(400);
/// How long the rarest step is waited for before any other of the five will do, and then anything at all.
const RAREST_TIME: Duration = Duration::from_millis(2500);
const ANY_TIME: Duration = Duration::from_millis(4000);
/// Kills beyond the hundred, and how long each waits for its step.
const MORE_MAX: usize = 25;
const HUNT_TIME: Duration = Duration::from_secs(20);
/// A swap takes hardly longer.
const LOOK_EVERY: Duration = Duration::from_micros(200);

#[test]
fn a_hundred_kills_cost_time_and_nothing_else() {
    let folder = tempfile::Builder::new().prefix("tidegate-kills-").tempdir().unwrap();
    let Some(ground) = Ground::fresh() else { return };
    let seed = number("TIDEGATE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let kills = number("TIDEGATE_KILLS").map_or(KILLS, |n| n as usize);
    println!("{kills} kills, TIDEGATE_SEED={seed}");
    let mut run = Run {
        fleet: fleet(folder.path(), ground),
        chance: Chance::new(seed),
        hits: BTreeMap::new(),
        load: Load::new(),
    };
    for name in DISTRIBUTIONS {
        tree::make(&source(folder.path(), name), FILES, seed.wrapping_add(name.len() as u64));
    }
    let declared = TwoTiers::of(&DISTRIBUTIONS).merging(MERGED);
    declared.put_foreign_files(folder.path());
    run.fleet.cli.ok(&["apply", "-f", &declared.write(folder.path())]);
    let begun = Instant::now();
    for kill in 1..=kills {
        let wanted = run.wanted(kill);
        run.kill(kill, &wanted);
    }
    if kills >= KILLS {
        run.hunt_what_lacks(kills);
    }
    println!("{kills} kills and more in {} s: {:?}", begun.elapsed().as_secs(), run.hits);
    let mut fleet = run.fleet;
    ends::await_ends(&fleet);
    println!(
        "{}",
        fleet
            .psql("SELECT kind, state, COALESCE(error_code, ''), COUNT(*) FROM jobs GROUP BY 1, 2, 3 ORDER BY 1, 2, 3")
    );
    ends::assert_ended_once(&fleet);
    ends::assert_targets_are_right(&fleet, &declared);
    ends::assert_ended_once(&fleet);
    ends::assert_queues_are_empty(&mut fleet, &["delivery_limit", "delivery-limit"]);
    ends::assert_nothing_is_left_over(&fleet, &DISTRIBUTIONS);
    if kills >= KILLS {
        assert_eq!(lacking(&run.hits), None, "hit less than {HITS_MIN} times: {:?}", run.hits);
    }
}

/// The step that was hit least, if that is not enough.
fn lacking(hits: &BTreeMap<String, usize>) -> Option<&'static str> {
    let hits_of = |step: &&str| hits.get(*step).copied().unwrap_or(0);
    STEPS.into_iter().min_by_key(hits_of).filter(|step| hits_of(step) < HITS_MIN)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

fn fleet(folder: &Path, ground: Ground) -> Fleet {
    let mut fleet = Fleet::new(folder, ground);
    for name in ["scheduler-1", "scheduler-2"] {
        fleet.scheduler(name);
    }
    fleet.recorder("recorder");
    for name in ["builder-1", "builder-2"] {
        fleet.builder(name, "hq");
    }
    fleet.api();
    fleet.subscriber(RELAY, true);
    for site in SITES {
        fleet.subscriber(site, false);
    }
    fleet.await_ready();
    fleet
}

/// Changes, builds and sends, one distribution after the other, so that all steps occur.
struct Load {
    posted: Instant,
    round: u64,
}

impl Load {
    fn new() -> Load {
        Load { posted: Instant::now() - LOAD_EVERY, round: 0 }
    }

    fn keep_up(&mut self, fleet: &Fleet) {
        if self.posted.elapsed() < LOAD_EVERY {
            return;
        }
        self.posted = Instant::now();
        if fleet.number("SELECT COUNT(*) FROM tide_requests WHERE state NOT IN ('succeeded', 'failed', 'cancelled')")
            >= OPEN_MAX
        {
            return;
        }
        let name = DISTRIBUTIONS[self.round as usize % DISTRIBUTIONS.len()];
        tree::change(&source(&fleet.folder, name), 10, self.round);
        self.round += 1;
        fleet.cli.ok(&["build", name]);
        fleet.cli.ok(&["send", CHANNEL]);
    }
}

struct Run {
    fleet: Fleet,
    chance: Chance,
    hits: BTreeMap<String, usize>,
    load: Load,
}

impl Run {
    /// On a slow machine the hundred may leave a step out: what lacks is waited for longer, in kills beyond them.
    fn hunt_what_lacks(&mut self, kills: usize) {
        for kill in kills + 1..=kills + MORE_MAX {
            let Some(step) = lacking(&self.hits) else { return };
            self.kill(kill, &Wanted::Only(step));
        }
    }

    fn kill(&mut self, kill: usize, wanted: &Wanted) {
        let begun = Instant::now();
        loop {
            self.load.keep_up(&self.fleet);
            let waited = begun.elapsed();
            let Some(name) = self.candidate(wanted, waited) else {
                std::thread::sleep(LOOK_EVERY);
                continue;
            };
            let process = self.fleet.process(&name);
            let stopped = process.freeze();
            let step = self.fleet.step_file(&name).read();
            if stopped && self.does(wanted, &name, &step, waited) {
                println!("kill {kill}: {name} at {}", if step.is_empty() { "nothing yet" } else { &step });
                self.fleet.kill(&name);
                self.fleet.start(&name);
                *self.hits.entry(step_of(&step).to_owned()).or_default() += 1;
                return;
            }
            self.fleet.process(&name).thaw();
        }
    }

    /// Of five kills one is a scheduler's, one a recorder's, one the relay's; the others go to the step that was hit least.
    fn wanted(&mut self, kill: usize) -> Wanted {
        match kill % 5 {
            0 => Wanted::Role("scheduler"),
            1 => Wanted::Role("recorder"),
            2 => Wanted::Relay,
            _ => Wanted::Step(
                STEPS.iter().min_by_key(|step| self.hits.get(**step).copied().unwrap_or(0)).expect("there are five"),
            ),
        }
    }

    /// A process that seems to be where it is wanted.
    fn candidate(&mut self, wanted: &Wanted, waited: Duration) -> Option<String> {
        let mut names = self.fleet.names();
        names.retain(|name| self.does(wanted, name, &self.fleet.step_file(name).read(), waited));
        (!names.is_empty()).then(|| self.chance.pick(&names).clone())
    }

    fn does(&self, wanted: &Wanted, name: &str, step: &str, waited: Duration) -> bool {
        let verb = self.fleet.verb(name);
        match wanted {
            Wanted::Role(role) => verb == *role && (!step.is_empty() || waited > RAREST_TIME),
            Wanted::Relay => name == RELAY && (STEPS.contains(&step) || waited > ANY_TIME),
            // The test itself asks by it.
            Wanted::Only(_) if verb == "api" => false,
            Wanted::Only(wanted) => step_of(step) == *wanted || waited > HUNT_TIME,
            Wanted::Step(_) if verb != "builder" && verb != "subscriber" => false,
            Wanted::Step(_) if waited > ANY_TIME => true,
            Wanted::Step(_) if waited > RAREST_TIME => STEPS.contains(&step_of(step)),
            Wanted::Step(wanted) => step_of(step) == *wanted,
        }
    }
}

fn step_of(word: &str) -> &str {
    match word {
        "swap" | "move" | "swapped" | "commit" => "swap",
        other => other,
    }
}

enum Wanted {
    Role(&'static str),
    Relay,
    Step(&'static str),
    /// This one and no other, for much longer.
    Only(&'static str),
}

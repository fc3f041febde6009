//! What the main job promises, at the size that it promises it for: 20,000 files and 500 MB go over two tiers to three sites on real
//! services, the relay is killed in the middle of its download, 2 % change and move as a delta, something fails and is tried
//! again; and psql on the documented views tells all of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::services::S3;
use testkit::{Private, Service};
use tests::compare::assert_same;
use tests::definitions::{CHANNEL, SITES, TwoTiers, source, target};
use tests::wait::until;
use tests::{Fleet, Ground, bulk, tree};

const FILES_MIN: usize = 20_000;
const BYTES_MIN: u64 = 500_000_000;
const RELAY: &str = "region";
/// The large tree, and one whose source is not there at first.
const LARGE: &str = "files";
const LATE: &str = "late";
const PATIENCE: Duration = Duration::from_secs(240);
/// Half of the time between two signs of life of a site.
const PRESENT_WITHIN: Duration = Duration::from_secs(15);
/// What the relay has of its download when it dies, in hundredths of it.
const KILLED_FROM: u64 = 20;
const KILLED_UNTIL: u64 = 90;
/// What the change may move of the tree's bytes, in hundredths.
const DELTA_MAX: i64 = 2;
const MEMORY_BYTES_MIN: u64 = 8 << 30;
/// What the relay may move over what it lacked, in hundredths: the frames that were half there when it died.
const MOVED_AGAIN_MAX: i64 = 5;

#[test]
fn a_large_tree_survives_the_death_of_its_relay_its_change_moves_as_a_delta_and_psql_tells_the_story() {
    let folder = tempfile::Builder::new().prefix("tidegate-three-sites-").tempdir_in(roomy()).unwrap();
    // Its own, so that what it stores is gone with it.
    let Some(storage) = Private::start(Service::S3) else { return };
    let mut story = Story { fleet: fleet(folder.path(), &storage), begun: Instant::now() };
    story.make_tree();
    story.build();
    let interrupted = story.first_delivery();
    story.fail_and_try_again();
    story.delta();
    story.is_told_by_psql(&interrupted);
    let mut fleet = story.fleet;
    for name in fleet.names() {
        assert_eq!(fleet.stop(&name), Some(0), "{name} did not end in order");
    }
}

fn fleet(folder: &Path, storage: &Private) -> Fleet {
    let s3 = S3 {
        endpoint: storage.url().to_owned(),
        bucket: storage.variable("TIDEGATE_TEST_S3_BUCKET").to_owned(),
        region: storage.variable("AWS_REGION").to_owned(),
        access_key: storage.variable("AWS_ACCESS_KEY_ID").to_owned(),
        secret_key: storage.variable("AWS_SECRET_ACCESS_KEY").to_owned(),
    };
    let ground = Ground { s3, ..Ground::fresh().expect("services are switched on, or there were no storage") };
    let mut fleet = Fleet::new(folder, ground);
    fleet.scheduler("scheduler");
    fleet.recorder("recorder");
    fleet.builder("builder", "hq");
    fleet.api();
    fleet.subscriber(RELAY, true);
    for site in SITES {
        fleet.subscriber(site, false);
    }
    fleet.await_ready();
    fleet.cli.ok(&["apply", "-f", &TwoTiers::of(&[LARGE, LATE]).write(folder)]);
    // They had started before they were defined: that they are takes effect at once, not at their next sign of life.
    let present = "SELECT COUNT(*) FROM subscribers WHERE state = 'present'";
    fleet.await_number("the presence of all sites", present, 4, PRESENT_WITHIN);
    fleet
}

/// How the relay's download stood when it was killed.
struct Interrupted {
    job: String,
    stored: u64,
    wanted: u64,
}

struct Story {
    fleet: Fleet,
    begun: Instant,
}

impl Story {
    fn say(&self, what: &str) {
        println!("{:>5.1} s  {what}", self.begun.elapsed().as_secs_f32());
    }

    fn make_tree(&self) {
        let root = source(&self.fleet.folder, LARGE);
        bulk::make(&root, 201);
        let (files, bytes) = (tree::files(&root).len(), tree::bytes(&root));
        self.say(&format!("{files} files of {bytes} bytes in all"));
        assert!(files >= FILES_MIN && bytes >= BYTES_MIN, "{files} files, {bytes} bytes");
    }

    fn build(&self) {
        self.fleet.cli.wait(&["build", LARGE]);
        self.say(&self.fleet.psql("SELECT revision, files, bytes, stored_bytes FROM revisions"));
    }

    /// Everything to everybody, and the relay dies in the middle of its part.
    fn first_delivery(&mut self) -> Interrupted {
        let cli = self.fleet.cli.clone();
        let sending = std::thread::spawn(move || cli.wait(&["send", CHANNEL]));
        let interrupted = self.kill_the_relay();
        self.children_wait_for_the_relay();
        self.fleet.start(RELAY);
        sending.join().expect("the send succeeds");
        self.say("all three sites have it");
        self.sites_are_equal_to_the_source();
        interrupted
    }

    /// It stands still whenever it is looked at, so that it cannot have gone on when it dies.
    fn kill_the_relay(&mut self) -> Interrupted {
        let wanted = self.fleet.number("SELECT stored_bytes FROM revisions WHERE current = 1") as u64;
        let store = self.fleet.folder.join("sites").join(RELAY).join("store");
        let (stored, job) = until("the middle of the relay's download", PATIENCE, || {
            if tree_bytes(&store) == 0 {
                return None;
            }
            assert!(self.fleet.process(RELAY).freeze(), "the relay does not stand still");
            let (stored, job) = (tree_bytes(&store), self.relays_job());
            let middle = stored * 100 > wanted * KILLED_FROM && progress(&job)["step"] == "download";
            if !middle {
                self.fleet.process(RELAY).thaw();
            }
            middle.then_some((stored, job))
        });
        assert!(stored * 100 < wanted * KILLED_UNTIL, "{stored} of {wanted} bytes is not the middle");
        assert!(["queued", "running"].contains(&text(&job, "state")), "{job}");
        let done = progress(&job)["bytes_done"].as_u64().unwrap_or_default();
        assert!(done < wanted, "the relay had said that its download was over: {job}");
        self.fleet.kill(RELAY);
        self.say(&format!("killed the relay in its download: {stored} of {wanted} bytes; {job}"));
        Interrupted { job: text(&job, "id").to_owned(), stored, wanted }
    }

    fn relays_job(&self) -> Value {
        let sql = format!("SELECT id, state, progress FROM jobs WHERE kind = 'send' AND subscriber = '{RELAY}'");
        let mut jobs = self.fleet.rows(&sql);
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs.remove(0)
    }

    fn children_wait_for_the_relay(&self) {
        let waits = format!(
            "SELECT subscriber, on_bad FROM waits WHERE kind = 'send' AND awaited_subscriber = '{RELAY}' ORDER BY subscriber"
        );
        let waits: Vec<Value> = self.fleet.rows(&waits);
        let who: Vec<&str> = waits.iter().map(|row| text(row, "subscriber")).collect();
        assert_eq!(who, ["lyon", "paris"], "the relay's children wait for it");
    }

    /// A build without its source fails; the source comes, a person tries again, and it goes out.
    fn fail_and_try_again(&self) {
        let cli = &self.fleet.cli;
        cli.ends(&["build", LATE, "--wait"], 1);
        let failures = self.fleet.rows("SELECT job_id, error_code, retried FROM failures");
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!((text(&failures[0], "error_code"), &failures[0]["retried"]), ("source-missing", &Value::from(0)));
        tree::make(&source(&self.fleet.folder, LATE), 50, 202);
        cli.wait(&["retry", text(&failures[0], "job_id")]);
        cli.wait(&["send", CHANNEL]);
        self.say("a build failed, was tried again, and went out");
    }

    fn delta(&self) {
        let root = source(&self.fleet.folder, LARGE);
        let changed = tree::change(&root, 2, 203);
        self.fleet.cli.wait(&["build", LARGE]);
        self.fleet.cli.wait(&["send", CHANNEL]);
        self.say(&format!(
            "{} files rewritten, one removed, one renamed, one added, and sent",
            changed.rewritten.len()
        ));
        self.sites_are_equal_to_the_source();
        let whole = tree::bytes(&root) as i64;
        for site in SITES.into_iter().chain([RELAY]) {
            let moved = self.moved(site, 2);
            self.say(&format!("{site}: {moved} of {whole} bytes moved"));
            assert!(
                moved > 0 && moved * 100 < whole * DELTA_MAX,
                "{site}: {moved} of {whole} bytes for a change of 2 %"
            );
        }
    }

    fn moved(&self, subscriber: &str, revision: u64) -> i64 {
        self.fleet.number(&format!(
            "SELECT bytes_moved FROM jobs WHERE kind = 'send' AND distribution = '{LARGE}'
            AND subscriber = '{subscriber}' AND revision = {revision} AND state = 'succeeded'"
        ))
    }

    fn sites_are_equal_to_the_source(&self) {
        std::thread::scope(|scope| {
            for site in SITES {
                let folder = &self.fleet.folder;
                scope.spawn(move || assert_same(&source(folder, LARGE), &target(folder, site, LARGE)));
            }
        });
        self.say("each site's target is equal to the source, file by file");
    }

    /// By the real client, on nothing but the documented views.
    fn is_told_by_psql(&self, interrupted: &Interrupted) {
        self.deliveries_are_current();
        self.jobs_have_one_end_each();
        self.the_relays_job_went_on(interrupted);
        let failures = "SELECT distribution, error_code, retried FROM failures";
        assert_eq!(self.fleet.psql(failures), "late|source-missing|1");
        let revisions = "SELECT distribution, revision, current FROM revisions ORDER BY 1, 2";
        assert_eq!(self.fleet.psql(revisions), "files|1|0\nfiles|2|1\nlate|1|1");
        for (what, wanted) in [
            ("SELECT COUNT(*) FROM requests WHERE state <> 'succeeded'", 1),
            ("SELECT COUNT(*) FROM requests WHERE state = 'failed' AND kind = 'build'", 1),
            ("SELECT COUNT(*) FROM lanes WHERE job_id IS NOT NULL", 0),
            ("SELECT COUNT(*) FROM waits", 0),
            ("SELECT COUNT(*) FROM installed", 6),
            ("SELECT COUNT(*) FROM subscribers WHERE state = 'present' AND jobs_open = 0 AND wanted = current", 4),
            ("SELECT current - subscribers * distributions FROM channels", 0),
            ("SELECT COUNT(*) FROM dead_letters", 0),
        ] {
            assert_eq!(self.fleet.number(what), wanted, "{what}");
        }
        self.say("psql tells the story");
    }

    fn deliveries_are_current(&self) {
        let told = self.fleet.psql(
            "SELECT distribution, subscriber, state, current_revision, stored_revision, extracted_revision, error_code
            FROM deliveries ORDER BY 1, 2",
        );
        let files = SITES.map(|site| format!("files|{site}|current|2|2|2|"));
        let late = SITES.map(|site| format!("late|{site}|current|1|1|1|"));
        assert_eq!(told.lines().collect::<Vec<_>>(), [files, late].concat());
    }

    fn jobs_have_one_end_each(&self) {
        let ends = self.fleet.rows(
            "SELECT j.id, j.kind, j.state, COUNT(h.job_id) AS ends, MIN(h.event) AS event
            FROM jobs j LEFT JOIN job_history h ON h.job_id = j.id AND h.step = 2 GROUP BY j.id, j.kind, j.state",
        );
        for end in &ends {
            assert_eq!((&end["ends"], &end["event"]), (&Value::from(1), &end["state"]), "{end}");
        }
        let count = "SELECT kind, state, COUNT(*) FROM jobs GROUP BY 1, 2 ORDER BY 1, 2";
        // Two revisions of one distribution and one of the other, to three sites over one relay.
        let wanted = "build|failed|1\nbuild|succeeded|3\nextract|succeeded|9\nsend|succeeded|12";
        assert_eq!(self.fleet.psql(count), wanted);
    }

    /// The job that was interrupted is the one that succeeded, under its first attempt, and what was there was not moved again.
    fn the_relays_job_went_on(&self, interrupted: &Interrupted) {
        let job = &interrupted.job;
        let told = self.fleet.psql(&format!("SELECT event FROM job_history WHERE job_id = '{job}' ORDER BY at, step"));
        let events: Vec<&str> = told.lines().collect();
        assert_eq!((events.first(), events.last()), (Some(&"planned"), Some(&"succeeded")), "{events:?}");
        let row = &self.fleet.rows(&format!(
            "SELECT attempt, worker, bytes_needed, bytes_moved, error_code FROM jobs WHERE id = '{job}'"
        ))[0];
        assert_eq!((&row["attempt"], text(row, "worker")), (&Value::from(1), RELAY), "{row}");
        let number = |column: &str| row[column].as_i64().unwrap_or_else(|| panic!("{column}: {row}"));
        let (needed, moved) = (number("bytes_needed"), number("bytes_moved"));
        assert!(needed >= interrupted.wanted as i64, "{needed} of {} bytes were lacking", interrupted.wanted);
        assert!(moved >= needed && moved * 100 <= needed * (100 + MOVED_AGAIN_MAX), "{moved} moved for {needed}");
        self.say(&format!(
            "the relay's job, interrupted at {} bytes: {}; {row}",
            interrupted.stored,
            events.join(", ")
        ));
    }
}

fn text<'a>(row: &'a Value, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_else(|| panic!("{column} is no text: {row}"))
}

/// The last sign of life of a job; null before the first.
fn progress(job: &Value) -> Value {
    job["progress"].as_str().map_or(Value::Null, |text| serde_json::from_str(text).expect("progress is JSON"))
}

/// Bytes of all files below a folder that somebody works in.
fn tree_bytes(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(about) if about.is_dir() => open.push(entry.path()),
                Ok(about) => bytes += about.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// Half a million files and names come and go here: in memory, where there is room, because a disk may take minutes to forget them.
fn roomy() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |fs| fs.f_bavail * fs.f_frsize);
    if free >= MEMORY_BYTES_MIN { memory.to_owned() } else { std::env::temp_dir() }
}

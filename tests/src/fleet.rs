//! A fleet on real services: the roles as processes, each with its own folder, log and step file.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testkit::services::S3;
use testkit::{Database, Vhost};

use crate::cli::{Cli, program};
use crate::process::Process;
use crate::step_file::{self, StepFile};
use crate::wait::until;

const START: Duration = Duration::from_secs(90);

/// The services that a fleet stands on, or those parts of them that are its own.
pub struct Ground {
    pub amqp_url: String,
    pub database: Database,
    pub s3: S3,
    pub prefix: String,
    /// Of the shared broker; a broker of the test's own has none.
    pub vhost: Option<Vhost>,
}

impl Ground {
    /// `None` only if services are switched off.
    pub fn fresh() -> Option<Ground> {
        let vhost = Vhost::fresh()?;
        let s3 = testkit::services::s3()?;
        Some(Ground {
            amqp_url: vhost.url.clone(),
            database: Database::fresh()?,
            prefix: s3.fresh_prefix(),
            s3,
            vhost: Some(vhost),
        })
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let s3 = &self.s3;
        vec![
            ("TIDEGATE_BROKER", self.amqp_url.clone()),
            ("TIDEGATE_DATABASE", self.database.url.clone()),
            ("TIDEGATE_STORAGE", format!("s3://{}/{}", s3.bucket, self.prefix)),
            ("TIDEGATE_S3_ENDPOINT", s3.endpoint.clone()),
            ("TIDEGATE_S3_REGION", s3.region.clone()),
            ("AWS_ACCESS_KEY_ID", s3.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", s3.secret_key.clone()),
        ]
    }
}

/// A process of the fleet; the name of a subscriber is its role's too.
#[derive(Debug, Clone)]
struct Role {
    verb: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

pub struct Fleet {
    // Dropped before the ground that it stands on.
    running: BTreeMap<String, Process>,
    roles: BTreeMap<String, Role>,
    pub folder: PathBuf,
    pub ground: Ground,
    pub cli: Cli,
}

impl Fleet {
    pub fn new(folder: &Path, ground: Ground) -> Fleet {
        let cli = Cli::new(&folder.join("api"));
        Fleet { running: BTreeMap::new(), roles: BTreeMap::new(), folder: folder.to_owned(), ground, cli }
    }

    pub fn scheduler(&mut self, name: &str) {
        self.add(name, "scheduler", vec![]);
    }

    pub fn scheduler_with(&mut self, name: &str, arguments: &[&str]) {
        self.add(name, "scheduler", arguments.iter().map(|one| (*one).to_owned()).collect());
    }

    pub fn recorder(&mut self, name: &str) {
        self.add(name, "recorder", vec![]);
    }

    pub fn builder(&mut self, name: &str, distributor: &str) {
        let work = self.folder.join(name).display().to_string();
        self.add(name, "builder", vec!["--distributor".into(), distributor.into(), "--work-dir".into(), work]);
    }

    pub fn api(&mut self) {
        let data = self.folder.join("api").display().to_string();
        self.add("api", "api", vec!["--listen".into(), free_address(), "--data".into(), data]);
    }

    /// `serves`: it listens for children.
    pub fn subscriber(&mut self, name: &str, serves: bool) {
        let work = self.folder.join("sites").join(name).display().to_string();
        let mut arguments = vec!["--name".into(), name.into(), "--work-dir".into(), work];
        if serves {
            arguments.extend(["--listen".into(), free_address()]);
        }
        self.add(name, "subscriber", arguments);
    }

    /// Until every process that was started says that it is ready.
    pub fn await_ready(&mut self) {
        for process in self.running.values_mut() {
            process.await_text(": ready", 1, START);
        }
    }

    pub fn names(&self) -> Vec<String> {
        self.roles.keys().cloned().collect()
    }

    pub fn verb(&self, name: &str) -> &'static str {
        self.roles[name].verb
    }

    pub fn process(&mut self, name: &str) -> &mut Process {
        self.running.get_mut(name).unwrap_or_else(|| panic!("{name} does not run"))
    }

    pub fn step_file(&self, name: &str) -> StepFile {
        StepFile::new(self.folder.join(format!("{name}.step")))
    }

    pub fn kill(&mut self, name: &str) {
        if let Some(process) = self.running.remove(name) {
            process.kill();
        }
    }

    /// Starts again what was killed, as it was.
    pub fn start(&mut self, name: &str) {
        let role = self.roles[name].clone();
        let step = self.step_file(name);
        step.clear();
        let mut command = self.command(&role);
        command.env(step_file::VARIABLE, step.path());
        let log = self.folder.join(format!("{name}.log"));
        self.running.insert(name.to_owned(), Process::start(name, &mut command, &log));
    }

    /// SIGTERM to one; its exit code.
    pub fn stop(&mut self, name: &str) -> Option<i32> {
        self.running.remove(name).and_then(Process::stop)
    }

    /// Rows of a query by psql, each an object.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<Value> {
        let text = self.psql(&format!("SELECT COALESCE(json_agg(t), '[]') FROM ({sql}) t"));
        serde_json::from_str(&text).expect("PostgreSQL writes JSON")
    }

    #[track_caller]
    pub fn number(&self, sql: &str) -> i64 {
        self.psql(sql).parse().unwrap_or_else(|_| panic!("`{sql}` gave no number"))
    }

    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        self.ground.database.psql(sql).unwrap_or_else(|error| panic!("{sql}: {error:#}"))
    }

    /// Until a query gives `wanted`.
    pub fn await_number(&self, what: &str, sql: &str, wanted: i64, patience: Duration) {
        until(what, patience, || {
            // The database may be away for a moment: that is what some tests do to it.
            let answer = self.ground.database.psql(sql).ok()?;
            (answer.parse() == Ok(wanted)).then_some(())
        });
    }

    fn add(&mut self, name: &str, verb: &'static str, arguments: Vec<String>) {
        self.roles.insert(name.to_owned(), Role { verb, arguments, environment: Vec::new() });
        self.start(name);
    }

    /// From its next start on, these variables too.
    pub fn set_environment(&mut self, name: &str, environment: Vec<(String, String)>) {
        if let Some(role) = self.roles.get_mut(name) {
            role.environment = environment;
        }
    }

    fn command(&self, role: &Role) -> Command {
        let mut command = program();
        command.arg(role.verb).args(&role.arguments).args(["--drain-time", "5s"]).current_dir(&self.folder);
        command.envs(self.ground.variables()).envs(role.environment.clone());
        command
    }
}

/// A failed test tells how far its requests and jobs had come.
impl Drop for Fleet {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for sql in [REQUESTS_TOLD, JOBS_TOLD] {
            let told = self.ground.database.psql(sql).unwrap_or_else(|error| format!("{error:#}"));
            eprintln!("---- {sql}\n{told}");
        }
    }
}

const REQUESTS_TOLD: &str = "SELECT id, kind, state, jobs, jobs_open, created_at, planned_at, note FROM requests ORDER BY created_at DESC LIMIT 10";
const JOBS_TOLD: &str =
    "SELECT id, kind, state, lane, revision, attempt, worker, published_at, started_at, error_code, note FROM jobs
    WHERE state NOT IN ('succeeded', 'cancelled') ORDER BY created_at DESC LIMIT 40";

/// An address that nobody listens on now.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    listener.local_addr().expect("it is bound").to_string()
}

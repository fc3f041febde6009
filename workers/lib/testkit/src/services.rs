//! The real services that tests run on: those named in the environment, else those that `ops/services` starts. A test
//! fails without them, unless `TIDEGATE_TEST_SERVICES=off` says that it was meant to be skipped.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

/// `off` skips what needs real services.
const SWITCH: &str = "TIDEGATE_TEST_SERVICES";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Rabbitmq,
    Postgresql,
    S3,
}

#[derive(Clone)]
pub struct Services {
    pub rabbitmq: Rabbitmq,
    /// `postgres://user:password@host:port/database`
    pub database_url: String,
    pub s3: S3,
}

#[derive(Clone)]
pub struct Rabbitmq {
    pub url: String,
    /// `http://user:password@host:port`
    pub management_url: String,
}

#[derive(Clone)]
pub struct S3 {
    pub endpoint: String,
    pub bucket: String,
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
}

impl S3 {
    /// A prefix of this test's own in the shared bucket.
    pub fn fresh_prefix(&self) -> String {
        format!("test-{}", uuid::Uuid::now_v7())
    }
}

/// All three; `None` only if they are switched off. Panics if they cannot be had.
pub fn services() -> Option<Services> {
    Some(Services { rabbitmq: rabbitmq()?, database_url: database_url()?, s3: s3()? })
}

pub fn rabbitmq() -> Option<Rabbitmq> {
    let variables = variables(Service::Rabbitmq)?;
    let management_url = variables.get("TIDEGATE_TEST_BROKER_MANAGEMENT").cloned().unwrap_or_default();
    Some(Rabbitmq { url: variables["TIDEGATE_BROKER"].clone(), management_url })
}

pub fn database_url() -> Option<String> {
    Some(variables(Service::Postgresql)?["TIDEGATE_DATABASE"].clone())
}

pub fn s3() -> Option<S3> {
    let variables = variables(Service::S3)?;
    let get = |name: &str| variables.get(name).cloned().unwrap_or_default();
    Some(S3 {
        endpoint: get("TIDEGATE_S3_ENDPOINT"),
        bucket: get("TIDEGATE_TEST_S3_BUCKET"),
        region: get("AWS_REGION"),
        access_key: get("AWS_ACCESS_KEY_ID"),
        secret_key: get("AWS_SECRET_ACCESS_KEY"),
    })
}

pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(3).expect("the crate lies three folders deep").to_owned()
}

impl Service {
    pub fn name(self) -> &'static str {
        match self {
            Service::Rabbitmq => "rabbitmq",
            Service::Postgresql => "postgresql",
            Service::S3 => "s3",
        }
    }

    fn marker(self) -> &'static str {
        match self {
            Service::Rabbitmq => "TIDEGATE_BROKER",
            Service::Postgresql => "TIDEGATE_DATABASE",
            Service::S3 => "TIDEGATE_S3_ENDPOINT",
        }
    }
}

/// Runs `ops/services` on a state directory, or on the default one.
pub(crate) fn ops(directory: Option<&Path>, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(repository().join("ops/services"));
    command.args(arguments).stdin(std::process::Stdio::null());
    if let Some(directory) = directory {
        command.env("TIDEGATE_SERVICES_DIR", directory);
    }
    let output = command.output().context("ops/services cannot be run")?;
    if !output.status.success() {
        bail!("ops/services {} failed:\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// What `ops/services up` wrote: lines of `export NAME='value'`.
pub(crate) fn read_env(directory: &Path) -> Result<HashMap<String, String>> {
    let path = directory.join("env");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// The variables of one service, which is started once per process if the environment does not name it.
fn variables(service: Service) -> Option<HashMap<String, String>> {
    static STARTED: Mutex<Option<HashMap<&'static str, HashMap<String, String>>>> = Mutex::new(None);
    if std::env::var(SWITCH).is_ok_and(|value| value == "off") {
        return None;
    }
    if std::env::var(service.marker()).is_ok() {
        return Some(std::env::vars().collect());
    }
    let mut started = STARTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let known = started.get_or_insert_default();
    if !known.contains_key(service.name()) {
        let variables = start(service).unwrap_or_else(|error| {
            panic!("{} is not there: {error:#}\n(set {SWITCH}=off to skip what needs it)", service.name())
        });
        known.insert(service.name(), variables);
    }
    Some(known[service.name()].clone())
}

fn start(service: Service) -> Result<HashMap<String, String>> {
    ops(None, &["up", service.name()])?;
    let default = || repository().join(".services");
    let directory = std::env::var_os("TIDEGATE_SERVICES_DIR").map_or_else(default, PathBuf::from);
    let variables = read_env(&directory)?;
    if !variables.contains_key(service.marker()) {
        bail!("ops/services up {} wrote no {}", service.name(), service.marker());
    }
    Ok(variables)
}

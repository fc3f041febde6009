//! A service instance of one test's own, for faults that would hurt its neighbours.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;

use crate::services::{Service, ops, read_env};

pub struct Private {
    service: Service,
    directory: tempfile::TempDir,
    variables: HashMap<String, String>,
}

impl Private {
    /// `None` only if services are switched off. Panics if it does not start.
    pub fn start(service: Service) -> Option<Private> {
        if std::env::var("TIDEGATE_TEST_SERVICES").is_ok_and(|value| value == "off") {
            return None;
        }
        let directory = tempfile::Builder::new().prefix("tidegate-private-").tempdir().expect("a temporary directory");
        let start = || -> Result<HashMap<String, String>> {
            ops(Some(directory.path()), &["up", service.name()])?;
            read_env(directory.path())
        };
        let variables = start().unwrap_or_else(|error| panic!("{}: {error:#}", service.name()));
        Some(Private { service, directory, variables })
    }

    /// The AMQP or database URL, or the S3 endpoint. It stays the same over restarts.
    pub fn url(&self) -> &str {
        &self.variables[match self.service {
            Service::Rabbitmq => "TIDEGATE_BROKER",
            Service::Postgresql => "TIDEGATE_DATABASE",
            Service::S3 => "TIDEGATE_S3_ENDPOINT",
        }]
    }

    pub fn variable(&self, name: &str) -> &str {
        &self.variables[name]
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// An orderly stop and start; returns when it is healthy again.
    pub async fn restart(&self) {
        self.run("restart").await;
    }

    /// SIGKILL; it stays down until `up`.
    pub async fn kill(&self) {
        self.run("kill").await;
    }

    pub async fn down(&self) {
        self.run("down").await;
    }

    pub async fn up(&self) {
        self.run("up").await;
    }

    /// Runs rabbitmqctl on it.
    pub async fn rabbitmqctl(&self, arguments: &[&'static str]) {
        let mut all = vec!["rabbitmqctl"];
        all.extend(arguments);
        self.ops(all).await;
    }

    async fn run(&self, verb: &'static str) {
        self.ops(vec![verb, self.service.name()]).await;
    }

    async fn ops(&self, arguments: Vec<&'static str>) {
        let directory = self.directory.path().to_owned();
        let ran = tokio::task::spawn_blocking(move || ops(Some(&directory), &arguments)).await;
        ran.expect("it ran").unwrap_or_else(|error| panic!("{error:#}"));
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Err(error) = ops(Some(self.directory.path()), &["down", "--wipe", self.service.name()]) {
            eprintln!("{error:#}");
        }
    }
}

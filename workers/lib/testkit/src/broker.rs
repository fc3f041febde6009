//! A virtual host of one test's own on the shared broker.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use queue::amqp::{AmqpConfig, AmqpQueue};

use crate::Proxy;
use crate::http;
use crate::services::{self, Rabbitmq};

/// Gone, with all its queues, when dropped.
pub struct Vhost {
    rabbitmq: Rabbitmq,
    name: String,
    pub url: String,
}

impl Vhost {
    /// `None` only if services are switched off. Panics if there is no broker.
    pub fn fresh() -> Option<Vhost> {
        let rabbitmq = services::rabbitmq()?;
        let name = format!("test-{}", uuid::Uuid::now_v7());
        let made = make(&rabbitmq, &name);
        let url = made.unwrap_or_else(|error| panic!("no virtual host can be made: {error:#}"));
        Some(Vhost { rabbitmq, name, url })
    }

    /// A connection to it.
    pub fn open(&self) -> Arc<AmqpQueue> {
        AmqpQueue::open(AmqpConfig::new(self.url.clone())).expect("the URL is valid")
    }

    /// `host:port` of the broker.
    pub fn server(&self) -> &str {
        let (_, place) = self.url.rsplit_once('@').expect("the URL names a user");
        place.split_once('/').map_or(place, |(server, _)| server)
    }

    /// Its URL by way of a proxy to `server`.
    pub fn url_by(&self, proxy: &Proxy) -> String {
        self.url.replacen(&format!("@{}/", self.server()), &format!("@{}/", proxy.address()), 1)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks the broker's management API, below this virtual host: `("GET", "queues", "", "")`.
    pub fn ask(&self, method: &str, kind: &str, rest: &str, body: &str) -> Result<(u16, String)> {
        let path = format!("/api/{kind}/{}{rest}", self.name);
        http::ask(&self.rabbitmq.management_url, method, &path, body)
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        let path = format!("/api/vhosts/{}", self.name);
        if let Err(error) = http::ask(&self.rabbitmq.management_url, "DELETE", &path, "") {
            eprintln!("virtual host {} is left behind: {error:#}", self.name);
        }
    }
}

fn make(rabbitmq: &Rabbitmq, name: &str) -> Result<String> {
    let user =
        http::user(&rabbitmq.management_url).context("TIDEGATE_TEST_BROKER_MANAGEMENT is not set, or names no user")?;
    let all = r#"{"configure":".*","write":".*","read":".*"}"#;
    for (path, body) in [(format!("/api/vhosts/{name}"), "{}"), (format!("/api/permissions/{name}/{user}"), all)] {
        let (status, text) = http::ask(&rabbitmq.management_url, "PUT", &path, body)?;
        if !(200..300).contains(&status) {
            bail!("PUT {path} gave {status}: {text}");
        }
    }
    let (server, _) = rabbitmq.url.rsplit_once('/').context("TIDEGATE_BROKER has no virtual host")?;
    Ok(format!("{server}/{name}"))
}

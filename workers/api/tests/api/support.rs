//! A service of one's own for each test: a fresh SQLite file, a queue in memory, the API on a free port.

use std::sync::Arc;

use api::Config;
use dispatch::Dispatcher;
use queue::Queue;
use queue::local::LocalQueue;
use records::Records;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
#[cfg(feature = "services")]
use testkit::postgres::Database;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const TOKEN: &str = "a-token-of-more-than-sixteen-bytes";

pub struct Service {
    pub url: String,
    pub records: Records,
    pub queue: Arc<LocalQueue>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    _dir: TempDir,
    /// Gone with the test.
    #[cfg(feature = "services")]
    _database: Option<Database>,
}

pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl Service {
    pub async fn start() -> Service {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/records.db", dir.path().display());
        Service::start_on(&url, dir).await
    }

    /// The same on PostgreSQL; `None` if real services are switched off.
    #[cfg(feature = "services")]
    pub async fn start_on_postgres() -> Option<Service> {
        let database = Database::fresh()?;
        let service = Service::start_on(&database.url, tempfile::tempdir().unwrap()).await;
        Some(Service { _database: Some(database), ..service })
    }

    async fn start_on(url: &str, dir: TempDir) -> Service {
        let records = Records::open(url).await.unwrap();
        records.migrate().await.unwrap();
        let queue = LocalQueue::new();
        let shared: Arc<dyn Queue> = queue.clone();
        let dispatcher = Dispatcher::new(records.clone(), shared.clone());
        let stop = CancellationToken::new();
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            token: TOKEN.into(),
            allow_remote: false,
            console: Default::default(),
        };
        let (address, serving) = api::serve(config, records.clone(), dispatcher, shared, stop.clone()).await.unwrap();
        Service {
            url: format!("http://{address}"),
            records,
            queue,
            stop,
            serving,
            _dir: dir,
            #[cfg(feature = "services")]
            _database: None,
        }
    }

    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.ask_as(method, path, body, Some(&format!("Bearer {TOKEN}"))).await
    }

    pub async fn ask_as(&self, method: Method, path: &str, body: Option<Value>, shown: Option<&str>) -> Answer {
        let mut request = reqwest::Client::new().request(method, format!("{}{path}", self.url));
        if let Some(shown) = shown {
            request = request.header("authorization", shown);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {status}: not JSON: {text}"));
        Answer { status, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, None).await
    }

    /// The example that the documentation starts with.
    pub async fn apply_hello(&self) -> Answer {
        let text = include_str!("../../../../examples/hello.yaml");
        self.post("/v1/apply", serde_json::json!({ "files": [{ "name": "hello.yaml", "text": text }] })).await
    }

    pub async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(std::time::Duration::from_secs(10), self.serving).await.unwrap().unwrap();
        self.records.close().await;
    }
}

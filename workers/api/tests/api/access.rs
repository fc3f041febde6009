//! Who gets in, and how what is refused looks.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::support::{Service, TOKEN};
use api::{Config, ServeError};
use dispatch::Dispatcher;
use queue::Queue;
use queue::local::LocalQueue;
use records::Records;
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

const ROUTES: [(&str, &str); 23] = [
    ("POST", "/v1/apply"),
    ("GET", "/v1/objects/channels"),
    ("GET", "/v1/objects/channel/protect"),
    ("DELETE", "/v1/objects/channel/protect"),
    ("GET", "/v1/objects/channel/protect/description"),
    ("POST", "/v1/requests"),
    ("GET", "/v1/requests/01930000-0000-7000-8000-000000000001"),
    ("GET", "/v1/jobs/0a1b2c3d"),
    ("GET", "/v1/schedules/build/antivirus"),
    ("POST", "/v1/schedules/build/antivirus/run"),
    ("GET", "/v1/sheets/jobs"),
    ("GET", "/v1/status"),
    ("GET", "/v1/routes"),
    ("POST", "/v1/query"),
    ("POST", "/v1/lanes/pause"),
    ("POST", "/v1/lanes/resume"),
    ("GET", "/v1/dead-letters/0a1b2c3d"),
    ("POST", "/v1/dead-letters/0a1b2c3d/replay"),
    ("POST", "/v1/dead-letters/0a1b2c3d/drop"),
    ("GET", "/v1/database"),
    ("GET", "/v1/database/views"),
    ("GET", "/"),
    ("POST", "/healthz"),
];

#[tokio::test]
async fn every_route_without_the_token_is_refused() {
    let service = Service::start().await;
    let wrong = format!("Bearer {TOKEN}x");
    let shorter = format!("Bearer {}", &TOKEN[1..]);
    let basic = format!("Basic {TOKEN}");
    for (method, path) in ROUTES {
        let method: Method = method.parse().unwrap();
        for shown in [None, Some(""), Some("Bearer "), Some(TOKEN), Some(&wrong), Some(&shorter), Some(&basic)] {
            let answer = service.ask_as(method.clone(), path, None, shown).await;
            assert_eq!(
                (answer.status, answer.code()),
                (StatusCode::UNAUTHORIZED, "unauthorized"),
                "{method} {path} {shown:?}"
            );
        }
        let answer = service.ask(method.clone(), path, None).await;
        assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
    service.end().await;
}

#[tokio::test]
async fn the_health_path_needs_no_token_and_tells_nothing() {
    let service = Service::start().await;
    let answer = service.ask_as(Method::GET, "/healthz", None, None).await;
    assert_eq!((answer.status, answer.body.to_string().as_str()), (StatusCode::OK, r#"{"status":"ok"}"#));
    service.end().await;
}

#[tokio::test]
async fn refusals_of_every_kind_are_json_with_a_code() {
    let service = Service::start().await;
    let big = serde_json::json!({ "sql": "x".repeat(2 << 20) });
    for (method, path, body, status, code) in [
        ("GET", "/v1/nothing", None, 404, "route-unknown"),
        ("PUT", "/v1/apply", None, 405, "method-not-allowed"),
        ("POST", "/v1/query", Some(big), 413, "body-too-large"),
        ("POST", "/v1/query", Some(serde_json::json!({ "sqll": "" })), 400, "body-malformed"),
        ("GET", "/v1/objects/wheels", None, 404, "kind-unknown"),
        ("GET", "/v1/objects/channel/%FF", None, 400, "request-malformed"),
        ("GET", "/v1/sheets/nothing", None, 404, "sheet-unknown"),
        ("GET", "/v1/sheets/jobs?x=1", None, 400, "filter-unknown"),
        ("GET", "/v1/sheets/jobs?limit=0", None, 400, "limit-invalid"),
        ("GET", "/v1/jobs/zz", None, 400, "id-malformed"),
        ("GET", "/v1/jobs/0a1b2c3d", None, 404, "job-unknown"),
        ("GET", "/v1/dead-letters/0a1b2c3d", None, 404, "dead-letter-unknown"),
        ("GET", "/v1/requests/1", None, 400, "id-malformed"),
        ("GET", "/v1/requests/01930000-0000-7000-8000-000000000001", None, 404, "request-unknown"),
        ("GET", "/v1/schedules/build/antivirus", None, 404, "schedule-unknown"),
        ("GET", "/v1/schedules/build/antivirus?count=0", None, 400, "count-invalid"),
        ("POST", "/v1/schedules/burn/antivirus/run", None, 404, "schedule-unknown"),
        ("POST", "/v1/schedules/build/antivirus/run", None, 404, "schedule-unknown"),
    ] {
        let answer = service.ask(method.parse().unwrap(), path, body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{method} {path}: {}", answer.body);
        assert!(answer.body["message"].as_str().is_some_and(|m| !m.is_empty()), "{method} {path}");
    }
    service.end().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_closes_the_connection() {
    let service = Service::start().await;
    let address = service.url.trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-filler: {}\r\n\r\n", "x".repeat(1 << 20));
    // The service may hang up before all of it is written.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(10), read).await.expect("the connection is closed");
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    service.end().await;
}

async fn refused(listen: &str, token: &str) -> ServeError {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(&format!("sqlite://{}/records.db", dir.path().display())).await.unwrap();
    let queue: Arc<dyn Queue> = LocalQueue::new();
    let listen: SocketAddr = listen.parse().unwrap();
    let config = Config { listen, token: token.into(), allow_remote: false, console: Default::default() };
    let dispatcher = Dispatcher::new(records.clone(), queue.clone());
    let error = api::serve(config, records, dispatcher, queue, CancellationToken::new()).await.unwrap_err();
    error.downcast().unwrap()
}

#[tokio::test]
async fn only_loopback_is_listened_on_and_only_with_a_token_that_cannot_be_guessed() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        assert!(matches!(refused(listen, TOKEN).await, ServeError::NotLoopback { .. }), "{listen}");
    }
    assert!(matches!(refused("127.0.0.1:0", "short").await, ServeError::TokenTooShort));
    assert!(matches!(refused("127.0.0.1:0", "").await, ServeError::TokenTooShort));
}

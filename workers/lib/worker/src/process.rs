//! This process: its name, its clock, its signals. It knows nothing of jobs.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// `builder@host:pid`, as reports name a worker.
pub fn worker_id(role: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{role}@{}:{}", if host.is_empty() { "localhost" } else { host }, std::process::id())
}

/// Milliseconds since 1970, for people to read.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Cancelled by the first SIGTERM or SIGINT.
pub fn shutdown_on_signals() -> CancellationToken {
    let token = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        match signal(kind) {
            Ok(mut stream) => {
                let token = token.clone();
                tokio::spawn(async move {
                    stream.recv().await;
                    token.cancel();
                });
            }
            Err(error) => tracing::error!(%error, "cannot listen for a signal; it will end the process at once"),
        }
    }
    token
}

//! Listening and the life of connections: how many, how long a head may take, and a drain at the end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use dispatch::Dispatcher;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use queue::Queue;
use records::Records;
use schemas::ConsoleName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{TOKEN_BYTES_MIN, Token};
use crate::limits::{CONNECTIONS_MAX, DRAIN_TIME_MAX, HEAD_BYTES_MAX, HEAD_TIME_MAX, HEADERS_MAX};
use crate::router::{Tools, router};

/// Before accepting again when the machine has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub struct Config {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// What clients must show; at least 16 bytes.
    pub token: String,
    /// Without it, only loopback is listened on: this version speaks no TLS.
    pub allow_remote: bool,
    /// In whose name it changes and runs things.
    pub console: ConsoleName,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("listen", &self.listen).field("allow_remote", &self.allow_remote).finish()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(
        "{listen} is reached from other machines, and this version speaks no TLS: listen on 127.0.0.1, or say --allow-remote behind a proxy that does"
    )]
    NotLoopback { listen: SocketAddr },
    #[error("the token has fewer than {TOKEN_BYTES_MIN} bytes; a longer one cannot be guessed")]
    TokenTooShort,
    #[error("cannot listen on {listen}: {source}")]
    Listen { listen: SocketAddr, source: io::Error },
}

/// Listens at once; the task ends after `stop`, when open connections have ended or had their time.
pub async fn serve(
    config: Config,
    records: Records,
    dispatcher: Arc<Dispatcher>,
    queue: Arc<dyn Queue>,
    stop: CancellationToken,
) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let listen = config.listen;
    if !config.allow_remote && !listen.ip().is_loopback() {
        return Err(ServeError::NotLoopback { listen }.into());
    }
    if config.token.len() < TOKEN_BYTES_MIN {
        return Err(ServeError::TokenTooShort.into());
    }
    let listener = TcpListener::bind(listen).await.map_err(|source| ServeError::Listen { listen, source })?;
    let address = listener.local_addr().map_err(|source| ServeError::Listen { listen, source })?;
    let router = router(Tools { records, dispatcher, queue, console: config.console }, Token::new(&config.token));
    Ok((address, tokio::spawn(accept(listener, router, stop))))
}

async fn accept(listener: TcpListener, router: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = next(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                connections.spawn(converse(stream, router.clone(), place, stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    if tokio::time::timeout(DRAIN_TIME_MAX, connections.wait()).await.is_err() {
        tracing::debug!("connections were open when the API ended");
    }
}

/// Waits for a place first: whoever is one too many waits in the listener's own line.
async fn next(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

async fn converse(stream: TcpStream, router: Router, place: OwnedSemaphorePermit, stop: CancellationToken) {
    let _place = place;
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(DRAIN_TIME_MAX, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection broke");
    }
}

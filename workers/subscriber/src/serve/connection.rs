//! Connections of children: how many, how long, and how they end. It knows no content.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, to_bytes};
use axum::http::request::Parts;
use axum::http::{Request, Response};
use blobs::signed::Unsigned;
use blobs::wire;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use schemas::Priority;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ServeLimits;
use super::content::{Content, Route};
use super::gate::Gate;
use super::outflow::Outflow;
use super::refusal::Refusal;
use super::stall::Stallable;

/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Pause after a failed accept: out of descriptors, it would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub struct Acceptor {
    pub gate: Gate,
    pub content: Content,
    pub limits: ServeLimits,
    pub outflow: Outflow,
}

pub async fn accept(listener: TcpListener, acceptor: Arc<Acceptor>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(acceptor.limits.connections_max));
    let connections = TaskTracker::new();
    let cut_off = CancellationToken::new();
    while let Some((socket, place)) = next(&listener, &places, &stop).await {
        let connection = connection(socket, acceptor.clone(), stop.clone());
        let cut_off = cut_off.clone();
        connections.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = cut_off.cancelled() => {}
            }
            drop(place);
        });
    }
    connections.close();
    let _ = timeout(acceptor.limits.drain_max, connections.wait()).await;
    cut_off.cancel();
    connections.wait().await;
}

/// The next connection that there is a place for; `None` when the server stops.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            Ok::<_, io::Error>((socket, place))
        };
        let fault = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            accepted = accepted => match accepted {
                Ok(accepted) => return Some(accepted),
                Err(fault) => fault,
            },
        };
        tracing::warn!(%fault, "a child's connection was not accepted");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

async fn connection(socket: TcpStream, acceptor: Arc<Acceptor>, stop: CancellationToken) {
    let limits = acceptor.limits;
    let service = service_fn(move |request| {
        let acceptor = acceptor.clone();
        async move { Ok::<_, Infallible>(acceptor.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_max)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Stallable::new(socket, limits.stall_max)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(fault) = ended {
        tracing::debug!(%fault, "a child's connection broke off");
    }
}

impl Acceptor {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        self.answered(&head, body).await.unwrap_or_else(|refusal| {
            tracing::debug!(method = %head.method, path = head.uri.path(), ?refusal, "refused");
            refusal.answer()
        })
    }

    /// Nothing about content is said before the request is known to be a child's.
    async fn answered(&self, head: &Parts, body: Incoming) -> Result<Response<Body>, Refusal> {
        let now_ms = now_ms()?;
        let candidate = match self.gate.candidate(head, now_ms) {
            Err(Unsigned::UnknownChild) => {
                self.gate.await_known(head, self.limits.stranger_max).await;
                self.gate.candidate(head, now_ms)?
            }
            known => known?,
        };
        let body = self.read(body).await?;
        let child = self.gate.admit(candidate, head, &body, now_ms)?;
        let route = Route::of(head, &body)?;
        let place = self.outflow.place(&child, self.limits.place_max).await?;
        let answer = self.content.answer(route, child).await?;
        Ok(self.outflow.pass(answer, priority(head), place))
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, Refusal> {
        let read = timeout(self.limits.request_max, to_bytes(Body::new(body), wire::REQUEST_BYTES_MAX)).await;
        read.map_err(|_| Refusal::TooSlow)?.map_err(|_| Refusal::TooLarge)
    }
}

/// What is not said is medium: a priority only picks a rate.
fn priority(head: &Parts) -> Priority {
    let word = head.headers.get(wire::PRIORITY_HEADER).and_then(|word| word.to_str().ok());
    word.and_then(wire::parse_priority).unwrap_or_default()
}

/// A clock before 1970 proves nothing: nobody is let in.
fn now_ms() -> Result<u64, Unsigned> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Unsigned::Skewed)?;
    Ok(since.as_millis() as u64)
}

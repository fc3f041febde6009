//! One connection that is made again for ever. It knows no queues.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::AmqpConfig;
use super::convert;
use crate::QueueError;

/// Longest pause between two attempts to connect.
const PAUSE_MAX: Duration = Duration::from_secs(5);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// How often the connection's state is looked at, whatever events say.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) struct Link {
    role: &'static str,
    uri: AMQPUri,
    name: String,
    pub operation_timeout: Duration,
    connect_timeout: Duration,
    live: watch::Sender<Option<Arc<Live>>>,
    pub closed: CancellationToken,
    tasks: TaskTracker,
}

/// A connection while it lives.
pub(super) struct Live {
    pub connection: Connection,
    /// Why the broker takes nothing just now.
    pub blocked: watch::Sender<Option<String>>,
    /// Cancelled when the connection is gone.
    pub lost: CancellationToken,
    operation_timeout: Duration,
    /// For short errands; an errand that fails closes it.
    errands: Mutex<Option<Channel>>,
}

impl Link {
    pub fn start(role: &'static str, uri: AMQPUri, config: &AmqpConfig, closed: CancellationToken) -> Arc<Link> {
        let link = Arc::new(Link {
            role,
            uri,
            name: format!("{} ({role})", config.name),
            operation_timeout: config.operation_timeout,
            connect_timeout: config.connect_timeout,
            live: watch::channel(None).0,
            closed,
            tasks: TaskTracker::new(),
        });
        link.tasks.spawn(link.clone().supervise());
        link.tasks.close();
        link
    }

    /// The connection, waited for up to the operation's time-out.
    pub async fn live(&self) -> Result<Arc<Live>, QueueError> {
        if self.closed.is_cancelled() {
            return Err(QueueError::Closed);
        }
        let mut live = self.live.subscribe();
        let found = async { live.wait_for(Option::is_some).await.ok().and_then(|live| live.clone()) };
        tokio::select! {
            () = self.closed.cancelled() => Err(QueueError::Closed),
            found = timeout(self.operation_timeout, found) => match found {
                Ok(Some(live)) => Ok(live),
                _ => Err(QueueError::Unavailable {
                    reason: format!("no connection to {}:{}", self.uri.authority.host, self.uri.authority.port),
                }),
            },
        }
    }

    /// Notices each new connection.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Live>>> {
        self.live.subscribe()
    }

    /// Resolves when the link was closed and its connection has ended.
    pub async fn ended(&self) {
        self.tasks.wait().await;
    }

    async fn supervise(self: Arc<Self>) {
        let mut pause = PAUSE_FIRST;
        while !self.closed.is_cancelled() {
            let connected = tokio::select! {
                () = self.closed.cancelled() => break,
                connected = timeout(self.connect_timeout, self.connect()) => connected,
            };
            match connected {
                Ok(Ok(connection)) => {
                    pause = PAUSE_FIRST;
                    self.serve(connection).await;
                }
                Ok(Err(error)) => self.tell(&convert::text(&error)),
                Err(_) => self.tell("it did not answer in time"),
            }
            tokio::select! {
                () = self.closed.cancelled() => break,
                () = sleep(pause.mul_f64(jitter())) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn connect(&self) -> lapin::Result<Connection> {
        let properties = ConnectionProperties::default().with_connection_name(self.name.as_str().into());
        Connection::connect_uri(self.uri.clone(), properties).await
    }

    async fn serve(&self, connection: Connection) {
        tracing::info!(role = self.role, "connected to the broker");
        let mut events = Box::pin(connection.events_listener());
        let live = Arc::new(Live {
            connection,
            blocked: watch::channel(None).0,
            lost: CancellationToken::new(),
            operation_timeout: self.operation_timeout,
            errands: Mutex::new(None),
        });
        self.live.send_replace(Some(live.clone()));
        while live.connection.status().connected() && !self.closed.is_cancelled() {
            tokio::select! {
                () = self.closed.cancelled() => {}
                () = sleep(LOOK_EVERY) => {}
                event = events.next() => self.notice(&live, event).await,
            }
        }
        self.live.send_replace(None);
        live.lost.cancel();
        if self.closed.is_cancelled() {
            let _ = timeout(CLOSE_TIMEOUT, live.connection.close(200, "closing".into())).await;
        } else {
            tracing::warn!(role = self.role, "the connection to the broker is lost");
        }
    }

    async fn notice(&self, live: &Live, event: Option<Event>) {
        match event {
            Some(Event::ConnectionBlocked(reason)) => {
                tracing::error!(role = self.role, %reason, "the broker blocks this connection: it takes nothing now");
                live.blocked.send_replace(Some(reason));
            }
            Some(Event::ConnectionUnblocked) => {
                tracing::info!(role = self.role, "the broker takes messages again");
                live.blocked.send_replace(None);
            }
            Some(Event::Error(error)) => {
                tracing::debug!(role = self.role, error = %convert::text(&error), "broker error")
            }
            Some(_) => {}
            // No more events; the state is looked at all the same.
            None => sleep(LOOK_EVERY).await,
        }
    }

    fn tell(&self, reason: &str) {
        let (host, port) = (&self.uri.authority.host, self.uri.authority.port);
        tracing::warn!(role = self.role, %host, port, reason, "cannot connect to the broker; trying again");
    }
}

impl Live {
    /// Runs a short errand on a channel of its own kind; one at a time, within the operation's time-out.
    pub async fn with_channel<T>(
        &self,
        errand: impl AsyncFnOnce(&Channel) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let run = async {
            let mut kept = self.errands.lock().await;
            // Taken out, so that an errand that is dropped half-way leaves no channel with an answer outstanding.
            let channel = match kept.take().filter(|channel| channel.status().connected()) {
                Some(channel) => channel,
                None => self.connection.create_channel().await.map_err(convert::error)?,
            };
            let result = errand(&channel).await;
            if result.is_ok() {
                *kept = Some(channel);
            }
            result
        };
        match timeout(self.operation_timeout, run).await {
            Ok(result) => result,
            Err(_) => Err(QueueError::Unavailable { reason: "the broker did not answer in time".to_owned() }),
        }
    }
}

/// 0.5 to 1, so that many clients of a restarted broker do not come back in step.
fn jitter() -> f64 {
    0.5 + f64::from(uuid::Uuid::now_v7().as_bytes()[15]) / 510.0
}

//! The server of a parent: it gives the origin's keys from the store to its children, and reads through, once for all
//! who ask, what the store lacks. It knows no job; who its children are it is told.

mod children;
mod connection;
mod content;
mod gate;
mod in_hand;
mod known;
mod outflow;
mod places;
mod read_through;
mod reading;
mod refusal;
mod stall;
mod upstreams;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schemas::SubscriberName;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

pub use crate::space::Floor;

pub use children::{Children, InvalidChildKey};
pub use outflow::Outflow;
#[doc(hidden)]
pub use reading::read_request;
pub use upstreams::Upstreams;

use connection::Acceptor;
use content::Content;
use gate::Gate;

#[derive(Debug, Clone)]
pub struct ServeConfig {
    pub listen: SocketAddr,
    /// This site: children sign for it, so it must be what they call their parent.
    pub name: SubscriberName,
    pub limits: ServeLimits,
    /// How many children, and how fast: changes while it serves.
    pub outflow: Outflow,
    /// What must stay free where the store lies: changes too.
    pub floor: Floor,
}

#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// Above it, who connects waits.
    pub connections_max: usize,
    /// A request's head and body must be there within it; a connection without a request is closed after it.
    pub request_max: Duration,
    /// A child whose key has not come yet is waited for so long: control brings it within a second or two.
    pub stranger_max: Duration,
    /// A child that takes no byte for so long is cut off.
    pub stall_max: Duration,
    /// A child for which there is no place waits so long, and is then told to come again.
    pub place_max: Duration,
    /// What requests under way get to end when the server stops.
    pub drain_max: Duration,
}

impl Default for ServeLimits {
    fn default() -> ServeLimits {
        ServeLimits {
            connections_max: 512,
            request_max: Duration::from_secs(20),
            stranger_max: Duration::from_secs(3),
            stall_max: Duration::from_secs(60),
            place_max: Duration::from_secs(3),
            drain_max: Duration::from_secs(5),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen} for children: {source}")]
pub struct ServeError {
    pub listen: SocketAddr,
    pub source: io::Error,
}

/// Serves until `stop` is cancelled. It listens when this returns.
pub async fn serve(
    config: ServeConfig,
    store: Arc<Store>,
    children: Children,
    upstreams: Upstreams,
    stop: CancellationToken,
) -> Result<Serving, ServeError> {
    let failed = |source| ServeError { listen: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let served = Served::default();
    let acceptor = Acceptor {
        gate: Gate::new(config.name, children),
        content: Content::new(store, upstreams, served.clone(), config.floor),
        limits: config.limits,
        outflow: config.outflow,
    };
    let task = tokio::spawn(connection::accept(listener, Arc::new(acceptor), stop));
    Ok(Serving { addr, served, task })
}

#[derive(Debug)]
pub struct Serving {
    addr: SocketAddr,
    served: Served,
    task: JoinHandle<()>,
}

impl Serving {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Bytes of content handed to each child since the start.
    pub fn served_bytes(&self) -> BTreeMap<SubscriberName, u64> {
        self.served.lock().clone()
    }

    /// Returns when the last request has ended, or the time for that is over.
    pub async fn ended(self) {
        if let Err(fault) = self.task.await {
            tracing::error!(%fault, "the server for children ended badly");
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Served(Arc<Mutex<BTreeMap<SubscriberName, u64>>>);

impl Served {
    fn count(&self, child: &SubscriberName, bytes: usize) {
        let mut served = self.lock();
        match served.get_mut(child) {
            Some(total) => *total += bytes as u64,
            None => drop(served.insert(child.clone(), bytes as u64)),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<SubscriberName, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

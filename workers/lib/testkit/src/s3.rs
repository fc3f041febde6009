//! An S3 server on loopback, over a directory: for tests and development only (it syncs nothing to disk).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow};
use blobs::{S3Config, S3Credentials};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

/// What requests under way get to end.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// A server in this process, on a directory of its own; both are gone when it is dropped.
#[derive(Debug)]
pub struct S3Server {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _root: TempDir,
}

pub const ACCESS_KEY: &str = "test-access";
pub const SECRET_KEY: &str = "test-secret";

/// It runs on a thread of its own, so that a test that blocks does not stop it.
pub fn spawn() -> anyhow::Result<S3Server> {
    let root = tempfile::tempdir()?;
    let service = service(root.path(), ACCESS_KEY, SECRET_KEY)?;
    let (stop, stopped) = oneshot::channel();
    let (bound, binding) = mpsc::channel();
    let thread = std::thread::Builder::new().name("s3-server".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
            let _ = bound.send(listener.local_addr().expect("a bound port"));
            serve(listener, service, async { drop(stopped.await) }).await;
        });
    })?;
    let addr = binding.recv().context("the S3 server did not start")?;
    Ok(S3Server { addr, stop: Some(stop), thread: Some(thread), _root: root })
}

impl S3Server {
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How to reach it; the bucket is made by `ensure_bucket`.
    pub fn config(&self, bucket: &str) -> S3Config {
        let credentials = Some(S3Credentials::new(ACCESS_KEY, SECRET_KEY));
        S3Config { endpoint: Some(self.url()), credentials, ..S3Config::new(bucket) }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn service(root: &Path, access_key: &str, secret_key: &str) -> anyhow::Result<S3Service> {
    let files = s3s_fs::FileSystem::new(root).map_err(|fault| anyhow!("{}: {fault:?}", root.display()))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
    Ok(builder.build())
}

/// Serves until `stop` ends, then lets requests under way end.
pub async fn serve(listener: TcpListener, service: S3Service, stop: impl Future<Output = ()>) {
    let (stopping, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            accepted = accept(&listener) => match accepted {
                Ok(socket) => drop(connections.spawn(connection(socket, service.clone(), stopped.clone()))),
                Err(fault) => tracing::warn!(%fault, "a connection was not accepted"),
            },
            Some(_) = connections.join_next() => {}
            () = &mut stop => break,
        };
    }
    drop(stopping);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN_MAX, drained).await;
}

async fn connection(socket: TcpStream, service: S3Service, mut stopped: watch::Receiver<()>) {
    let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = &mut connection => return,
        _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Without TCP_NODELAY every small answer waits 40 ms for the client's acknowledgement.
async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (socket, _) = listener.accept().await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

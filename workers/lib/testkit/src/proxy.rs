//! A TCP proxy on loopback that cuts its connections, falls silent without closing them, or lets nobody in. It knows no protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub struct Proxy {
    address: SocketAddr,
    orders: Arc<Orders>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Orders {
    cut: Notify,
    silence: Notify,
    shut: AtomicBool,
}

impl Proxy {
    /// `to` is `host:port`.
    pub async fn start(to: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let address = listener.local_addr().expect("it is bound");
        let orders = Arc::new(Orders::default());
        let accepting = tokio::spawn(accept(listener, to.to_owned(), orders.clone()));
        Proxy { address, orders, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the connections of this moment; new ones pass.
    pub fn cut(&self) {
        self.orders.cut.notify_waiters();
    }

    /// Closes all connections, and each new one at once, until `open`.
    pub fn shut(&self) {
        self.orders.shut.store(true, SeqCst);
        self.cut();
    }

    pub fn open(&self) {
        self.orders.shut.store(false, SeqCst);
    }

    /// The connections of this moment pass nothing any more and stay open; new ones pass.
    pub fn silence(&self) {
        self.orders.silence.notify_waiters();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, to: String, orders: Arc<Orders>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(pass(client, to.clone(), orders.clone()));
    }
}

async fn pass(mut client: TcpStream, to: String, orders: Arc<Orders>) {
    let cut = orders.cut.notified();
    if orders.shut.load(SeqCst) {
        return;
    }
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let silent = tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => false,
        () = cut => false,
        () = orders.silence.notified() => true,
    };
    if silent {
        std::future::pending::<()>().await;
    }
}

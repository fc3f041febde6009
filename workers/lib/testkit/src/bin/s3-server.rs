//! `s3-server`: the testkit's S3 server as a process. It prints its address when it can be used, and ends on SIGTERM.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(about = "An S3 server over a directory, for tests and development")]
struct Arguments {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Made if it is not there; a bucket is a folder in it.
    #[arg(long)]
    root: PathBuf,
    #[arg(long, env = "TIDEGATE_S3_ACCESS_KEY")]
    access_key: String,
    #[arg(long, env = "TIDEGATE_S3_SECRET_KEY", hide_env_values = true)]
    secret_key: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let root = arguments.root;
    std::fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let service = testkit::s3::service(&root, &arguments.access_key, &arguments.secret_key)?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listen = arguments.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    println!("http://{}", listener.local_addr()?);
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    testkit::s3::serve(listener, service, stop).await;
    Ok(())
}

//! The S3 server as a process: its address, its keys, its end.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use blobs::{Blobs, Key, ReadBlobs, S3Blobs, S3Config, S3Credentials};
use schemas::Digest;
use testkit::blobs_suite::new_store;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn it_prints_its_address_keeps_objects_and_ends_on_sigterm() {
    let root = tempfile::tempdir().unwrap();
    let body = bytes::Bytes::from_static(b"kept");
    let key = Key::pack(new_store(), Digest::of(&body));
    for first in [true, false] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3-server"));
        command.args(["--root".as_ref(), root.path().join("s3").as_os_str()]);
        command.env("TIDEGATE_S3_ACCESS_KEY", "access").env("TIDEGATE_S3_SECRET_KEY", "secret");
        let mut server = Running(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut url = String::new();
        BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut url).unwrap();

        let (endpoint, credentials) = (url.trim().to_owned(), S3Credentials::new("access", "secret"));
        let config = S3Config { endpoint: Some(endpoint), credentials: Some(credentials), ..S3Config::new("origin") };
        let origin = S3Blobs::open(config).await;
        origin.ensure_bucket().await.unwrap();
        if first {
            origin.put(&key, body.clone()).await.unwrap();
        }
        assert_eq!(origin.get(&key, 100).await.unwrap(), body);

        let told = Command::new("kill").args(["-TERM", &server.0.id().to_string()]).status().unwrap();
        assert!(told.success());
        let ended = tokio::task::spawn_blocking(move || server.0.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "{ended}");
    }
}

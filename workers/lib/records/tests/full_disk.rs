//! A disk that is full is an outage: what is to be written waits, and goes on when there is room. On SQLite alone: a server's disk is
//! not ours to fill.

#[allow(dead_code)]
mod suite;

use records::RecordsError;
use schemas::{Request, RequestId, RequestKind};
use suite::{FLEET, Scene};
use uuid::Uuid;

const ROUNDS: usize = 3;

impl Scene {
    /// Until the pages that are free are used up.
    async fn fill(&self) -> RecordsError {
        self.force("PRAGMA max_page_count = 1").await;
        loop {
            let request = Request::new(RequestId(Uuid::now_v7()), RequestKind::Send);
            if let Err(error) = self.records.accept(&[request], "test").await {
                return error;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_the_disk_full_may_be_tried_again_and_is_kept_when_there_is_room() {
    let scene = Scene::sqlite().await;
    scene.apply(FLEET).await;
    for _ in 0..ROUNDS {
        let error = scene.fill().await;
        assert!(error.is_transient(), "{error}");
        scene.force("PRAGMA max_page_count = 1000000").await;
        let request = scene.request().await;
        let seen = format!("SELECT COUNT(*) FROM requests WHERE id = '{request}'");
        assert_eq!(scene.number(&seen).await, 1, "by another connection");
    }
    scene.end().await;
}

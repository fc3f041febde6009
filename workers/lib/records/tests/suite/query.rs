use super::{FLEET, Scene};

pub async fn a_query_cannot_write(scene: &Scene) {
    scene.apply(FLEET).await;
    for sql in [
        "DELETE FROM tide_objects",
        "UPDATE tide_meta SET number = 0",
        "DROP VIEW deliveries",
        "SELECT 1; DELETE FROM tide_objects",
        "COMMIT; DELETE FROM tide_objects",
    ] {
        let _ = scene.records.query(sql).await;
        assert_eq!(scene.number("SELECT COUNT(*) FROM subscribers").await, 3, "{sql}");
    }
    assert!(scene.records.query("SELECT nothing FROM nowhere").await.is_err());
}

pub async fn every_view_can_be_read(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    let views = [
        "jobs", "requests", "waits", "lanes", "job_history", "revisions", "deliveries", "failures", "installed", "subscribers",
        "channels", "schedules", "occurrences", "dead_letters",
    ];
    for view in views {
        let rows = scene.records.query(&format!("SELECT * FROM {view}")).await.unwrap_or_else(|e| panic!("{view}: {e}"));
        assert!(!rows.columns.is_empty(), "{view}");
    }
    for name in ["jobs", "deliveries", "lanes", "schedules", "subscribers", "channels", "revisions", "failures", "requests", "dead-letters"] {
        let sheet = records::Sheet::parse(name).unwrap();
        scene.records.sheet(sheet).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

pub async fn migrations_run_down_and_up_again(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.records.migrate_down().await.unwrap();
    assert!(scene.records.query("SELECT * FROM jobs").await.is_err());
    scene.records.migrate().await.unwrap();
    assert_eq!(scene.number("SELECT COUNT(*) FROM jobs").await, 0);
}

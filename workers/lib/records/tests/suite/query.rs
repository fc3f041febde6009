use super::{FLEET, Scene};
use records::Records;

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
        "jobs",
        "requests",
        "waits",
        "lanes",
        "job_history",
        "revisions",
        "deliveries",
        "failures",
        "installed",
        "subscribers",
        "channels",
        "schedules",
        "occurrences",
        "dead_letters",
        "syncs",
    ];
    for view in views {
        let rows =
            scene.records.query(&format!("SELECT * FROM {view}")).await.unwrap_or_else(|e| panic!("{view}: {e}"));
        assert!(!rows.columns.is_empty(), "{view}");
    }
    for name in [
        "jobs",
        "deliveries",
        "lanes",
        "schedules",
        "subscribers",
        "channels",
        "revisions",
        "failures",
        "requests",
        "dead-letters",
    ] {
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

pub async fn several_that_migrate_at_once_follow_each_other(scene: &Scene) {
    scene.records.migrate_down().await.unwrap();
    let starts = (0..6).map(async |_| {
        let records = Records::open(scene.records.url()).await?;
        let migrated = records.migrate().await;
        records.close().await;
        migrated
    });
    for migrated in futures::future::join_all(starts).await {
        migrated.unwrap();
    }
    assert_eq!(scene.number("SELECT COUNT(*) FROM jobs").await, 0);
}

const DOCUMENT: &str = include_str!("../../../../../docs/results.md");

pub async fn the_documented_queries_run(scene: &Scene) {
    scene.apply(FLEET).await;
    scene.revision("antivirus", 1).await;
    let queries: Vec<&str> = DOCUMENT.split("```sql\n").skip(1).filter_map(|part| part.split("```").next()).collect();
    assert!(queries.len() >= 10, "{} queries", queries.len());
    for sql in queries {
        scene.records.query(sql).await.unwrap_or_else(|e| panic!("{sql}\n{e}"));
    }
}

/// Under a heading that names a view, the first column of its table lists all of the view's columns and no others.
pub async fn every_column_is_documented(scene: &Scene) {
    let mut documented = std::collections::BTreeMap::<String, std::collections::BTreeSet<String>>::new();
    let (mut views, mut table) = (Vec::new(), 0);
    for line in DOCUMENT.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            views = heading.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            table = 0;
        } else if line == "| column | meaning |" {
            table += 1;
        } else if let Some(row) = line.strip_prefix("| ").filter(|_| table > 0) {
            let columns = row.split(" |").next().unwrap_or_default();
            let view = &views[table - 1];
            documented.entry(view.clone()).or_default().extend(columns.split(", ").map(str::to_owned));
        }
    }
    assert_eq!(documented.len(), 17);
    for (view, columns) in documented {
        let found = scene.records.query(&format!("SELECT * FROM {view}")).await.unwrap().columns;
        let found: std::collections::BTreeSet<String> = found.into_iter().collect();
        assert_eq!(columns, found, "{view}");
    }
}

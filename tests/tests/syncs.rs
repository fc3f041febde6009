//! Syncs and consoles, end to end: `tidegate up` as a person runs it.

use std::path::Path;
use std::time::Duration;

use tests::compare::assert_same;
use tests::definitions::{TwoTiers, source, target};
use tests::process::Process;
use tests::wait::until;
use tests::{Up, tree};

const PATIENCE: Duration = Duration::from_secs(120);

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// A fleet in which nothing happens by itself: paris extracts when it is told, if ever.
fn fleet(folder: &Path) -> String {
    let text = TwoTiers::of(&["engine", "tools"]).yaml(folder);
    let text =
        text.replacen("component: core", "component: patches", 2).replacen("component: patches", "component: core", 1);
    write(folder, "fleet.yaml", &text)
}

#[test]
fn a_sync_brings_its_components_to_a_site_that_subscribes_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut up = Up::start_with(folder.path(), &["--console", "berlin"]);
    let fleet = fleet(folder.path());
    // The relay receives nothing for itself, until a sync says so.
    let text = std::fs::read_to_string(&fleet).unwrap();
    let variables = format!("region: {{ variables: {{ DEST_VOLUME: {}/servers/region }}, ", folder.path().display());
    up.cli.ok(&[
        "apply",
        "-f",
        &write(folder.path(), "fleet.yaml", &text.replace("region: { extract", &format!("{variables}extract"))),
    ]);
    for name in ["engine", "tools"] {
        tree::make(&source(folder.path(), name), 20, 1);
    }
    let syncs = write(
        folder.path(),
        "syncs.yaml",
        "syncs:\n  region-core: { subscriber: region, components: [core], schedule: { every: 1h } }\n",
    );
    up.cli.ok(&["apply", "-f", &syncs]);
    let listed = up.cli.ok(&["schedules"]);
    assert!(listed.contains("sync/region-core") && listed.contains("berlin"), "{listed}");
    assert!(
        up.cli.ok(&["schedule", "explain", "sync/region-core"]).contains("every 1h of elapsed time"),
        "explained in words"
    );
    assert_eq!(
        up.cli.json(&["schedule", "next", "sync/region-core", "--count", "3"])["next"].as_array().unwrap().len(),
        3
    );

    up.cli.wait(&["run", "sync/region-core"]);
    assert_same(&source(folder.path(), "engine"), &target(folder.path(), "region", "engine"));
    assert!(!target(folder.path(), "region", "tools").exists(), "of another component");
    let lanes = up.cli.number("SELECT COUNT(*) FROM jobs WHERE lane = 'site/region/sync' AND state = 'succeeded'");
    assert_eq!(lanes, 2, "a send and an extract in the lane of syncs");
    assert_eq!(up.cli.number("SELECT COUNT(*) FROM deliveries WHERE channel = 'sync' AND state = 'current'"), 1);

    // By its schedule too: an occurrence is made of an instant that has passed.
    tree::change(&source(folder.path(), "engine"), 10, 2);
    let soon = std::fs::read_to_string(&syncs).unwrap().replace("every: 1h", "every: 5s");
    up.cli.ok(&["apply", "-f", &write(folder.path(), "syncs.yaml", &soon)]);
    until("the sync's own occurrence brought the change", PATIENCE, || {
        let current =
            "SELECT COUNT(*) FROM installed WHERE subscriber = 'region' AND distribution = 'engine' AND revision >= 2";
        (up.cli.number(current) == 1).then_some(())
    });
    assert!(up.cli.number("SELECT COUNT(*) FROM occurrences WHERE schedule = 'sync/region-core'") >= 1);

    // A paused lane holds what a sync sends (SPEC §10, 3); a hostile one is refused by its code.
    let (_, told) = up.cli.ends(
        &[
            "apply",
            "-f",
            &write(
                folder.path(),
                "bad.yaml",
                "syncs: { x: { subscriber: ../x, components: [core], schedule: never } }",
            ),
        ],
        1,
    );
    assert!(told.contains("syncs.x.subscriber"), "{told}");

    // Another console comes to the same database: it sees the sync, and may only delete it.
    Process::stop(up.process);
    up = Up::start_with(folder.path(), &["--console", "lima"]);
    let (_, told) = up.cli.ends(&["run", "sync/region-core"], 1);
    assert!(told.contains("belongs to console berlin"), "{told}");
    let (_, told) = up.cli.ends(&["sync", "region", "--components", "core"], 1);
    assert!(told.contains("console berlin syncs `core`"), "{told}");
    let hourly = write(folder.path(), "syncs.yaml", &soon.replace("5s", "2h"));
    let (_, told) = up.cli.ends(&["apply", "-f", &hourly], 1);
    assert!(told.contains("belongs to console berlin"), "{told}");
    up.cli.ok(&["apply", "-f", &fleet, "--prune"]);
    assert_eq!(up.cli.number("SELECT COUNT(*) FROM syncs"), 1, "a prune takes what its console owns");
    up.cli.ok(&["delete", "sync", "region-core"]);
    up.cli.ok(&["apply", "-f", &hourly]);
    up.cli.wait(&["run", "sync/region-core"]);
    assert_eq!(up.cli.query("SELECT console FROM syncs")[0]["console"], "lima");
}

//! `tidegate verify --origin` and `--store` as a person runs them beside a service at work.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::compare::assert_same;
use tests::definitions::{CHANNEL, SITES, TwoTiers, source, target};
use tests::{Up, tree};

const FILES: usize = 200;

struct Stage {
    up: Up,
    // After the process, which works in it.
    folder: tempfile::TempDir,
}

impl Stage {
    /// One revision, delivered.
    fn new() -> Stage {
        let folder = tempfile::Builder::new().prefix("tidegate-verify-").tempdir().unwrap();
        let up = Up::start(folder.path());
        let stage = Stage { up, folder };
        stage.up.cli.ok(&["apply", "-f", &TwoTiers::of(&["files"]).write(stage.folder.path())]);
        tree::make(&stage.source(), FILES, 7);
        stage.deliver();
        stage
    }

    fn restarted(self) -> Stage {
        let Stage { up, folder } = self;
        assert_eq!(up.process.stop(), Some(0));
        Stage { up: Up::start(folder.path()), folder }
    }

    fn deliver(&self) {
        self.up.cli.wait(&["build", "files"]);
        self.up.cli.wait(&["send", CHANNEL]);
        SITES.iter().for_each(|site| assert_same(&self.source(), &target(self.folder.path(), site, "files")));
    }

    fn source(&self) -> PathBuf {
        source(self.folder.path(), "files")
    }

    /// The largest file of a folder below the data directory's only store.
    fn file(&self, place: &str, kind: &str) -> PathBuf {
        let root = self.folder.path().join("data").join(place);
        let stores = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path());
        let store = stores.into_iter().find(|path| path.join(kind).is_dir()).expect("a store");
        let files = fs::read_dir(store.join(kind)).unwrap().map(|entry| entry.unwrap().path());
        files.max_by_key(|path| fs::metadata(path).unwrap().len()).expect("an object")
    }

    fn verify(&self, what: &[&str], code: i32) -> (String, Value) {
        let all = [&["verify"], what].concat();
        let (text, _) = self.up.cli.ends(&all, code);
        let (json, _) = self.up.cli.ends(&[&all[..], &["-o", "json"]].concat(), code);
        (text, serde_json::from_str(&json).unwrap())
    }
}

fn flip_in_the_middle(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_lost_or_damaged_at_the_origin_is_named_with_the_revisions_that_need_it() {
    let stage = Stage::new();
    let (text, json) = stage.verify(&["--origin"], 0);
    assert!(text.starts_with("files: 1 revision, ") && text.trim_end().ends_with(": whole"), "{text}");
    let store = &json["stores"][0];
    assert_eq!((&json["revisions_of"], &store["distribution"]), (&"database".into(), &"files".into()), "{json}");
    assert_eq!((&store["revisions"], &store["damaged"]), (&serde_json::json!([1]), &serde_json::json!([])), "{json}");

    let pack = stage.file("origin", "packs");
    let good = fs::read(&pack).unwrap();
    flip_in_the_middle(&pack);
    let (text, json) = stage.verify(&["--origin", "--distribution", "files"], 1);
    let damaged = &json["stores"][0]["damaged"][0];
    let object = format!("packs/{}", pack.file_name().unwrap().to_str().unwrap());
    assert_eq!((&damaged["object"], &damaged["code"]), (&object.as_str().into(), &"digest-mismatch".into()), "{json}");
    assert_eq!(damaged["revisions"], serde_json::json!([1]), "{json}");
    assert!(text.contains(&object) && text.contains("1 damaged"), "{text}");
    fs::write(&pack, &good).unwrap();

    for (kind, code) in [("headers", "object-absent"), ("indexes", "object-absent"), ("packs", "object-absent")] {
        let path = stage.file("origin", kind);
        let away = path.with_extension("away");
        fs::rename(&path, &away).unwrap();
        let (_, json) = stage.verify(&["--origin"], 1);
        let damaged = json["stores"][0]["damaged"].as_array().unwrap();
        assert!(
            damaged.iter().any(|one| one["code"] == code && one["object"].as_str().unwrap().starts_with(kind)),
            "{json}"
        );
        fs::rename(&away, &path).unwrap();
    }

    fs::write(pack.with_file_name("ab".repeat(32)), b"left behind").unwrap();
    let (text, json) = stage.verify(&["--origin"], 0);
    assert!(text.contains("whole; 1 orphan, 11 B"), "{text}");
    assert_eq!(json["stores"][0]["orphans"], serde_json::json!({ "objects": 1, "bytes": 11 }));

    let unknown = stage.up.cli.ends(&["verify", "--origin", "--distribution", "nobodys"], 2).1;
    assert!(unknown.contains("`nobodys` is not at the origin"), "{unknown}");
    let nowhere = stage.up.cli.ends(&["verify", "--origin", "--storage", "/nowhere/at/all"], 2).1;
    assert!(nowhere.contains("there is no such directory"), "{nowhere}");
    // A storage without a database: what is there counts, by the ids of stores.
    let origin = stage.folder.path().join("data/origin");
    let (text, json) = stage.verify(&["--origin", "--storage", origin.to_str().unwrap()], 0);
    assert_eq!(json["revisions_of"], "storage", "{json}");
    assert!(text.contains("1 revision"), "{text}");
}

#[test]
fn what_is_damaged_in_a_sites_store_is_dropped_beside_the_running_site_and_fetched_again_after_a_restart() {
    let stage = Stage::new();
    let (_, json) = stage.verify(&["--store"], 0);
    let of_region = |json: &Value| -> Value {
        let sites = json["sites"].as_array().unwrap();
        let is_region = |site: &&Value| site["work_dir"].as_str().unwrap().ends_with("/region");
        sites.iter().find(is_region).expect("the relay's store")["stores"][0].clone()
    };
    let frames = of_region(&json)["frames"].as_u64().unwrap();
    assert!(frames > 0, "{json}");

    flip_in_the_middle(&stage.file("sites/region/store", "packs"));
    let (text, json) = stage.verify(&["--store"], 1);
    assert!(text.contains("chunk-corrupt") && text.contains("--drop has it fetched again"), "{text}");
    let store = of_region(&json);
    assert_eq!((&store["damaged"][0]["dropped"], &store["frames"]), (&false.into(), &(frames - 1).into()), "{store}");

    let (dropped, _) = stage.up.cli.ends(&["verify", "--store", "--drop"], 1);
    assert!(dropped.contains("1 damaged, dropped"), "{dropped}");
    let (_, json) = stage.verify(&["--store"], 0);
    assert_eq!(of_region(&json)["frames_absent"], 1, "{json}");

    // A site that did not read the frame knows after its next start.
    let stage = stage.restarted();
    tree::change(&stage.source(), 2, 2);
    stage.deliver();
    let (_, json) = stage.verify(&["--store"], 0);
    assert_eq!(of_region(&json)["frames_absent"], 0, "the relay has it again: {json}");
    stage.verify(&["--origin"], 0);
}

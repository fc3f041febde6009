//! Garbage collection beside builds, deliveries and kills: whatever happens in between, nothing that is live is ever missing, and
//! in the end nothing dead is left, at the origin and at the sites.
//!
//! TIDEGATE_SEED repeats a run's choices, TIDEGATE_ROUNDS says how many.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use package::patch::names_between;
use rustix::process::Signal;
use schemas::{Digest, Header};
use serde_json::Value;
use tests::compare::assert_same;
use tests::definitions::{CHANNEL, TwoTiers, source, target};
use tests::up::data;
use tests::wait::until;
use tests::{Chance, Cli, Up, tree};

const ROUNDS: usize = 24;
const FILES: usize = 120;
/// Of content that comes back: what a build makes of it was condemned or deleted before, or is about to be.
const VARIANTS: usize = 4;
const GRACE: &str = "1s";
const MAX_REVISIONS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(120);
const STORES: [&str; 4] = ["region", "paris", "lyon", "tokyo"];

struct Stage {
    up: Up,
    chance: Chance,
    /// The content that each revision was built from.
    built_from: BTreeMap<u64, usize>,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new(seed: u64) -> Stage {
        let folder = tempfile::Builder::new().prefix("tidegate-retention-").tempdir().unwrap();
        for variant in 0..VARIANTS {
            tree::make(&variant_at(folder.path(), variant), FILES, seed);
            if variant > 0 {
                tree::change(&variant_at(folder.path(), variant), 30, seed + variant as u64);
            }
        }
        let up = start(folder.path());
        let yaml = TwoTiers::of(&["files"]).yaml(folder.path());
        let yaml = yaml.replace("build: never }", &format!("build: never, max_revisions: {MAX_REVISIONS} }}"));
        let file = folder.path().join("fleet.yaml");
        std::fs::write(&file, yaml).unwrap();
        up.cli.ok(&["apply", "-f", file.to_str().unwrap()]);
        Stage { up, chance: Chance::new(seed), built_from: BTreeMap::new(), folder }
    }

    fn cli(&self) -> &Cli {
        &self.up.cli
    }

    /// Another content stands at the source, and is built.
    fn build(&mut self, variant: usize) {
        self.put(variant);
        self.cli().wait(&["build", "files"]);
        let newest = self.cli().number("SELECT COALESCE(MAX(revision), 0) FROM revisions") as u64;
        self.built_from.entry(newest).or_insert(variant);
    }

    fn put(&mut self, variant: usize) {
        self.idle();
        let place = source(self.folder.path(), "files");
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        copy(&variant_at(self.folder.path(), variant), &place);
    }

    /// Nobody waits for it.
    fn build_beside_a_collection(&mut self, variant: usize) {
        self.put(variant);
        self.cli().ok(&["build", "files"]);
        self.cli().ok(&["gc", "--force"]);
    }

    fn kill(&mut self) {
        self.up.process.signal(Signal::KILL);
        until("the end of up", PATIENCE, || self.up.process.status());
        self.up = start(self.folder.path());
    }

    fn act(&mut self) {
        let variant = self.chance.below(VARIANTS);
        match self.chance.below(8) {
            0 | 1 => self.build(variant),
            2 => self.build_beside_a_collection(variant),
            3 | 4 => drop(self.cli().ok(&["send", CHANNEL])),
            5 => drop(self.cli().ok(&["gc"])),
            6 => drop(self.cli().ok(&["gc", "--force"])),
            _ => self.kill(),
        }
    }

    fn kept(&self) -> Vec<(u64, String)> {
        let rows = self.cli().query("SELECT revision, header FROM revisions WHERE state = 'kept' ORDER BY revision");
        let row = |row: &Value| (row["revision"].as_u64().unwrap(), row["header"].as_str().unwrap().to_owned());
        rows.iter().map(row).collect()
    }

    /// What the kept revisions lead to, each object of which is there with its length.
    fn live(&self) -> BTreeSet<PathBuf> {
        let mut live = BTreeSet::new();
        let kept = self.kept();
        live.extend(patches_among(&self.store(), &kept));
        for (number, header) in kept {
            match needed(&self.store(), &header) {
                Ok(objects) => live.extend(objects),
                // It may have been retired just now.
                Err(missing) if self.kept().iter().any(|(kept, _)| *kept == number) => {
                    panic!("revision {number} is kept, and {missing}")
                }
                Err(_) => {}
            }
        }
        live
    }

    /// The distribution's folder at the origin.
    fn store(&self) -> PathBuf {
        let origin = data(self.folder.path()).join("origin");
        let entries = std::fs::read_dir(&origin).unwrap().flatten();
        let folders: Vec<_> = entries.filter(|e| !e.file_name().to_string_lossy().starts_with('.')).collect();
        assert!(folders.len() <= 1, "one distribution, one store");
        folders.first().map_or(origin.join("none yet"), |entry| entry.path())
    }

    /// The distribution's folder at a site.
    fn store_at(&self, site: &str) -> PathBuf {
        data(self.folder.path()).join("sites").join(site).join("store").join(self.store().file_name().unwrap())
    }

    fn idle(&self) {
        let open = "SELECT COUNT(*) FROM jobs WHERE state IN ('waiting', 'queued', 'running')";
        until("the end of every job", PATIENCE, || (self.cli().number(open) == 0).then_some(()));
    }
}

#[test]
fn nothing_live_is_ever_missing_and_nothing_dead_is_left() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("TIDEGATE_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let rounds = number("TIDEGATE_ROUNDS").map_or(ROUNDS, |n| n as usize);
    println!("TIDEGATE_SEED={seed} TIDEGATE_ROUNDS={rounds}");
    let mut stage = Stage::new(seed);
    // More than are kept, whatever chance does then.
    for variant in 0..VARIANTS {
        stage.build(variant);
    }
    for _ in 0..rounds {
        stage.act();
        stage.live();
    }
    stage.idle();
    let failed = stage.cli().query("SELECT kind, error_code, error FROM jobs WHERE state = 'failed'");
    assert!(failed.is_empty(), "{failed:?}");
    every_kept_revision_can_be_installed(&stage);
    nothing_dead_is_left(&stage);
    nothing_is_left_of_a_deleted_distribution(&stage);
    let again = "SELECT COUNT(*) FROM job_history WHERE event = 'retry' AND detail LIKE '%content-condemned%'";
    let retired = "SELECT COUNT(*) FROM revisions WHERE state = 'retired'";
    let (again, retired) = (stage.cli().number(again), stage.cli().number(retired));
    println!("{retired} revisions retired; {again} builds were refused for what may have been deleted");
    assert!(retired > 0);
}

fn every_kept_revision_can_be_installed(stage: &Stage) {
    for (number, _) in stage.kept() {
        let revision = number.to_string();
        let back = ["rollback", "paris", "files", "--revision", &revision, "--wait", "--timeout", "120s"];
        if !stage.cli().run(&back).status.success() {
            // What only paris held may retire while paris goes to another one.
            assert!(!stage.kept().iter().any(|(kept, _)| *kept == number), "{number} is kept and cannot be installed");
            continue;
        }
        let Some(variant) = stage.built_from.get(&number) else { continue };
        let built_from = variant_at(stage.folder.path(), *variant);
        assert_same(&built_from, &target(stage.folder.path(), "paris", "files"));
    }
}

/// Sites that have the newest hold no more than they may; then the origin holds what they and the rule keep, and no object more. Nobody
/// asks for a collection: it happens by itself.
fn nothing_dead_is_left(stage: &Stage) {
    stage.cli().wait(&["send", CHANNEL]);
    stage.cli().wait(&["extract", "paris"]);
    stage.idle();
    for site in STORES {
        let store = stage.store_at(site);
        let held = || std::fs::read_dir(store.join("headers")).map(Iterator::count);
        until(&format!("no more than {MAX_REVISIONS} revisions and the installed one at {site}"), PATIENCE, || {
            (held().is_ok_and(|count| count <= MAX_REVISIONS + 1)).then_some(())
        });
        until(&format!("nothing that no header at {site} leads to"), PATIENCE, || {
            unled_to(&store).is_empty().then_some(())
        });
    }
    let all_gone = || {
        let condemned = stage.cli().number("SELECT COUNT(*) FROM garbage WHERE state <> 'deleted'");
        let (live, there) = (stage.live(), objects(&stage.store()));
        (condemned == 0 && live == there).then_some(())
    };
    let begun = std::time::Instant::now();
    while all_gone().is_none() {
        if begun.elapsed() > PATIENCE {
            let (live, there) = (stage.live(), objects(&stage.store()));
            let dead: Vec<_> = there.difference(&live).collect();
            panic!("left: {dead:?}\n{}", stage.cli().ok(&["gc", "--dry-run"]));
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(stage.kept().len() <= 2 * MAX_REVISIONS + STORES.len(), "{:?}", stage.kept());
}

/// What was extracted stays.
fn nothing_is_left_of_a_deleted_distribution(stage: &Stage) {
    let (origin, target) = (stage.store(), target(stage.folder.path(), "paris", "files"));
    let files = std::fs::read_dir(&target).unwrap().count();
    let stores: Vec<PathBuf> = STORES.iter().map(|site| stage.store_at(site)).chain([origin]).collect();
    let without = TwoTiers::of(&[]).write(stage.folder.path());
    stage.cli().ok(&["apply", "-f", &without, "--prune"]);
    for store in stores {
        until(&format!("nothing in {}", store.display()), PATIENCE, || objects(&store).is_empty().then_some(()));
    }
    assert!(files > 0 && std::fs::read_dir(&target).unwrap().count() == files);
}

/// Indexes and packs of a site that none of its headers names.
fn unled_to(store: &Path) -> BTreeSet<PathBuf> {
    let headers = std::fs::read_dir(store.join("headers")).unwrap().flatten();
    let headers = headers.filter_map(|entry| serde_json::from_slice::<Header>(&std::fs::read(entry.path()).ok()?).ok());
    let named: BTreeSet<String> = headers
        .flat_map(|header| header.packs.into_iter().map(|pack| pack.digest).chain([header.index.digest]))
        .map(|digest| digest.to_string())
        .collect();
    let mut all = objects(store);
    all.retain(|path| {
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
        let digest = path.file_stem().unwrap_or_default().to_string_lossy();
        (folder == "packs" || folder == "indexes") && !named.contains(&*digest)
    });
    all
}

fn start(folder: &Path) -> Up {
    Up::start_with(folder, &["--gc-grace", GRACE, "--served-kept", GRACE])
}

fn variant_at(folder: &Path, variant: usize) -> PathBuf {
    folder.join("variants").join(variant.to_string())
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// All objects that a header leads to, or what of it is not there.
fn needed(store: &Path, header: &str) -> Result<BTreeSet<PathBuf>, String> {
    let path = store.join("headers").join(header);
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let header: Header = serde_json::from_slice(&bytes).unwrap();
    let index = (store.join("indexes").join(header.index.digest.to_string()), header.index.bytes);
    let packs = header.packs.iter().map(|pack| (store.join("packs").join(pack.digest.to_string()), pack.bytes));
    let mut all = BTreeSet::from([path]);
    for (path, bytes) in packs.chain([index]) {
        match path.metadata() {
            Ok(about) if about.len() == bytes => all.insert(path),
            other => return Err(format!("{} is {other:?}", path.display())),
        };
    }
    Ok(all)
}

/// The patches that lead from one of these revisions to a later one. Nobody misses one that is not there.
fn patches_among(store: &Path, kept: &[(u64, String)]) -> BTreeSet<PathBuf> {
    let index = |header: &String| {
        let bytes = std::fs::read(store.join("headers").join(header)).ok()?;
        Some(serde_json::from_slice::<Header>(&bytes).unwrap().index.digest)
    };
    let indexes: Vec<Digest> = kept.iter().filter_map(|(_, header)| index(header)).collect();
    let from = |at: usize| indexes[at + 1..].iter().map(move |new| (at, *new));
    (0..indexes.len())
        .flat_map(from)
        .flat_map(|(base, new)| names_between(indexes[base], new))
        .map(|name| store.join("patches").join(name.to_string()))
        .filter(|path| path.exists())
        .collect()
}

fn objects(store: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    for kind in std::fs::read_dir(store).into_iter().flatten().flatten() {
        all.extend(std::fs::read_dir(kind.path()).into_iter().flatten().flatten().map(|entry| entry.path()));
    }
    all
}

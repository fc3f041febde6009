//! Who may import whom (docs/architecture.md), and that documents name only what exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::program::repository;

const ROLES: [&str; 6] = ["scheduler", "builder", "subscriber", "recorder", "api", "cli"];
const LIBRARIES: [&str; 7] = ["domain", "package", "queue", "blobs", "records", "dispatch", "worker"];

/// Crate → the crates of this repository that it may import.
fn arrows() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
    let mut all = BTreeMap::from([
        ("schemas", set(&[])),
        ("migrations", set(&[])),
        ("domain", set(&["schemas"])),
        ("package", set(&["schemas"])),
        ("queue", set(&["schemas"])),
        ("blobs", set(&["schemas"])),
        ("records", set(&["domain", "schemas", "migrations"])),
        ("dispatch", set(&["queue", "records", "schemas"])),
        ("worker", set(&["queue", "schemas"])),
    ]);
    let of_role: BTreeSet<_> = LIBRARIES.into_iter().chain(["schemas"]).collect();
    for role in ROLES {
        all.insert(role, of_role.clone());
    }
    all.insert("cli", of_role.into_iter().chain(ROLES).filter(|name| *name != "cli").collect());
    all
}

/// Crate → everything that it imports in any of its features; what only its tests import is left out.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(repository())
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    packages.iter().map(|package| (text(&package["name"]), dependencies(package))).collect()
}

fn dependencies(package: &Value) -> BTreeSet<String> {
    let all = package["dependencies"].as_array().expect("a list");
    all.iter().filter(|one| one["kind"] != "dev").map(|one| text(&one["name"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[test]
fn every_crate_imports_only_what_its_arrows_allow() {
    let (arrows, imports) = (arrows(), imports());
    let ours: BTreeSet<&str> = imports.keys().map(String::as_str).collect();
    for name in arrows.keys() {
        assert!(ours.contains(name), "{name} is in the arrows and not in the workspace");
    }
    for (name, imported) in &imports {
        let imported: BTreeSet<&str> = imported.iter().map(String::as_str).filter(|one| ours.contains(one)).collect();
        // Tests and benches stand outside: they may import anything, and nobody may import them.
        let free = ["tests", "benches", "testkit"].contains(&name.as_str());
        assert!(free || arrows.contains_key(name.as_str()), "{name} has no arrows: add it here and to the documents");
        if !free {
            let forbidden: Vec<_> = imported.difference(&arrows[name.as_str()]).collect();
            assert!(forbidden.is_empty(), "{name} must not import {forbidden:?}");
        }
    }
}

#[test]
fn rules_and_bytes_know_no_clock_no_chance_no_runtime_and_no_network() {
    let outside = [
        "tokio",
        "tokio-util",
        "async-std",
        "futures",
        "reqwest",
        "hyper",
        "axum",
        "lapin",
        "aws-sdk-s3",
        "aws-config",
        "sqlx",
        "sea-orm",
        "getrandom",
        "rand",
        "chrono",
        "time",
    ];
    let imports = imports();
    for name in ["domain", "package"] {
        let found: Vec<_> = outside.iter().filter(|one| imports[name].contains(**one)).collect();
        assert!(found.is_empty(), "{name} must not import {found:?}");
    }
}

/// The standard library and the makers of ids know time and chance too.
#[test]
fn rules_and_bytes_ask_nobody_for_time_or_chance() {
    for crate_folder in ["workers/lib/domain/src", "workers/lib/package/src"] {
        for path in rust_files(&repository().join(crate_folder)) {
            let source = fs::read_to_string(&path).unwrap();
            let tested = source.split("#[cfg(test)]").next().unwrap_or_default();
            for door in ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now", "now_v7", "new_v4"] {
                assert!(!tested.contains(door), "{} asks {door}", path.display());
            }
        }
    }
}

#[test]
fn documents_name_only_what_exists() {
    let root = repository();
    let mut documents = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    documents
        .extend(files_below(&root.join("docs")).into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")));
    let mut missing = Vec::new();
    for document in documents.iter().filter(|path| path.exists()) {
        for named in named_paths(&fs::read_to_string(document).unwrap()) {
            if !exists(&root, document, &named) {
                missing.push(format!("{}: `{named}`", document.strip_prefix(&root).unwrap().display()));
            }
        }
    }
    assert!(missing.is_empty(), "named, but not there:\n{}", missing.join("\n"));
}

#[test]
fn a_path_is_told_from_other_things_in_backticks() {
    let text = "`workers/cli/src/main.rs`, `ops/services up`, `SELECT a/b`, `build/<distribution>`, `docs/`, `a/b`, [x](docs/y.md)
```
tests/inside/a/block
```";
    assert_eq!(named_paths(text), ["workers/cli/src/main.rs", "ops/services", "docs/", "docs/y.md"]);
}

/// The top folders whose names make something in backticks a path of this repository.
const TOPS: [&str; 9] = ["schemas", "migrations", "workers", "tests", "benches", "examples", "ops", "docs", ".ci"];

/// In backticks outside code blocks, or the target of a link.
fn named_paths(markdown: &str) -> Vec<String> {
    let prose: String = markdown.split("```").step_by(2).collect();
    let quoted = prose.split('`').skip(1).step_by(2);
    let linked = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let word = |text: &str| {
        let first = text.split_whitespace().next()?.split('#').next()?;
        let (top, _) = first.split_once('/')?;
        let plain = first.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        (plain && TOPS.contains(&top)).then(|| first.trim_end_matches(['.', ',']).to_owned())
    };
    quoted.chain(linked).filter_map(word).collect()
}

fn exists(root: &Path, document: &Path, named: &str) -> bool {
    let beside = document.parent().expect("a document lies in a folder");
    root.join(named).exists() || beside.join(named).exists()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    files_below(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

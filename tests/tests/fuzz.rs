//! The functions that cargo-fuzz runs for hours, run for some seconds on the ordinary compiler: seeds that were changed in
//! ways drawn from a fixed number, the same ones every time, and in ways drawn anew. TIDEGATE_SEED repeats those.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::SystemTime;

use tests::chance::Chance;
use tests::program::repository;

#[allow(dead_code, reason = "the fuzz crate exports each target for itself")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// Bytes that mean something to somebody: ends of ranges, of varints, of texts.
const TELLING: [u8; 12] = [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff, b'"', b'/', b'\n', b'-', b'9', b'{'];
const CHANGES_MAX: usize = 6;
const INSERTED_MAX: usize = 24;

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = repository().join("fuzz/seeds").join(name);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(&folder).expect("every target has seeds").map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

fn changed(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = chance.pick(seeds).clone();
    for _ in 0..=chance.below(CHANGES_MAX) {
        change(&mut bytes, seeds, chance);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(bytes.len() + 1);
    let end = (at + chance.below(INSERTED_MAX)).min(bytes.len());
    match chance.below(7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
        1 if at < bytes.len() => bytes[at] = *chance.pick(&TELLING),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let twice = bytes[at..end].to_vec();
            bytes.splice(at..at, twice);
        }
        5 => {
            let new = *chance.pick(&TELLING);
            let many = chance.below(INSERTED_MAX);
            bytes.splice(at..at, std::iter::repeat_n(new, many));
        }
        _ => {
            let other = chance.pick(seeds);
            let from = chance.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

fn seed() -> u64 {
    let told = std::env::var("TIDEGATE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = told.unwrap_or_else(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos() as u64
    });
    println!("TIDEGATE_SEED={seed}");
    seed
}

fn run(name: &str) {
    let (_, target, inputs) = targets::TARGETS.into_iter().find(|(of, ..)| *of == name).expect("a target");
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| target(seed));
    let (mut same, mut other) = (Chance::new(0x7469_6465_6761_7465), Chance::new(seed()));
    for number in 0..inputs {
        let input = changed(&seeds, if number % 2 == 0 { &mut same } else { &mut other });
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            let kept = std::env::temp_dir().join(format!("tidegate-fuzz-{name}-{number}"));
            fs::write(&kept, &input).unwrap();
            panic!("input {number} of {name} fails; it is kept in {}", kept.display());
        }
    }
}

#[test]
fn changed_headers_are_refused_or_read_back() {
    run("header");
}

#[test]
fn changed_indexes_are_refused_or_sound() {
    run("index");
    run("index-body");
}

#[test]
fn changed_frames_are_refused_or_as_long_as_said() {
    run("frame");
}

#[test]
fn changed_patches_are_refused_or_give_what_they_name() {
    run("patch");
}

#[test]
fn changed_requests_are_refused_or_within_the_limits() {
    run("request");
}

#[test]
fn changed_answers_are_refused_or_as_long_as_asked_for() {
    run("response");
}

#[test]
fn changed_messages_are_refused_or_written_as_they_were_read() {
    run("message");
}

/// A seed that nobody accepts any more finds nothing.
#[test]
fn the_seeds_are_what_their_readers_take() {
    for seed in seeds("header") {
        package::header::decode(&seed).unwrap();
    }
    for seed in seeds("index") {
        package::Index::decode(&seed).unwrap();
    }
    for seed in seeds("request") {
        let text = String::from_utf8(seed).unwrap();
        let (head, body) = text.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
        let headers: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
        subscriber::serve::read_request(method, path, &headers, body.as_bytes()).unwrap();
    }
}

#[test]
fn every_target_is_one_of_the_fuzz_crate() {
    let manifest = fs::read_to_string(repository().join("fuzz/Cargo.toml")).unwrap();
    let script = fs::read_to_string(repository().join("ops/fuzz")).unwrap();
    let listed = script.lines().find_map(|line| line.strip_prefix("all=(")?.strip_suffix(')')).unwrap();
    let listed: Vec<&str> = listed.split_whitespace().collect();
    assert_eq!(listed, targets::TARGETS.map(|(name, ..)| name), "ops/fuzz runs them all");
    for (name, ..) in targets::TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no program of the fuzz crate");
        let file = repository().join(format!("fuzz/fuzz_targets/{}.rs", name.replace('-', "_")));
        assert!(file.is_file(), "{}", file.display());
    }
}

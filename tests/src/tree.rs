//! Trees made from a seed: mixed sizes, empty files, links, an executable, names in several scripts; and the changes that
//! happen to them. It knows nothing of how they are distributed.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::chance::Chance;

const FILES_PER_FOLDER: usize = 40;
/// In parts of a thousand.
const EMPTY: usize = 20;
const MEDIUM: usize = 30;
const LARGE: usize = 2;
const SMALL_BYTES_MAX: usize = 12 << 10;
const MEDIUM_BYTES_MAX: usize = 300 << 10;
const LARGE_BYTES_MAX: usize = 3 << 20;
pub(crate) const NAMES: [&str; 8] =
    ["plain", "Zoë", "файл", "日本語", "with space", "naïve-é", "emoji-🌊", "dots.in.name"];
pub(crate) const WORDS: [&str; 12] = [
    "tide ",
    "gate ",
    "lane ",
    "relay ",
    "revision ",
    "chunk\n",
    "frame ",
    "pack ",
    "the ",
    "of ",
    "origin\n",
    "site ",
];

/// What a change did, by paths below the root.
#[derive(Debug, Clone)]
pub struct Changed {
    pub rewritten: Vec<PathBuf>,
    pub removed: PathBuf,
    pub renamed: (PathBuf, PathBuf),
    pub added: PathBuf,
}

/// Makes a tree of `files` files; the root must not exist.
pub fn make(root: &Path, files: usize, seed: u64) {
    let mut chance = Chance::new(seed);
    fs::create_dir_all(root).unwrap();
    for number in 0..files {
        let folder = folder(root, number / FILES_PER_FOLDER);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{}-{number}", chance.pick(&NAMES)));
        write(&path, &content(&mut chance), &mut chance);
    }
    oddities(root);
}

/// Rewrites a part of the files (in hundredths), removes one, renames one, and adds one.
pub fn change(root: &Path, percent: usize, seed: u64) -> Changed {
    let mut chance = Chance::new(seed);
    let mut files = files(root);
    let mut take = |chance: &mut Chance| files.swap_remove(chance.below(files.len()));
    let (removed, old) = (take(&mut chance), take(&mut chance));
    fs::remove_file(root.join(&removed)).unwrap();
    let new = old.with_file_name(format!("renamed-{seed}"));
    fs::rename(root.join(&old), root.join(&new)).unwrap();
    let added = PathBuf::from(format!("added-{seed}"));
    fs::write(root.join(&added), content(&mut chance)).unwrap();
    let count = (files.len() * percent / 100).max(1);
    let rewritten: Vec<PathBuf> = (0..count).map(|_| files.swap_remove(chance.below(files.len()))).collect();
    for path in &rewritten {
        rewrite(&root.join(path), &mut chance);
    }
    Changed { rewritten, removed, renamed: (old, new), added }
}

/// Regular files below the root, sorted.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path().strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

pub fn bytes(root: &Path) -> u64 {
    files(root).iter().map(|path| root.join(path).metadata().unwrap().len()).sum()
}

pub(crate) fn folder(root: &Path, number: usize) -> PathBuf {
    root.join(format!("d{}", number % 7)).join(format!("{}-{number}", NAMES[number % NAMES.len()]))
}

fn content(chance: &mut Chance) -> Vec<u8> {
    let bytes = match chance.below(1000) {
        n if n < EMPTY => 0,
        n if n < EMPTY + MEDIUM => chance.below(MEDIUM_BYTES_MAX),
        n if n < EMPTY + MEDIUM + LARGE => chance.below(LARGE_BYTES_MAX),
        _ => chance.below(SMALL_BYTES_MAX),
    };
    if chance.below(2) == 0 { noise(chance, bytes) } else { prose(chance, bytes) }
}

fn noise(chance: &mut Chance, bytes: usize) -> Vec<u8> {
    let mut all: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| chance.number().to_le_bytes()).collect();
    all.truncate(bytes);
    all
}

fn prose(chance: &mut Chance, bytes: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(bytes + 16);
    while all.len() < bytes {
        all.extend_from_slice(chance.pick(&WORDS).as_bytes());
    }
    all.truncate(bytes);
    all
}

fn write(path: &Path, content: &[u8], chance: &mut Chance) {
    fs::write(path, content).unwrap();
    let old = SystemTime::UNIX_EPOCH
        + Duration::new(1_000_000_000 + chance.below(600_000_000) as u64, chance.below(1 << 29) as u32);
    File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(old)).unwrap();
    if chance.below(10) == 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
}

/// A few bytes in the middle, or a new end.
fn rewrite(path: &Path, chance: &mut Chance) {
    let mut content = fs::read(path).unwrap();
    if content.len() > 16 && chance.below(2) == 0 {
        let at = chance.below(content.len() - 8);
        content[at..at + 8].copy_from_slice(&chance.number().to_le_bytes());
    } else {
        content.extend_from_slice(format!("changed {}\n", chance.number()).as_bytes());
    }
    fs::write(path, content).unwrap();
}

/// What a tree may have besides files: an executable, links near, far and to nothing, an empty folder.
pub(crate) fn oddities(root: &Path) {
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("empty folder/within")).unwrap();
    fs::write(root.join("bin/run"), "#!/bin/sh\necho tide\n").unwrap();
    fs::set_permissions(root.join("bin/run"), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(root.join("empty folder/within"), Permissions::from_mode(0o750)).unwrap();
    symlink("run", root.join("bin/start")).unwrap();
    symlink("../bin/run", root.join("empty folder/far")).unwrap();
    symlink("nothing-yet", root.join("bin/dangling")).unwrap();
}

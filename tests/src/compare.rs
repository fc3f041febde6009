//! Whether two trees are the same, by a walk of the tests' own: kinds, content, modes, links, times of change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const SHOWN: usize = 12;

/// What stands at a path; content is compared apart.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    File { mode: u32, bytes: u64, mtime: (i64, i64) },
    Folder { mode: u32, mtime: (i64, i64) },
    Link(PathBuf),
    Other,
}

#[track_caller]
pub fn assert_same(source: &Path, target: &Path) {
    let all = differences(source, target);
    let (count, shown) = (all.len(), all.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n  "));
    assert!(all.is_empty(), "{} differs from {} in {count} places:\n  {shown}", target.display(), source.display());
}

pub fn is_same(source: &Path, target: &Path) -> bool {
    target.is_dir() && differences(source, target).is_empty()
}

/// Of all that is in `source`, what is not so in `target`; what `target` has besides is left alone.
#[track_caller]
pub fn assert_contains(source: &Path, target: &Path) {
    let (wanted, has) = (walk(source), walk(target));
    for (path, entry) in &wanted {
        if let Entry::File { .. } | Entry::Link(_) = entry {
            assert_eq!(has.get(path), Some(entry), "{}", path.display());
            assert!(content_is_same(&source.join(path), &target.join(path), entry), "{} differs", path.display());
        }
    }
}

/// All that is in `source`, what is `foreign`, and no other file or link.
#[track_caller]
pub fn assert_merged(source: &Path, target: &Path, foreign: &[&str]) {
    assert_contains(source, target);
    let wanted = walk(source);
    let is_known = |path: &Path| wanted.contains_key(path) || foreign.iter().any(|name| path == Path::new(name));
    for (path, entry) in walk(target) {
        assert!(matches!(entry, Entry::Folder { .. }) || is_known(&path), "{} is too many", path.display());
    }
    for name in foreign {
        assert!(target.join(name).exists(), "{name}, which is not ours, is gone");
    }
}

fn differences(source: &Path, target: &Path) -> Vec<String> {
    let (wanted, has) = (walk(source), walk(target));
    let mut found = Vec::new();
    for (path, entry) in &wanted {
        match has.get(path) {
            None => found.push(format!("{} is missing", path.display())),
            Some(other) if other != entry => found.push(format!("{}: {other:?} instead of {entry:?}", path.display())),
            Some(_) if !content_is_same(&source.join(path), &target.join(path), entry) => {
                found.push(format!("{}: its content differs", path.display()));
            }
            Some(_) => {}
        }
    }
    found.extend(
        has.keys().filter(|path| !wanted.contains_key(*path)).map(|path| format!("{} is too many", path.display())),
    );
    found
}

fn content_is_same(source: &Path, target: &Path, entry: &Entry) -> bool {
    !matches!(entry, Entry::File { .. }) || fs::read(source).unwrap() == fs::read(target).unwrap()
}

fn walk(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for path in entries.map(|entry| entry.unwrap().path()) {
            let about = path.symlink_metadata().unwrap();
            let (mode, mtime) = (about.permissions().mode() & 0o7777, (about.mtime(), about.mtime_nsec()));
            let entry = if about.is_symlink() {
                Entry::Link(fs::read_link(&path).unwrap())
            } else if about.is_dir() {
                open.push(path.clone());
                Entry::Folder { mode, mtime }
            } else if about.is_file() {
                Entry::File { mode, bytes: about.len(), mtime }
            } else {
                Entry::Other
            };
            all.insert(path.strip_prefix(root).unwrap().to_owned(), entry);
        }
    }
    all
}

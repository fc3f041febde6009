//! What a reader sees in a target: every path with its content. It knows no revision.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::recorder::stamp_of;

/// Modes and times of directories are not looked at: in a merge they are everybody's.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    Directory,
    File { content: Vec<u8>, mode: u32, mtime_ns: i64 },
    Link(PathBuf),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Picture(BTreeMap<PathBuf, Shown>);

impl Picture {
    /// Of a folder but for what is called `without` in it, with all that is below.
    pub fn of(folder: &Path, without: &str) -> Picture {
        let mut shown = BTreeMap::new();
        let mut open = vec![PathBuf::new()];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(folder.join(&next)).unwrap() {
                let path = next.join(entry.unwrap().file_name());
                if path == Path::new(without) {
                    continue;
                }
                let thing = look(&folder.join(&path));
                if thing == Shown::Directory {
                    open.push(path.clone());
                }
                shown.insert(path, thing);
            }
        }
        Picture(shown)
    }

    /// Paths that show neither what `old` nor what `new` has there. Where one has a file and the other a directory there may be
    /// nothing.
    pub fn of_neither<'a>(&'a self, old: &'a Picture, new: &'a Picture) -> Vec<&'a PathBuf> {
        let paths: BTreeSet<&PathBuf> = [self, old, new].into_iter().flat_map(|picture| picture.0.keys()).collect();
        let is_of_one = |path: &PathBuf| {
            let [now, old, new] = [self, old, new].map(|picture| picture.0.get(path));
            let is_directory = |shown: &Shown| *shown == Shown::Directory;
            let changes_kind = old.zip(new).is_some_and(|(old, new)| is_directory(old) != is_directory(new));
            now == old || now == new || (now.is_none() && changes_kind)
        };
        paths.into_iter().filter(|path| !is_of_one(path)).collect()
    }
}

fn look(path: &Path) -> Shown {
    let meta = fs::symlink_metadata(path).unwrap();
    if meta.is_dir() {
        return Shown::Directory;
    }
    if meta.is_symlink() {
        return Shown::Link(fs::read_link(path).unwrap());
    }
    let (mode, mtime_ns) = (meta.permissions().mode() & 0o7777, stamp_of(path).unwrap().mtime_ns);
    Shown::File { content: fs::read(path).unwrap(), mode, mtime_ns }
}

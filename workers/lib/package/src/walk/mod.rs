//! From sources to a sorted list of what stands there, with stats; no file is opened. Directories are listed by several
//! threads, which changes nothing in the result.

mod extra;
mod lister;
mod merge;
mod names;
mod stat;

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use schemas::definitions::FileSource;

use crate::extras::{HardLink, Keeps};
use crate::limits::ENTRIES_MAX;
use crate::paths;
use crate::source_error::BuildError;
use crate::watch::Watch;

pub use extra::Extra;
pub(crate) use extra::extra_of;
pub use stat::Stat;
pub(crate) use stat::stat_of;
use stat::{checked_stat, mtime_ns};

/// What the sources hold, sorted by the bytes of the paths, the root first.
pub struct Tree {
    pub entries: Vec<Found>,
    /// Sorted by `entry`; positions in `entries`.
    pub hard_links: Vec<HardLink>,
    pub keeps: Keeps,
    pub(crate) roots: Vec<Root>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// In the revision.
    pub path: String,
    pub kind: FoundKind,
    pub mode: u32,
    pub mtime_ns: i64,
    /// A file that has holes.
    pub is_sparse: bool,
    /// A file that has more than one name, here or elsewhere.
    pub has_more_names: bool,
    /// None if nothing beyond modes and times is kept.
    pub extra: Option<Box<Extra>>,
    /// Which source it comes from: position in `Tree::roots`.
    pub(crate) root: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundKind {
    Directory,
    File(Stat),
    Link { target: String },
}

/// An open source: files are reached from its directory, so that a source that is moved meanwhile stays one tree.
pub(crate) struct Root {
    pub folder: OwnedFd,
    /// As people wrote it, for messages.
    pub shown: String,
    /// Of the paths in the revision, what is not part of the path below `folder`.
    prefix_bytes: usize,
    /// A single file's name in `folder`.
    file_name: Option<std::ffi::CString>,
}

impl Root {
    /// The path to open below `folder`.
    pub fn below<'a>(&'a self, path: &'a str) -> &'a [u8] {
        match &self.file_name {
            Some(name) => name.to_bytes(),
            None => &path.as_bytes()[self.prefix_bytes..],
        }
    }

    pub fn display(&self, path: &str) -> String {
        match &self.file_name {
            Some(_) => self.shown.clone(),
            None => format!("{}/{}", self.shown.trim_end_matches('/'), &path[self.prefix_bytes..]),
        }
    }
}

/// In `Found::root`: of no source.
const NO_ROOT: u32 = u32::MAX;

/// As `walk_keeping`, with modes and times alone.
pub fn walk(sources: &[FileSource], threads: usize, watch: &Watch) -> Result<Tree, BuildError> {
    walk_keeping(sources, Keeps::default(), threads, watch)
}

pub fn walk_keeping(sources: &[FileSource], keeps: Keeps, threads: usize, watch: &Watch) -> Result<Tree, BuildError> {
    let mut tree = Tree { entries: Vec::new(), hard_links: Vec::new(), keeps, roots: Vec::new() };
    for source in sources {
        let into = source.into.as_deref().unwrap_or("").trim_matches('/');
        if !into.is_empty() {
            let fault = |fault| BuildError::Unsafe { path: into.to_owned(), fault };
            paths::check(into).map_err(fault)?;
        }
        add_source(&mut tree, source, into, threads, watch)?;
    }
    // Not the stable sort: it would take half of the list's room once more.
    tree.entries.sort_unstable_by(|a, b| (&a.path, a.root).cmp(&(&b.path, b.root)));
    merge::merge_doubles(&mut tree)?;
    merge::add_folders(&mut tree.entries, keeps);
    tree.hard_links = names::join_names(&mut tree.entries);
    match tree.entries.len() {
        found if found > ENTRIES_MAX => {
            let what = "entries of all sources together".to_owned();
            Err(BuildError::TooLarge { what, found: found as u64, max: ENTRIES_MAX as u64 })
        }
        _ => Ok(tree),
    }
}

fn add_source(
    tree: &mut Tree,
    source: &FileSource,
    into: &str,
    threads: usize,
    watch: &Watch,
) -> Result<(), BuildError> {
    let at = tree.roots.len() as u32;
    let stat = rustix::fs::stat(&source.path).map_err(|error| match error {
        Errno::NOENT | Errno::NOTDIR => BuildError::Missing { path: source.path.clone() },
        other => BuildError::unreadable(&source.path, other),
    })?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let folder = open_folder(&source.path).map_err(|error| BuildError::unreadable(&source.path, error))?;
            let prefix_bytes = if into.is_empty() { 0 } else { into.len() + 1 };
            let root = Root { folder, shown: source.path.clone(), prefix_bytes, file_name: None };
            let found = lister::Lister::new(&root, at, source, into, (tree.keeps, watch))?.run(&stat, threads)?;
            tree.entries.extend(found);
            tree.roots.push(root);
        }
        FileType::RegularFile => {
            let (entry, root) = single_file(source, into, at, &stat, tree.keeps)?;
            tree.entries.push(entry);
            tree.roots.push(root);
        }
        other => return Err(BuildError::Special { path: source.path.clone(), what: name_of(other) }),
    }
    Ok(())
}

fn single_file(
    source: &FileSource,
    into: &str,
    root: u32,
    stat: &rustix::fs::Stat,
    keeps: Keeps,
) -> Result<(Found, Root), BuildError> {
    let full = Path::new(&source.path);
    let missing = || BuildError::Missing { path: source.path.clone() };
    let name = full.file_name().ok_or_else(missing)?;
    let folder =
        open_folder(full.parent().ok_or_else(missing)?).map_err(|error| BuildError::unreadable(&source.path, error))?;
    let text = name.to_str().ok_or_else(|| BuildError::NotUtf8 { shown: source.path.clone() })?;
    let path = joined(into, text);
    let kind = FoundKind::File(checked_stat(stat, || source.path.clone())?);
    let fault = |fault| BuildError::Unsafe { path: source.path.clone(), fault };
    paths::check(&path).map_err(fault)?;
    let unreadable = |error| BuildError::unreadable(&source.path, error);
    let extra = match keeps == Keeps::default() {
        true => None,
        false => {
            let file = extra::open(&folder, name).map_err(unreadable)?;
            extra::extra_of(&file, stat, keeps).map_err(unreadable)?
        }
    };
    let may_be_sparse = extra::may_be_sparse(stat);
    let is_sparse =
        may_be_sparse && extra::open(&folder, name).is_ok_and(|file| extra::has_holes(file, stat.st_size as u64));
    let (mode, mtime_ns, has_more_names) = (stat.st_mode & 0o7777, mtime_ns(stat), stat.st_nlink > 1);
    let entry = Found { path, kind, mode, mtime_ns, is_sparse, has_more_names, extra, root };
    let file_name = std::ffi::CString::new(name.as_bytes()).map_err(|_| missing())?;
    Ok((entry, Root { folder, shown: source.path.clone(), prefix_bytes: 0, file_name: Some(file_name) }))
}

/// A source itself may be a link.
fn open_folder(path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn joined(into: &str, below: &str) -> String {
    match (into, below) {
        ("", below) => below.to_owned(),
        (into, "") => into.to_owned(),
        (into, below) => format!("{into}/{below}"),
    }
}

fn name_of(of_type: FileType) -> &'static str {
    match of_type {
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        _ => "special file",
    }
}

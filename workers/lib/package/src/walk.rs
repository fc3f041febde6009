//! From sources to a sorted list of what stands there, with stats; no file is opened. Directories are listed by several
//! threads, which changes nothing in the result.

use std::collections::HashSet;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use schemas::definitions::FileSource;

use crate::globs::Globs;
use crate::limits::{ENTRIES_MAX, FILE_BYTES_MAX};
use crate::paths::{self, UnsafePath};
use crate::source_error::BuildError;
use crate::watch::Watch;

/// What the sources hold, sorted by the bytes of the paths, the root first.
pub struct Tree {
    pub entries: Vec<Found>,
    pub(crate) roots: Vec<Root>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// In the revision.
    pub path: String,
    pub kind: FoundKind,
    pub mode: u32,
    pub mtime_ns: i64,
    /// Which source it comes from: position in `Tree::roots`.
    pub(crate) root: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundKind {
    Directory,
    File(Stat),
    Link { target: String },
}

/// What tells that a file is the same as before, and unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub bytes: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub inode: u64,
    pub device: u64,
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

const FOLDER_MODE: u32 = 0o755;
const NO_ROOT: u32 = u32::MAX;

pub fn walk(sources: &[FileSource], threads: usize, watch: &Watch) -> Result<Tree, BuildError> {
    let mut tree = Tree { entries: Vec::new(), roots: Vec::new() };
    for source in sources {
        let into = source.into.as_deref().unwrap_or("").trim_matches('/');
        if !into.is_empty() {
            let fault = |fault| BuildError::Unsafe { path: into.to_owned(), fault };
            paths::check(into).map_err(fault)?;
        }
        add_source(&mut tree, source, into, threads, watch)?;
    }
    tree.entries.sort_by(|a, b| a.path.cmp(&b.path));
    merge_doubles(&mut tree)?;
    add_folders(&mut tree.entries);
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
            let folder = open_folder(CWD, &source.path, OFlags::empty())
                .map_err(|error| BuildError::unreadable(&source.path, error))?;
            let prefix_bytes = if into.is_empty() { 0 } else { into.len() + 1 };
            let root = Root { folder, shown: source.path.clone(), prefix_bytes, file_name: None };
            let found = Lister::new(&root, at, source, into, watch)?.run(&stat, threads)?;
            tree.entries.extend(found);
            tree.roots.push(root);
        }
        FileType::RegularFile => {
            let (entry, root) = single_file(source, into, at, &stat)?;
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
) -> Result<(Found, Root), BuildError> {
    let full = Path::new(&source.path);
    let missing = || BuildError::Missing { path: source.path.clone() };
    let name = full.file_name().ok_or_else(missing)?;
    let folder = open_folder(CWD, full.parent().ok_or_else(missing)?, OFlags::empty())
        .map_err(|error| BuildError::unreadable(&source.path, error))?;
    let text = name.to_str().ok_or_else(|| BuildError::NotUtf8 { shown: source.path.clone() })?;
    let path = joined(into, text);
    let kind = FoundKind::File(checked_stat(stat, || source.path.clone())?);
    let fault = |fault| BuildError::Unsafe { path: source.path.clone(), fault };
    paths::check(&path).map_err(fault)?;
    let entry = Found { path, kind, mode: stat.st_mode & 0o7777, mtime_ns: mtime_ns(stat), root };
    let file_name = std::ffi::CString::new(name.as_bytes()).map_err(|_| missing())?;
    Ok((entry, Root { folder, shown: source.path.clone(), prefix_bytes: 0, file_name: Some(file_name) }))
}

fn open_folder(at: impl AsFd, path: impl rustix::path::Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | flags, Mode::empty())
}

/// Lists one directory source.
struct Lister<'a> {
    root: &'a Root,
    at: u32,
    into: &'a str,
    include: Globs,
    exclude: Globs,
    watch: &'a Watch,
    queue: Mutex<Queue>,
    changed: Condvar,
    found: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    todo: Vec<Folder>,
    busy: usize,
    failed: Option<BuildError>,
}

struct Folder {
    /// Below the source; "" for the source itself.
    below: String,
    /// It or a directory above it matches `include`.
    included: bool,
}

impl<'a> Lister<'a> {
    fn new(
        root: &'a Root,
        at: u32,
        source: &FileSource,
        into: &'a str,
        watch: &'a Watch,
    ) -> Result<Lister<'a>, BuildError> {
        let (include, exclude) = (Globs::new(&source.include)?, Globs::new(&source.exclude)?);
        let first = Folder { below: String::new(), included: include.is_empty() };
        let queue = Mutex::new(Queue { todo: vec![first], busy: 0, failed: None });
        Ok(Lister {
            root,
            at,
            into,
            include,
            exclude,
            watch,
            queue,
            changed: Condvar::new(),
            found: AtomicUsize::new(0),
        })
    }

    fn run(self, stat: &rustix::fs::Stat, threads: usize) -> Result<Vec<Found>, BuildError> {
        let mut all = vec![self.entry("", FoundKind::Directory, stat)];
        let parts: Vec<Vec<Found>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(|| self.work())).collect();
            workers.into_iter().map(|worker| worker.join().expect("a listing thread")).collect()
        });
        if let Some(error) = self.queue.into_inner().expect("no panic while listing").failed {
            return Err(error);
        }
        all.extend(parts.into_iter().flatten());
        if !self.include.is_empty() {
            drop_bare_folders(&mut all, self.into);
        }
        Ok(all)
    }

    fn work(&self) -> Vec<Found> {
        let mut found = Vec::new();
        while let Some(folder) = self.next() {
            let result = self.list(&folder, &mut found);
            let mut queue = self.queue.lock().expect("no panic while listing");
            queue.busy -= 1;
            match result {
                Ok(more) => queue.todo.extend(more),
                Err(error) => queue.failed = queue.failed.take().or(Some(error)),
            }
            self.changed.notify_all();
        }
        found
    }

    fn next(&self) -> Option<Folder> {
        let mut queue = self.queue.lock().expect("no panic while listing");
        loop {
            if queue.failed.is_some() {
                return None;
            }
            if let Some(folder) = queue.todo.pop() {
                queue.busy += 1;
                return Some(folder);
            }
            if queue.busy == 0 {
                return None;
            }
            queue = self.changed.wait(queue).expect("no panic while listing");
        }
    }

    fn list(&self, folder: &Folder, found: &mut Vec<Found>) -> Result<Vec<Folder>, BuildError> {
        self.watch.check()?;
        let unreadable = |error| BuildError::unreadable(self.shown(&folder.below), error);
        let path = if folder.below.is_empty() { "." } else { &folder.below };
        let opened = match open_folder(&self.root.folder, path, OFlags::NOFOLLOW) {
            // Gone since it was listed.
            Err(Errno::NOENT) => return Ok(Vec::new()),
            opened => opened.map_err(unreadable)?,
        };
        let mut folders = Vec::new();
        let mut stream = Dir::read_from(&opened).map_err(unreadable)?;
        while let Some(item) = stream.read() {
            let item = item.map_err(unreadable)?;
            if !matches!(item.file_name().to_bytes(), b"." | b"..") {
                self.look_at(&opened, folder, item.file_name(), found, &mut folders)?;
            }
        }
        Ok(folders)
    }

    fn look_at(
        &self,
        opened: &OwnedFd,
        folder: &Folder,
        name: &CStr,
        found: &mut Vec<Found>,
        folders: &mut Vec<Folder>,
    ) -> Result<(), BuildError> {
        let below = Path::new(&folder.below).join(OsStr::from_bytes(name.to_bytes()));
        let stat = match rustix::fs::statat(opened, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            stat => stat.map_err(|error| BuildError::unreadable(self.shown(&below.to_string_lossy()), error))?,
        };
        let of_type = FileType::from_raw_mode(stat.st_mode);
        let is_directory = of_type == FileType::Directory;
        if self.exclude.matches(&below, is_directory) {
            return Ok(());
        }
        let included = folder.included || self.include.matches(&below, is_directory);
        if !included && !is_directory {
            return Ok(());
        }
        let below =
            below.to_str().ok_or_else(|| BuildError::NotUtf8 { shown: self.shown(&below.to_string_lossy()) })?;
        let kind = self.kind_of(of_type, opened, name, below, &stat)?;
        let entry = self.entry(below, kind, &stat);
        paths::check(&entry.path).map_err(|fault| self.refuse(below, fault))?;
        if is_directory {
            folders.push(Folder { below: below.to_owned(), included });
        }
        if self.found.fetch_add(1, Ordering::Relaxed) >= ENTRIES_MAX {
            let (what, max) = (format!("entries below {}", self.root.shown), ENTRIES_MAX as u64);
            return Err(BuildError::TooLarge { what, found: max + 1, max });
        }
        found.push(Found { root: if included { self.at } else { NO_ROOT }, ..entry });
        Ok(())
    }

    fn kind_of(
        &self,
        of_type: FileType,
        opened: &OwnedFd,
        name: &CStr,
        below: &str,
        stat: &rustix::fs::Stat,
    ) -> Result<FoundKind, BuildError> {
        match of_type {
            FileType::Directory => Ok(FoundKind::Directory),
            FileType::RegularFile => Ok(FoundKind::File(checked_stat(stat, || self.shown(below))?)),
            FileType::Symlink => {
                let says = rustix::fs::readlinkat(opened, name, Vec::new())
                    .map_err(|error| BuildError::unreadable(self.shown(below), error))?;
                let target = says
                    .into_string()
                    .map_err(|_| BuildError::NotUtf8 { shown: format!("{} links to", self.shown(below)) })?;
                paths::check_link(below, &target).map_err(|fault| self.refuse(below, fault))?;
                Ok(FoundKind::Link { target })
            }
            other => Err(BuildError::Special { path: self.shown(below), what: name_of(other) }),
        }
    }

    fn entry(&self, below: &str, kind: FoundKind, stat: &rustix::fs::Stat) -> Found {
        let mode = if matches!(kind, FoundKind::Link { .. }) { 0o777 } else { stat.st_mode & 0o7777 };
        Found { path: joined(self.into, below), kind, mode, mtime_ns: mtime_ns(stat), root: self.at }
    }

    fn refuse(&self, below: &str, fault: UnsafePath) -> BuildError {
        BuildError::Unsafe { path: self.shown(below), fault }
    }

    fn shown(&self, below: &str) -> String {
        format!("{}/{below}", self.root.shown.trim_end_matches('/'))
    }
}

/// With `include`, a directory is kept if it was asked for or if something in it was.
fn drop_bare_folders(all: &mut Vec<Found>, into: &str) {
    let mut wanted: HashSet<String> = HashSet::new();
    for entry in all.iter().filter(|entry| entry.root != NO_ROOT) {
        let mut path = paths::parent(&entry.path);
        while path.len() > into.len() && wanted.insert(path.to_owned()) {
            path = paths::parent(path);
        }
    }
    let root = all[0].root;
    all.retain(|entry| entry.root != NO_ROOT || wanted.contains(&entry.path));
    all.iter_mut().for_each(|entry| entry.root = root);
}

/// Directories of several sources become one (the first's mode and time); anything else twice is refused.
fn merge_doubles(tree: &mut Tree) -> Result<(), BuildError> {
    if tree.roots.len() < 2 {
        return Ok(());
    }
    let shown = |entry: &Found| tree.roots[entry.root as usize].shown.clone();
    for pair in tree.entries.windows(2) {
        let both_folders = pair.iter().all(|entry| entry.kind == FoundKind::Directory);
        if pair[0].path == pair[1].path && !both_folders {
            let (first, second) = (shown(&pair[0]), shown(&pair[1]));
            return Err(BuildError::Conflict { path: pair[0].path.clone(), first, second });
        }
    }
    tree.entries.dedup_by(|later, first| later.path == first.path);
    let folders: HashSet<&str> =
        tree.entries.iter().filter(|e| e.kind == FoundKind::Directory).map(|e| e.path.as_str()).collect();
    let others: HashSet<&str> =
        tree.entries.iter().map(|e| e.path.as_str()).filter(|path| !folders.contains(path)).collect();
    for entry in &tree.entries {
        let above = paths::parent(&entry.path);
        if others.contains(above) {
            let (first, second) = (format!("a file {above}"), shown(entry));
            return Err(BuildError::Conflict { path: above.to_owned(), first, second });
        }
    }
    Ok(())
}

/// Folders that only `into` names, and the root of a lone file: as new as the newest thing in them.
fn add_folders(entries: &mut Vec<Found>) {
    let mut made: Vec<Found> = Vec::new();
    let there: HashSet<&str> =
        entries.iter().filter(|entry| entry.kind == FoundKind::Directory).map(|entry| entry.path.as_str()).collect();
    for entry in entries.iter() {
        let mut path = entry.path.as_str();
        while !path.is_empty() {
            path = paths::parent(path);
            if there.contains(path) {
                break;
            }
            match made.iter_mut().find(|folder| folder.path == path) {
                Some(folder) => folder.mtime_ns = folder.mtime_ns.max(entry.mtime_ns),
                None => made.push(Found {
                    path: path.to_owned(),
                    kind: FoundKind::Directory,
                    mode: FOLDER_MODE,
                    mtime_ns: entry.mtime_ns,
                    root: entry.root,
                }),
            }
        }
    }
    if entries.is_empty() {
        let kind = FoundKind::Directory;
        made.push(Found { path: String::new(), kind, mode: FOLDER_MODE, mtime_ns: 0, root: NO_ROOT });
    }
    if !made.is_empty() {
        entries.extend(made);
        entries.sort_by(|a, b| a.path.cmp(&b.path));
    }
}

fn joined(into: &str, below: &str) -> String {
    match (into, below) {
        ("", below) => below.to_owned(),
        (into, "") => into.to_owned(),
        (into, below) => format!("{into}/{below}"),
    }
}

fn checked_stat(stat: &rustix::fs::Stat, path: impl FnOnce() -> String) -> Result<Stat, BuildError> {
    let stat = stat_of(stat);
    match stat.bytes {
        found if found > FILE_BYTES_MAX => {
            Err(BuildError::TooLarge { what: format!("bytes of {}", path()), found, max: FILE_BYTES_MAX })
        }
        _ => Ok(stat),
    }
}

pub(crate) fn stat_of(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        bytes: stat.st_size as u64,
        mtime_ns: mtime_ns(stat),
        ctime_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        inode: stat.st_ino as u64,
        device: stat.st_dev as u64,
    }
}

pub(crate) fn mtime_ns(stat: &rustix::fs::Stat) -> i64 {
    nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64)
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
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

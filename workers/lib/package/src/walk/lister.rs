//! Lists one directory source, with several threads. It knows no other source.

use std::collections::HashSet;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use schemas::definitions::FileSource;

use super::extra::{self, Extra};
use super::stat::{checked_stat, mtime_ns};
use super::{Found, FoundKind, NO_ROOT, Root, joined, name_of};
use crate::beneath;
use crate::extras::Keeps;
use crate::globs::Globs;
use crate::limits::ENTRIES_MAX;
use crate::paths::{self, UnsafePath};
use crate::source_error::BuildError;
use crate::watch::Watch;

/// Lists one directory source.
pub(super) struct Lister<'a> {
    root: &'a Root,
    at: u32,
    into: &'a str,
    include: Globs,
    exclude: Globs,
    keeps: Keeps,
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
    pub fn new(
        root: &'a Root,
        at: u32,
        source: &FileSource,
        into: &'a str,
        (keeps, watch): (Keeps, &'a Watch),
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
            keeps,
            watch,
            queue,
            changed: Condvar::new(),
            found: AtomicUsize::new(0),
        })
    }

    pub fn run(self, stat: &rustix::fs::Stat, threads: usize) -> Result<Vec<Found>, BuildError> {
        let extra = extra::extra_of(&self.root.folder, stat, self.keeps)
            .map_err(|error| BuildError::unreadable(&self.root.shown, error))?;
        let mut all = vec![Found { extra, ..self.entry("", FoundKind::Directory, stat) }];
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
        let (flags, also) = (OFlags::RDONLY | OFlags::DIRECTORY, ResolveFlags::empty());
        let opened = match beneath::open(self.root.folder.as_fd(), path, flags, Mode::empty(), also) {
            // Gone since it was listed.
            Err(Errno::NOENT) => return Ok(Vec::new()),
            // A link has taken its place, or that of a folder above it.
            Err(Errno::LOOP) => return Err(BuildError::Changed { path: self.shown(&folder.below) }),
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
        let (is_sparse, extra) = self.look_into(opened, name, below, &kind, &stat)?;
        let entry = Found { is_sparse, extra, ..self.entry(below, kind, &stat) };
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

    /// Whether a file has holes, and what is kept of it beyond mode and time. Nothing is opened without a reason.
    fn look_into(
        &self,
        folder: &OwnedFd,
        name: &CStr,
        below: &str,
        kind: &FoundKind,
        stat: &rustix::fs::Stat,
    ) -> Result<(bool, Option<Box<Extra>>), BuildError> {
        if matches!(kind, FoundKind::Link { .. }) {
            return Ok((false, extra::extra_of_link(stat, self.keeps)));
        }
        let may_be_sparse = matches!(kind, FoundKind::File(_)) && extra::may_be_sparse(stat);
        if !may_be_sparse && self.keeps == Keeps::default() {
            return Ok((false, None));
        }
        let file = match extra::open(folder, name) {
            // Gone or replaced since; reading it says so.
            Err(Errno::NOENT | Errno::LOOP) => return Ok((false, extra::extra_of_link(stat, self.keeps))),
            opened => opened.map_err(|error| BuildError::unreadable(self.shown(below), error))?,
        };
        let extra = extra::extra_of(&file, stat, self.keeps);
        let extra = extra.map_err(|error| BuildError::unreadable(self.shown(below), error))?;
        Ok((may_be_sparse && extra::has_holes(&file, stat.st_size as u64), extra))
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
        let has_more_names = matches!(kind, FoundKind::File(_)) && stat.st_nlink > 1;
        Found {
            path: joined(self.into, below),
            kind,
            mode,
            mtime_ns: mtime_ns(stat),
            is_sparse: false,
            has_more_names,
            extra: None,
            root: self.at,
        }
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

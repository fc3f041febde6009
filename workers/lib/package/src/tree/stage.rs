//! Carries a plan out in the standby tree, which nobody reads. A file that is there already is never written to: it may
//! be the live tree's file too. It knows no record and does not swap.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use schemas::definitions::Unchanged;

use crate::index::{Entry, EntryKind, Index};

use super::beneath;
use super::calls;
use super::catalog::Catalog;
use super::content::{Pen, Sheet, Source};
use super::crew;
use super::dircache::DirCache;
use super::dress::{dress, dress_link, has_attributes};
use super::error::TreeError;
use super::hard_links::Joiner;
use super::install::{Install, Step};
use super::layout::{Layout, ROOT, name_of};
use super::locked::{self, Tally};
use super::node::{Seen, Stamp};
use super::plan::{Action, Plan};
use super::wants::Wants;

/// What one turn of a writer takes: so many files, or content worth as many.
const TURN_FILES_MAX: u64 = 128;
/// Directories that one thread makes in a turn: neighbours, since two threads in one directory only wait for each other.
const TURN_DIRECTORIES: usize = 64;
/// Content that costs about as much as one more file, in bytes.
const FILE_COST_BYTES: u64 = 16 << 10;

pub(super) struct Stage<'a> {
    pub install: &'a Install<'a>,
    pub wants: &'a Wants<'a>,
    pub layout: &'a Layout,
    pub plan: &'a Plan,
    pub root: BorrowedFd<'a>,
    pub live: Option<Lender<'a>>,
    pub source: Source<'a>,
}

/// The live tree, which lends its unchanged files.
#[derive(Clone, Copy)]
pub(super) struct Lender<'a> {
    pub root: BorrowedFd<'a>,
    pub catalog: &'a Catalog,
}

#[derive(Debug, Default)]
pub(super) struct Staged {
    /// By position in the new index.
    pub stamps: Vec<Stamp>,
    /// Stamps of the live tree that this moved, by position in its index.
    pub live_moved: Vec<(u32, Stamp)>,
    pub files_written: u64,
    pub files_linked: u64,
    pub files_kept: u64,
    pub bytes_written: u64,
}

impl Stage<'_> {
    pub fn run(self) -> Result<Staged, TreeError> {
        let shared = self.trusted_shared()?;
        self.make_room()?;
        self.make_directories()?;
        let mut staged = self.write_files()?;
        self.join_names(&mut staged)?;
        self.refresh_shared(&shared, &mut staged)?;
        self.finish_directories()?;
        Ok(staged)
    }

    /// What is staged if nothing has to be done.
    pub fn keep(&self) -> Staged {
        let mut staged = Staged { stamps: vec![Stamp::UNKNOWN; self.plan.actions.len()], ..Staged::default() };
        for (at, action) in self.plan.actions.iter().enumerate() {
            if let Action::Keep(stamp) = action {
                staged.stamps[at] = *stamp;
                staged.files_kept += 1;
            }
        }
        staged
    }

    fn index(&self) -> &Index {
        self.install.index
    }

    fn entry(&self, at: u32) -> &Entry {
        &self.index().entries[at as usize]
    }

    /// Those live files that lose a link and are as recorded: only for them the new stamp may be recorded.
    fn trusted_shared(&self) -> Result<Vec<(u32, Stamp)>, TreeError> {
        let Some(live) = self.live else { return Ok(Vec::new()) };
        let mut trusted = Vec::new();
        for &at in &self.plan.shared {
            let recorded = live.catalog.stamps[at as usize];
            if live.look(at)?.is_some_and(|seen| seen.stamp == recorded) {
                trusted.push((at, recorded));
            }
        }
        Ok(trusted)
    }

    fn refresh_shared(&self, shared: &[(u32, Stamp)], staged: &mut Staged) -> Result<(), TreeError> {
        let Some(live) = self.live else { return Ok(()) };
        for &(at, before) in shared {
            if let Some(now) = live.look(at)?.filter(|now| now.stamp.same_but_links(&before)) {
                staged.live_moved.push((at, now.stamp));
            }
        }
        Ok(())
    }

    /// Opens what will change to its owner, and removes what does not belong.
    fn make_room(&self) -> Result<(), TreeError> {
        calls::fchmod(self.root, Mode::RWXU).map_err(|errno| TreeError::of("open up", "", errno))?;
        for at in 0..self.plan.actions.len() {
            let closed = self.plan.stands[at].is_some_and(|seen| seen.mode & 0o700 != 0o700);
            if closed && self.plan.touched[at] && self.plan.actions[at] == Action::KeepDirectory {
                let path = &self.index().entries[at].path;
                beneath::open_directory(self.root, path)
                    .and_then(|directory| beneath::make_writable(directory.as_fd()))
                    .map_err(|errno| TreeError::of("open up", path, errno))?;
            }
        }
        let (mut directories, mut locked) = (DirCache::new(self.root), Tally::default());
        for extra in &self.plan.extras {
            let path = || extra.path(self.index());
            locked.note(self.remove(&mut directories, extra.directory, extra.name.to_bytes(), path))?;
        }
        for &at in &self.plan.in_the_way {
            let path = &self.entry(at).path;
            let (parent, name) = (self.layout.parent(at), name_of(path).as_bytes());
            locked.note(self.remove(&mut directories, parent, name, || path.clone()))?;
        }
        locked.finish()
    }

    fn remove(
        &self,
        directories: &mut DirCache,
        directory: u32,
        name: &[u8],
        path: impl Fn() -> String,
    ) -> Result<(), TreeError> {
        let (removed, opened) = match directories.get(directory, &self.entry(directory).path) {
            // It was in something that stands in the way itself, and went with it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(errno) => return Err(TreeError::of("remove", path(), errno)),
            Ok(opened) => (beneath::remove(opened, name), opened),
        };
        let name = String::from_utf8_lossy(name);
        removed.map(|_| ()).map_err(|errno| locked::failure("remove", path(), errno, Some(opened), &name))
    }

    /// Level by level, so that parents come first and one level is everybody's.
    fn make_directories(&self) -> Result<(), TreeError> {
        let mut levels: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for at in
            (0..self.plan.actions.len() as u32).filter(|&at| self.plan.actions[at as usize] == Action::MakeDirectory)
        {
            levels.entry(self.entry(at).path.matches('/').count()).or_default().push(at);
        }
        for level in levels.into_values() {
            let turns: Vec<&[u32]> = level.chunks(TURN_DIRECTORIES).collect();
            crew::share(
                turns.len(),
                || DirCache::new(self.root),
                |directories, turn| turns[turn].iter().try_for_each(|&at| self.make_directory(directories, at)),
            )?;
        }
        Ok(())
    }

    fn make_directory(&self, directories: &mut DirCache, at: u32) -> Result<(), TreeError> {
        self.install.go_on()?;
        let (path, parent) = (&self.entry(at).path, self.layout.parent(at));
        directories
            .get(parent, &self.entry(parent).path)
            .and_then(|parent| calls::mkdirat(parent, name_of(path), Mode::RWXU))
            .map_err(|errno| TreeError::of("make the directory", path, errno))
    }

    fn write_files(&self) -> Result<Staged, TreeError> {
        let work = self.plan.work();
        let turns = self.turns(&work);
        let parts = crew::share(
            turns.len(),
            || Writer::new(self),
            |writer, turn| work[turns[turn].clone()].iter().try_for_each(|&at| writer.file_or_note(at)),
        )?;
        let (mut staged, mut locked) = (self.keep(), Tally::default());
        for mut part in parts {
            locked.join(&mut part.locked)?;
            staged.add(part.done, part.stamps);
        }
        locked.finish()?;
        Ok(staged)
    }

    /// Once all first names stand.
    fn join_names(&self, staged: &mut Staged) -> Result<(), TreeError> {
        let names = self.plan.names();
        let joiner = || Joiner::new(self.wants, self.layout, self.root);
        let joiners = crew::share(names.len(), joiner, |joiner, item| {
            self.install.go_on()?;
            self.install.step(Step::File)?;
            joiner.join(names[item].0, names[item].1)?;
            self.install.progress.files.fetch_add(1, Ordering::Relaxed);
            Ok::<(), TreeError>(())
        })?;
        for done in &joiners {
            staged.files_written += done.made;
            staged.files_kept += done.kept;
        }
        joiner().settle(&mut staged.stamps)
    }

    /// Neighbours stay together, so that writers seldom want the same frame or directory.
    fn turns(&self, work: &[u32]) -> Vec<std::ops::Range<usize>> {
        let mut turns = Vec::new();
        let (mut start, mut cost) = (0, 0);
        for (place, &at) in work.iter().enumerate() {
            cost += match &self.entry(at).kind {
                EntryKind::File { bytes, .. } => 1 + bytes / FILE_COST_BYTES,
                _ => 1,
            };
            if cost >= TURN_FILES_MAX {
                turns.push(start..place + 1);
                (start, cost) = (place + 1, 0);
            }
        }
        if start < work.len() {
            turns.push(start..work.len());
        }
        turns
    }

    fn finish_directories(&self) -> Result<(), TreeError> {
        let directories = self.plan.directories(self.wants);
        // The root comes last: until then nobody but the owner gets in.
        crew::share(
            directories.len(),
            || (),
            |(), item| {
                let at = directories[directories.len() - 1 - item];
                if at == ROOT { Ok(()) } else { self.finish_directory(at) }
            },
        )?;
        self.finish_directory(ROOT)
    }

    fn finish_directory(&self, at: u32) -> Result<(), TreeError> {
        let path = &self.entry(at).path;
        let directory = beneath::open_directory(self.root, path);
        dress(directory.map_err(|errno| TreeError::of("open", path, errno))?, self.wants, at)
    }
}

impl Staged {
    fn add(&mut self, part: Staged, stamps: Vec<(u32, Stamp)>) {
        stamps.into_iter().for_each(|(at, stamp)| self.stamps[at as usize] = stamp);
        self.live_moved.extend(part.live_moved);
        self.files_written += part.files_written;
        self.files_linked += part.files_linked;
        self.files_kept += part.files_kept;
        self.bytes_written += part.bytes_written;
    }
}

impl Lender<'_> {
    fn look(&self, at: u32) -> Result<Option<Seen>, TreeError> {
        let path = &self.catalog.index.entries[at as usize].path;
        match beneath::open_file(self.root, path).and_then(rustix::fs::fstat) {
            Ok(stat) => Ok(Some(stat.into())),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => Ok(None),
            Err(errno) => Err(TreeError::of("look at", path, errno)),
        }
    }
}

/// One thread of the crew.
struct Writer<'a> {
    stage: &'a Stage<'a>,
    directories: DirCache<'a>,
    /// The same directories of the live tree, by the same positions.
    lenders: Option<DirCache<'a>>,
    pen: Pen<'a>,
    stamps: Vec<(u32, Stamp)>,
    done: Staged,
    locked: Tally,
}

impl<'a> Writer<'a> {
    fn new(stage: &'a Stage<'a>) -> Writer<'a> {
        let (directories, pen) = (DirCache::new(stage.root), Pen::new(&stage.source));
        let lenders = stage.live.map(|live| DirCache::new(live.root));
        Writer {
            stage,
            directories,
            lenders,
            pen,
            stamps: Vec::new(),
            done: Staged::default(),
            locked: Tally::default(),
        }
    }

    /// A locked file stops the installation, but not before the others have been tried.
    fn file_or_note(&mut self, at: u32) -> Result<(), TreeError> {
        let done = self.file(at);
        self.locked.note(done)
    }

    fn file(&mut self, at: u32) -> Result<(), TreeError> {
        let stage = self.stage;
        if stage.install.cancel.load(Ordering::Relaxed) {
            return Err(TreeError::Cancelled);
        }
        stage.install.step(Step::File)?;
        let entry = &stage.install.index.entries[at as usize];
        match stage.plan.actions[at as usize] {
            Action::Recheck if self.recheck(at, entry)? => {}
            Action::Link(lent) if self.lend(at, entry, lent)? => {}
            _ => self.write(at, entry)?,
        }
        stage.install.progress.files.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn recheck(&mut self, at: u32, entry: &Entry) -> Result<bool, TreeError> {
        let EntryKind::File { refs, .. } = &entry.kind else { return Ok(false) };
        let file = match beneath::open_file(self.stage.root, &entry.path) {
            Err(Errno::ACCESS) => return Ok(false),
            opened => opened.map_err(|errno| TreeError::of("open", &entry.path, errno))?,
        };
        let failed = |errno| TreeError::of("read", &entry.path, errno);
        let before = Seen::from(rustix::fs::fstat(&file).map_err(failed)?);
        let wants = self.stage.wants;
        let same = wants.looks_right(at, &before)
            && has_attributes(&file, wants, at).map_err(failed)?
            && self.pen.matches(&file, refs).map_err(failed)?;
        let after = Seen::from(rustix::fs::fstat(&file).map_err(failed)?);
        if !same || after.stamp != before.stamp {
            return Ok(false);
        }
        self.stamps.push((at, after.stamp));
        self.done.files_kept += 1;
        Ok(true)
    }

    /// False if the live file is not what was recorded, or cannot be lent: then it is written.
    fn lend(&mut self, at: u32, entry: &Entry, lent: u32) -> Result<bool, TreeError> {
        let unchanged = self.stage.install.unchanged;
        if unchanged == Unchanged::Copy || !self.is_lendable(at, entry, lent)? {
            return Ok(false);
        }
        self.make_way(at, entry)?;
        if unchanged == Unchanged::Reflink { self.reflink(at, entry) } else { self.link(at, entry, lent) }
    }

    /// A file of its own that shares its blocks with the live one until either is written to.
    fn reflink(&mut self, at: u32, entry: &Entry) -> Result<bool, TreeError> {
        let parent = self.stage.layout.parent(at);
        let path = &self.stage.entry(parent).path;
        let (Some(lenders), name) = (&mut self.lenders, name_of(&entry.path)) else { return Ok(false) };
        let Ok(lender) = lenders.get(parent, path) else { return Ok(false) };
        let Ok(lent) = beneath::open_file(lender, name) else { return Ok(false) };
        let failed = |errno| TreeError::of("copy", &entry.path, errno);
        let before = Seen::from(rustix::fs::fstat(&lent).map_err(failed)?);
        let directory = self.directories.get(parent, path).map_err(failed)?;
        let file = beneath::create_file(directory, name).map_err(failed)?;
        let cloned = rustix::fs::ioctl_ficlone(&file, &lent).is_ok();
        let after = Seen::from(rustix::fs::fstat(&lent).map_err(failed)?);
        if !cloned || before.stamp != after.stamp {
            calls::unlinkat(directory, name, AtFlags::empty()).map_err(failed)?;
            return Ok(false);
        }
        dress(&file, self.stage.wants, at)?;
        self.stamps.push((at, Seen::from(rustix::fs::fstat(&file).map_err(failed)?).stamp));
        self.done.files_linked += 1;
        Ok(true)
    }

    fn link(&mut self, at: u32, entry: &Entry, lent: u32) -> Result<bool, TreeError> {
        let parent = self.stage.layout.parent(at);
        let path = &self.stage.entry(parent).path;
        let (Some(lenders), name) = (&mut self.lenders, name_of(&entry.path)) else { return Ok(false) };
        let Ok(lender) = lenders.get(parent, path) else { return Ok(false) };
        let directory = self.directories.get(parent, path);
        let directory = directory.map_err(|errno| TreeError::of("open the directory of", &entry.path, errno))?;
        match calls::linkat(lender, name, directory, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::PERM | Errno::MLINK | Errno::XDEV | Errno::NOENT | Errno::OPNOTSUPP) => return Ok(false),
            Err(errno) => return Err(TreeError::of("link", &entry.path, errno)),
        }
        self.accept_link(at, entry, lent)
    }

    /// Between the look and the link somebody may have put another file there.
    fn accept_link(&mut self, at: u32, entry: &Entry, lent: u32) -> Result<bool, TreeError> {
        let parent = self.stage.layout.parent(at);
        let failed = |errno| TreeError::of("look at", &entry.path, errno);
        let directory = self.directories.get(parent, &self.stage.entry(parent).path).map_err(failed)?;
        let seen = beneath::look(directory, name_of(&entry.path)).map_err(failed)?;
        let recorded = self.stage.live.map(|live| live.catalog.stamps[lent as usize]);
        let expected = recorded.filter(Stamp::is_known);
        match seen {
            Some(seen)
                if self.stage.wants.looks_right(at, &seen)
                    && expected.is_none_or(|stamp| stamp.ino == seen.stamp.ino) =>
            {
                self.stamps.push((at, seen.stamp));
                self.done.live_moved.push((lent, seen.stamp));
                self.done.files_linked += 1;
                Ok(true)
            }
            Some(_) => {
                beneath::remove(directory, name_of(&entry.path).as_bytes()).map_err(failed)?;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    fn is_lendable(&mut self, at: u32, entry: &Entry, lent: u32) -> Result<bool, TreeError> {
        let (Some(live), EntryKind::File { refs, .. }) = (self.stage.live, &entry.kind) else { return Ok(false) };
        let parent = self.stage.layout.parent(at);
        let Some(lenders) = &mut self.lenders else { return Ok(false) };
        let Ok(lender) = lenders.get(parent, &self.stage.entry(parent).path) else { return Ok(false) };
        let failed = |errno| TreeError::of("read", &entry.path, errno);
        let Some(seen) = beneath::look(lender, name_of(&entry.path)).map_err(failed)? else { return Ok(false) };
        if seen.stamp == live.catalog.stamps[lent as usize] {
            return Ok(true);
        }
        // An installation that was cut short may have linked it already: its content decides.
        let wants = self.stage.wants;
        if !wants.looks_right(at, &seen) {
            return Ok(false);
        }
        let Ok(file) = beneath::open_file(lender, name_of(&entry.path)) else { return Ok(false) };
        let dressed = has_attributes(&file, wants, at).map_err(failed)?;
        Ok(dressed && self.pen.matches(&file, refs).map_err(failed)?)
    }

    fn write(&mut self, at: u32, entry: &Entry) -> Result<(), TreeError> {
        self.make_way(at, entry)?;
        let parent = self.stage.layout.parent(at);
        let name = name_of(&entry.path);
        let failed = |errno| TreeError::of("write", &entry.path, errno);
        let directory = self.directories.get(parent, &self.stage.entry(parent).path).map_err(failed)?;
        match &entry.kind {
            EntryKind::Directory => return Ok(()),
            EntryKind::Link { target } => {
                self.stamps.push((at, write_link(directory, name, target, (self.stage.wants, at)).map_err(failed)?));
                match self.stands_in_live(at, entry)? {
                    // A symbolic link has nothing to lend: made again it is the one that stands there.
                    true => self.done.files_linked += 1,
                    false => self.done.files_written += 1,
                }
            }
            EntryKind::File { bytes, refs } => {
                let stamp = write_file(directory, name, (self.stage.wants, at), |sheet| self.pen.write(sheet, refs))?;
                self.stamps.push((at, stamp));
                self.done.files_written += 1;
                self.done.bytes_written += bytes;
                self.stage.install.progress.bytes.fetch_add(*bytes, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// True for a symbolic link that the live tree has, too, as it was installed.
    fn stands_in_live(&mut self, at: u32, entry: &Entry) -> Result<bool, TreeError> {
        let Action::MakeLink(Some(place)) = self.stage.plan.actions[at as usize] else { return Ok(false) };
        let (Some(live), Some(lenders)) = (self.stage.live, &mut self.lenders) else { return Ok(false) };
        let parent = self.stage.layout.parent(at);
        let Ok(lender) = lenders.get(parent, &self.stage.entry(parent).path) else { return Ok(false) };
        let seen = beneath::look(lender, name_of(&entry.path));
        let seen = seen.map_err(|errno| TreeError::of("look at", &entry.path, errno))?;
        Ok(seen.is_some_and(|seen| seen.stamp == live.catalog.stamps[place as usize]))
    }

    fn make_way(&mut self, at: u32, entry: &Entry) -> Result<(), TreeError> {
        if self.stage.plan.stands[at as usize].is_none() {
            return Ok(());
        }
        let parent = self.stage.layout.parent(at);
        let failed = |errno| TreeError::of("replace", &entry.path, errno);
        let directory = self.directories.get(parent, &self.stage.entry(parent).path).map_err(failed)?;
        let name = name_of(&entry.path);
        match calls::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(locked::failure("replace", &entry.path, errno, Some(directory), name)),
        }
    }
}

/// Makes a file whole, and gives its stamp once nothing more changes it.
pub(super) fn write_file(
    directory: BorrowedFd<'_>,
    name: &str,
    (wants, at): (&Wants, u32),
    fill: impl FnOnce(Sheet) -> Result<(), TreeError>,
) -> Result<Stamp, TreeError> {
    let path = &wants.index.entries[at as usize].path;
    let failed = |errno| TreeError::of("write", path, errno);
    let file = beneath::create_file(directory, name).map_err(failed)?;
    fill(Sheet::new(file.as_fd(), path, wants.index.extras.is_sparse(at)))?;
    dress(&file, wants, at)?;
    Ok(Seen::from(rustix::fs::fstat(&file).map_err(failed)?).stamp)
}

pub(super) fn write_link(
    directory: BorrowedFd<'_>,
    name: &str,
    to: &str,
    (wants, at): (&Wants, u32),
) -> Result<Stamp, Errno> {
    calls::symlinkat(to, directory, name)?;
    dress_link(directory, name, wants, at)?;
    Ok(beneath::look(directory, name)?.map_or(Stamp::UNKNOWN, |seen| seen.stamp))
}

//! One thread of those that fill the standby tree: it keeps, links or writes the files of its turns. It knows not what the others do.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use schemas::definitions::Unchanged;

use crate::index::{Entry, EntryKind};
use crate::write_back;

use super::beneath;
use super::calls;
use super::content::{Pen, Sheet};
use super::dircache::DirCache;
use super::dress::{dress, dress_link, has_attributes};
use super::error::TreeError;
use super::install::Step;
use super::layout::name_of;
use super::locked::{self, Tally};
use super::node::{Seen, Stamp};
use super::plan::Action;
use super::stage::{Stage, Staged};
use super::turns::{Large, Part, Turn};
use super::wants::Wants;

pub(super) struct Writer<'a> {
    stage: &'a Stage<'a>,
    directories: DirCache<'a>,
    /// The same directories of the live tree, by the same positions.
    lenders: Option<DirCache<'a>>,
    pen: Pen<'a>,
    /// Of what this thread wrote, by position in the new index.
    pub stamps: Vec<(u32, Stamp)>,
    pub done: Staged,
    pub locked: Tally,
}

impl<'a> Writer<'a> {
    pub fn new(stage: &'a Stage<'a>) -> Writer<'a> {
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
    pub fn turn(&mut self, turn: &Turn) -> Result<(), TreeError> {
        match turn {
            Turn::Files(files) => files.iter().try_for_each(|&at| {
                let done = self.file(at);
                self.locked.note(done)
            }),
            Turn::Part(large, part) => {
                let done = self.part(large, part);
                self.locked.note(done)
            }
        }
    }

    fn file(&mut self, at: u32) -> Result<(), TreeError> {
        let stage = self.stage;
        stage.install.go_on()?;
        stage.install.step(Step::File)?;
        let entry = stage.entry(at);
        match stage.plan.actions[at as usize] {
            Action::Recheck if self.recheck(at, entry)? => {}
            Action::Link(lent) if self.lend(at, entry, lent)? => {}
            _ => self.write(at, entry)?,
        }
        stage.install.progress.files.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Whoever comes first makes the file, and whoever ends last finishes it.
    fn part(&mut self, large: &Large, part: &Part) -> Result<(), TreeError> {
        let (stage, at) = (self.stage, large.at);
        stage.install.go_on()?;
        let entry = stage.entry(at);
        let Some(file) = large.open(|| self.create(at, entry))? else { return Ok(()) };
        let mut sheet = Sheet::new(file.as_fd(), &entry.path, stage.wants.index.extras.is_sparse(at)).from(part.offset);
        self.pen.fill(&mut sheet, &part.refs)?;
        write_back::begin(&file, part.offset, part.bytes);
        stage.install.progress.bytes.fetch_add(part.bytes, Ordering::Relaxed);
        if large.is_filled_by_this() {
            self.stamps.push((at, finish(&file, (stage.wants, at))?));
            self.done.files_written += 1;
            self.done.bytes_written += large.bytes;
            stage.install.progress.files.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A large file, of its whole length at once: its parts come in any order.
    fn create(&mut self, at: u32, entry: &Entry) -> Result<OwnedFd, TreeError> {
        self.stage.install.step(Step::File)?;
        self.make_way(at, entry)?;
        let failed = |errno| TreeError::of("write", &entry.path, errno);
        let parent = self.stage.layout.parent(at);
        let directory = self.directories.get(parent, &self.stage.entry(parent).path).map_err(failed)?;
        let file = beneath::create_file(directory, name_of(&entry.path)).map_err(failed)?;
        if let EntryKind::File { bytes, .. } = entry.kind {
            calls::ftruncate(&file, bytes).map_err(failed)?;
        }
        Ok(file)
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
    finish(&file, (wants, at))
}

fn finish(file: &OwnedFd, (wants, at): (&Wants, u32)) -> Result<Stamp, TreeError> {
    dress(file, wants, at)?;
    let seen = rustix::fs::fstat(file);
    let seen = seen.map_err(|errno| TreeError::of("write", &wants.index.entries[at as usize].path, errno))?;
    Ok(Seen::from(seen).stamp)
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

//! Carries a plan out in the standby tree, which nobody reads. A file that is there already is never written to: it may
//! be the live tree's file too. It knows no record and does not swap.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use rustix::fs::Mode;
use rustix::io::Errno;
use schemas::definitions::Unchanged;

use crate::index::{Entry, Index};

use super::beneath;
use super::calls;
use super::catalog::Catalog;
use super::content::Source;
use super::crew;
use super::dircache::DirCache;
use super::dress::dress;
use super::early_sync;
use super::error::TreeError;
use super::hard_links::Joiner;
use super::install::{Install, Step};
use super::layout::{Layout, ROOT, name_of};
use super::locked::{self, Tally};
use super::node::{Seen, Stamp};
use super::plan::{Action, Plan};
use super::turns;
use super::wants::Wants;
use super::writer::Writer;

/// Directories that one thread makes in a turn: neighbours, since two threads in one directory only wait for each other.
const TURN_DIRECTORIES: usize = 64;

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
        self.install.make_sure_of_room(self.root, self.needed_bytes())?;
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
            if let (Action::Keep, Some(seen)) = (action, self.plan.stands[at]) {
                staged.stamps[at] = seen.stamp;
                staged.files_kept += 1;
            }
        }
        staged
    }

    fn index(&self) -> &Index {
        self.install.index
    }

    pub(super) fn entry(&self, at: u32) -> &Entry {
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

    /// What is to be written, less the files that make way for it and stand nowhere else.
    fn needed_bytes(&self) -> u64 {
        let copies = self.install.unchanged == Unchanged::Copy;
        let actions = (0..).zip(&self.plan.actions);
        let (mut written, mut freed) = (0u64, 0u64);
        for (at, action) in actions.filter(|(_, action)| matches!(action, Action::Write | Action::Link(_))) {
            if *action == Action::Write || copies {
                written += self.index().room_bytes(at);
            }
            let replaced = self.plan.stands[at as usize].filter(|seen| seen.names == 1);
            freed += replaced.map_or(0, |seen| seen.stamp.bytes);
        }
        written.saturating_sub(freed)
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
        let turns = turns::of(self.index(), self.plan);
        let writers = early_sync::beside(self.root, &self.install.progress.bytes, || {
            crew::share(turns.len(), || Writer::new(self), |writer, at| writer.turn(&turns[at]))
        })?;
        let (mut staged, mut locked) = (self.keep(), Tally::default());
        for mut writer in writers {
            locked.join(&mut writer.locked)?;
            staged.add(writer.done, writer.stamps);
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

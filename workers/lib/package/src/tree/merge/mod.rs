//! Puts a revision's files into a directory that others use too. Each file is replaced by one rename; a journal undoes
//! all of them if one fails or the program ends in between. It deletes only what an earlier revision put there, and
//! never what was changed on the spot.

mod moves;
mod plan;
mod state;

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use schemas::{ExtractOutcome, RevisionRef};

use crate::index::{EntryKind, Index};

use super::beneath;
use super::calls;
use super::catalog::{self, Catalog};
use super::check;
use super::content::{Pen, Source};
use super::crew;
use super::dress::dress;
use super::error::TreeError;
use super::frames::FrameCache;
use super::held::Held;
use super::install::{Install, Installed, Step};
use super::layout::{Layout, name_of, parent_of};
use super::node::{Node, Stamp};
use super::place::{Place, Root};
use super::records::Records;
use super::scan::scan;
use super::wants::{Role, Wants};
use super::writer::{write_file, write_link};
use moves::Field;
use plan::{Facts, Plan};
use state::{Move, State, What};

/// In the target while files are replaced, so that every move is a rename.
const STAGING: &str = ".tidegate-merge";
const INDEX_KIND: &str = "merge-index";
const STAMPS_KIND: &str = "merge-stamps";

/// Calling it again after a crash, a cancellation or an error first undoes what was begun.
pub fn merge(install: &Install) -> Result<Installed, TreeError> {
    merged_in(install).map_err(|error| error.with_figures(install.target))
}

fn merged_in(install: &Install) -> Result<Installed, TreeError> {
    let layout = check::layout_checked(install.index, install.policy)?;
    if install.index.find(STAGING).is_some() {
        return Err(TreeError::InTheWay { path: STAGING.into(), what: "an entry", wanted: "the staging directory" });
    }
    let wants = Wants::resolve(install.index)?;
    let place = Place::make(install.target)?;
    let _lock = place.lock()?;
    let mut work = Merge::begin(install, (&wants, &layout), &place)?;
    let plan = match work.plan()? {
        Ok(plan) => plan,
        Err(done) => return Ok(done),
    };
    work.make_sure_of_room(&plan)?;
    let staging = work.prepare_staging()?;
    work.stage(&staging, &plan)?;
    work.apply(&staging, &plan)?;
    work.commit(&plan)
}

/// The revision that was merged into this target last; none if nothing was, or the directory is another one now.
pub fn merged(target: &Path, state_dir: &Path) -> Result<Option<RevisionRef>, TreeError> {
    Ok(settled(target, &Records::at(state_dir))?.and_then(|(_, state)| state.revision))
}

/// The directory and what is recorded of our files in it.
pub(super) fn tree_held(target: &Path, state_dir: &Path) -> Result<Option<(OwnedFd, Arc<Catalog>)>, TreeError> {
    let records = Records::at(state_dir);
    let Some((root, state)) = settled(target, &records)? else { return Ok(None) };
    let catalog = state.catalog.and_then(|at| Catalog::load(&records, &at));
    Ok(catalog.map(|catalog| (root.directory, Arc::new(catalog))))
}

/// The target as it is now, and what the records say of it; none if they are of another directory.
fn settled(target: &Path, records: &Records) -> Result<Option<(Root, State)>, TreeError> {
    if !records.has(state::STATE) {
        return Ok(None);
    }
    let place = match Place::open(target) {
        Err(TreeError::Io { errno: Errno::NOENT, .. }) => return Ok(None),
        other => other?,
    };
    let mut state = State::load(records, &place.shown)?;
    let Some(root) = place.shared_target()? else { return Ok(None) };
    state.forget_unless(&root.node);
    Ok(Some((root, state)))
}

/// The revision that should stand in the directory, the directory if it is the one that was recorded, and the index.
#[allow(clippy::type_complexity)]
pub(super) fn recorded(
    target: &Path,
    state_dir: &Path,
) -> Result<Option<(RevisionRef, Option<OwnedFd>, Arc<Index>)>, TreeError> {
    let records = Records::at(state_dir);
    if !records.has(state::STATE) {
        return Ok(None);
    }
    let place = Place::open(target)?;
    let state = State::load(&records, &place.shown)?;
    let Some((revision, at)) = state.revision.zip(state.catalog) else { return Ok(None) };
    let catalog = Catalog::load(&records, &at);
    let lost = || TreeError::RecordDamaged { path: at.index.clone(), why: "it is lost".into() };
    let root = place.shared_target()?.map(|root| root.directory);
    Ok(Some((revision, root, catalog.ok_or_else(lost)?.index)))
}

struct Merge<'a> {
    install: &'a Install<'a>,
    wants: &'a Wants<'a>,
    layout: &'a Layout,
    place: &'a Place,
    records: Records,
    state: State,
    target: Root,
    was: Option<Arc<Catalog>>,
}

impl<'a> Merge<'a> {
    fn begin(
        install: &'a Install<'a>,
        (wants, layout): (&'a Wants<'a>, &'a Layout),
        place: &'a Place,
    ) -> Result<Merge<'a>, TreeError> {
        if install.state_dir.starts_with(install.target) {
            let why = "its records would be in it";
            return Err(TreeError::TargetInvalid { target: place.shown.clone(), why });
        }
        let records = Records::open(install.state_dir)?;
        let mut state = State::load(&records, &place.shown)?;
        let target = match place.shared_target()? {
            Some(root) => root,
            None => place.make_target(install.index.entries[0].mode)?,
        };
        state.forget_unless(&target.node);
        let was = state.catalog.as_ref().and_then(|at| Catalog::load(&records, at)).map(Arc::new);
        let mut work = Merge { install, wants, layout, place, records, state, target, was };
        work.recover()?;
        Ok(work)
    }

    /// Undoes what a crash left half done, and clears what staging left.
    fn recover(&mut self) -> Result<(), TreeError> {
        if self.state.staging.is_none() {
            return Ok(());
        }
        if let Some(staging) = self.staging()? {
            self.undo(&staging)?;
        }
        self.state.journal.clear();
        match self.was.clone() {
            Some(was) => self.sweep(&was.index),
            None => self.forget_staging(),
        }
    }

    fn forget_staging(&mut self) -> Result<(), TreeError> {
        self.clear_staging()?;
        self.state.journal.clear();
        self.state.staging = None;
        self.state.save(&self.records)
    }

    fn undo(&self, staging: &OwnedFd) -> Result<(), TreeError> {
        if self.state.journal.is_empty() {
            return Ok(());
        }
        self.field(staging).undo(&self.state.journal)?;
        self.sync()
    }

    fn field<'f>(&'f self, staging: &'f OwnedFd) -> Field<'f> {
        Field { target: self.target.directory.as_fd(), staging: staging.as_fd() }
    }

    /// The staging directory, if it is there and ours.
    fn staging(&self) -> Result<Option<OwnedFd>, TreeError> {
        let failed = |errno| TreeError::of("open", STAGING, errno);
        let opened = match beneath::open_directory(&self.target.directory, STAGING) {
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(self.staging_foreign()),
            other => other.map_err(failed)?,
        };
        let node = Node::of(&opened).map_err(failed)?;
        match &self.state.staging {
            Some(ours) if ours.is(&node) => Ok(Some(opened)),
            _ => Err(self.staging_foreign()),
        }
    }

    fn staging_foreign(&self) -> TreeError {
        TreeError::StagingForeign { path: format!("{}/{STAGING}", self.place.shown) }
    }

    fn clear_staging(&self) -> Result<(), TreeError> {
        let removed = beneath::remove(self.target.directory.as_fd(), STAGING.as_bytes());
        removed.map(|_| ()).map_err(|errno| TreeError::of("remove", STAGING, errno))
    }

    fn previous(&self) -> Option<u64> {
        self.state.revision.map(|revision| revision.number)
    }

    /// What to do, or the result if there is nothing.
    fn plan(&mut self) -> Result<Result<Plan, Installed>, TreeError> {
        let (installed, wanted) = (self.state.revision, self.install.revision);
        if installed.is_some_and(|installed| installed.number > wanted.number) && !self.install.pin {
            return Ok(Err(Installed::nothing(ExtractOutcome::Superseded, 0, self.previous())));
        }
        self.install.go_on()?;
        let (root, wants) = (self.target.directory.as_fd(), self.wants);
        let scan = scan(root, wants, self.layout, self.install.cancel)?;
        let facts = Facts { target: root, wants, scan: &scan, was: self.was.as_deref(), made: &self.state.made };
        let plan = plan::make(&facts)?;
        if installed == Some(wanted) && plan.is_empty() {
            let unchanged = plan.unchanged.len() as u64;
            return Ok(Err(Installed::nothing(ExtractOutcome::Already, unchanged, self.previous())));
        }
        Ok(Ok(plan))
    }

    fn prepare_staging(&mut self) -> Result<OwnedFd, TreeError> {
        self.install.step(Step::Stage)?;
        let failed = |errno| TreeError::of("make", STAGING, errno);
        let target = self.target.directory.as_fd();
        if beneath::look(target, STAGING).map_err(failed)?.is_some() {
            let emptied = self.state.claimed && calls::unlinkat(target, STAGING, AtFlags::REMOVEDIR).is_ok();
            if !emptied {
                return Err(self.staging_foreign());
            }
        }
        self.state.claimed = true;
        self.state.save(&self.records)?;
        calls::mkdirat(target, STAGING, Mode::RWXU).map_err(failed)?;
        let opened = beneath::open_directory(target, STAGING).map_err(failed)?;
        self.state.staging = Some(Node::of(&opened).map_err(failed)?);
        self.state.claimed = false;
        self.state.save(&self.records)?;
        Ok(opened)
    }

    fn make_sure_of_room(&self, plan: &Plan) -> Result<(), TreeError> {
        let files = plan.replace.iter().chain(&plan.create);
        let written = files.filter(|&&at| !matches!(self.wants.role(at), Role::Further(_)));
        let needed = written.map(|&at| self.install.index.room_bytes(at)).sum();
        self.install.make_sure_of_room(&self.target.directory, needed)
    }

    /// Writes the new files into the staging directory and the journal of what will be done with them.
    fn stage(&mut self, staging: &OwnedFd, plan: &Plan) -> Result<(), TreeError> {
        let mut journal = removals(self.install.index, plan);
        let files: Vec<u32> = plan.replace.iter().chain(&plan.create).copied().collect();
        let first = journal.len();
        let inodes = self.write_files(staging, &files, first)?;
        for (place, (&at, ino)) in files.iter().zip(inodes).enumerate() {
            let what = if place < plan.replace.len() { What::Replace { ino } } else { What::Create { ino } };
            journal.push(Move { path: self.install.index.entries[at as usize].path.clone(), what });
        }
        self.install.step(Step::Sync)?;
        // The descriptor was opened before the first write, so that it learns of every failed one since.
        calls::syncfs(staging).map_err(|errno| TreeError::of("sync", self.place.shown.clone(), errno))?;
        self.state.journal = journal;
        self.state.save(&self.records)
    }

    fn write_files(&self, staging: &OwnedFd, files: &[u32], first: usize) -> Result<Vec<u64>, TreeError> {
        let (index, progress) = (self.install.index, self.install.progress);
        let bytes = files.iter().map(|&at| bytes_of(index, at)).sum();
        progress.files_total.store(files.len() as u64, Ordering::Relaxed);
        progress.bytes_total.store(bytes, Ordering::Relaxed);
        let mut held = Held::default();
        if let Some(was) = &self.was {
            let copy = self.target.directory.try_clone();
            held.add(
                copy.map_err(|error| TreeError::of_io("open", self.place.shown.clone(), &error))?,
                was.clone(),
                None,
            );
        }
        let source = Source { index, frames: FrameCache::new(self.install.frames), held: Some(&held) };
        let parts = crew::share(
            files.len(),
            || (Pen::new(&source), Vec::new()),
            |(pen, done), item| {
                if matches!(self.wants.role(files[item]), Role::Further(_)) {
                    return Ok(());
                }
                self.install.go_on()?;
                self.install.step(Step::File)?;
                let stamp = write_one(staging, &(first + item).to_string(), self.wants, files[item], pen)?;
                done.push((item, stamp.ino));
                progress.files.fetch_add(1, Ordering::Relaxed);
                progress.bytes.fetch_add(bytes_of(index, files[item]), Ordering::Relaxed);
                Ok::<(), TreeError>(())
            },
        )?;
        let mut inodes = vec![0; files.len()];
        parts.into_iter().flat_map(|(_, done)| done).for_each(|(item, ino)| inodes[item] = ino);
        self.join_names(staging, files, first, &mut inodes)?;
        Ok(inodes)
    }

    /// Further names are links to the first one, which was staged just now or stands in the target already.
    fn join_names(&self, staging: &OwnedFd, files: &[u32], first: usize, inodes: &mut [u64]) -> Result<(), TreeError> {
        let staged: HashMap<u32, usize> = files.iter().enumerate().map(|(item, &at)| (at, item)).collect();
        for (item, &at) in files.iter().enumerate() {
            let Role::Further(of) = self.wants.role(at) else { continue };
            self.install.go_on()?;
            self.install.step(Step::File)?;
            let (path, of_path) =
                (&self.install.index.entries[at as usize].path, &self.install.index.entries[of as usize].path);
            let name = (first + item).to_string();
            let linked = match staged.get(&of) {
                Some(other) => {
                    let of = (first + other).to_string();
                    calls::linkat(staging, &of, staging, &name, AtFlags::empty())
                }
                None => beneath::open_directory(&self.target.directory, parent_of(of_path))
                    .and_then(|from| calls::linkat(from, name_of(of_path), staging, &name, AtFlags::empty())),
            };
            let seen = linked.and_then(|()| beneath::look(staging, &name));
            let seen = seen.map_err(|errno| TreeError::of("link", path, errno))?;
            inodes[item] = seen.map_or(0, |seen| seen.stamp.ino);
            self.install.progress.files.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// All or nothing: the first failure puts everything back.
    fn apply(&mut self, staging: &OwnedFd, plan: &Plan) -> Result<(), TreeError> {
        let done = self.try_apply(staging, plan);
        if let Err(failure) = done {
            self.undo(staging)?;
            self.forget_staging()?;
            return Err(failure);
        }
        Ok(())
    }

    fn try_apply(&self, staging: &OwnedFd, plan: &Plan) -> Result<(), TreeError> {
        self.install.go_on()?;
        self.install.step(Step::Swap)?;
        let field = self.field(staging);
        for (at, step) in self.state.journal.iter().enumerate() {
            self.install.step(Step::Move)?;
            field.apply(at, step)?;
        }
        for &at in plan.make_directories.iter().rev() {
            let path = &self.install.index.entries[at as usize].path;
            let directory = beneath::open_directory(&self.target.directory, path);
            dress(directory.map_err(|errno| TreeError::of("open", path, errno))?, self.wants, at)?;
        }
        self.install.step(Step::Swapped)?;
        self.sync()
    }

    fn sync(&self) -> Result<(), TreeError> {
        calls::syncfs(&self.target.directory).map_err(|errno| TreeError::of("sync", self.place.shown.clone(), errno))
    }

    fn commit(&mut self, plan: &Plan) -> Result<Installed, TreeError> {
        self.install.step(Step::Commit)?;
        let (install, result) = (self.install, self.result(plan));
        let stamps = self.stamps(plan)?;
        self.state.serial += 1;
        let serial = self.state.serial;
        let kinds = (INDEX_KIND, STAMPS_KIND);
        let catalog = catalog::store(&self.records, kinds, &install.revision.header, install.index, &stamps, serial)?;
        self.state.catalog = Some(catalog);
        self.state.revision = Some(install.revision);
        self.state.journal.clear();
        self.note_directories(plan);
        self.state.save(&self.records)?;
        self.install.step(Step::Committed)?;
        self.sweep(install.index)?;
        Ok(result)
    }

    fn stamps(&self, plan: &Plan) -> Result<Vec<Stamp>, TreeError> {
        let index = self.install.index;
        let mut stamps = vec![Stamp::UNKNOWN; index.entries.len()];
        plan.unchanged.iter().for_each(|&(at, stamp)| stamps[at as usize] = stamp);
        for step in &self.state.journal {
            let (What::Replace { ino } | What::Create { ino }) = step.what else { continue };
            let seen = beneath::open_directory(&self.target.directory, parent_of(&step.path))
                .and_then(|parent| beneath::look(&parent, name_of(&step.path)))
                .map_err(|errno| TreeError::of("look at", &step.path, errno))?;
            // What somebody else has put there since is not ours to know.
            let ours = seen.filter(|seen| seen.stamp.ino == ino);
            if let (Some(at), Some(seen)) = (index.find(&step.path), ours) {
                stamps[at] = seen.stamp;
            }
        }
        Ok(stamps)
    }

    fn note_directories(&mut self, plan: &Plan) {
        let made = &mut self.state.made;
        made.retain(|path| !plan.remove_directories.iter().any(|(gone, _)| gone == path));
        made.extend(plan.make_directories.iter().map(|&at| self.install.index.entries[at as usize].path.clone()));
        made.sort_unstable();
        made.dedup();
    }

    /// Removes what `index`, the recorded revision, does without: old files, empty directories of ours, old records.
    fn sweep(&mut self, index: &Index) -> Result<(), TreeError> {
        let mut left = Vec::new();
        for path in self.state.made.iter().rev() {
            let wanted = index.find(path).is_some();
            if wanted || !self.remove_if_empty(path)? {
                left.push(path.clone());
            }
        }
        left.reverse();
        self.state.made = left;
        self.forget_staging()?;
        self.records.sweep(&[INDEX_KIND, STAMPS_KIND], &self.state.records_in_use())
    }

    /// True if it is gone.
    fn remove_if_empty(&self, path: &str) -> Result<bool, TreeError> {
        let parent = beneath::open_directory(&self.target.directory, parent_of(path));
        match parent.and_then(|parent| calls::unlinkat(parent, name_of(path), AtFlags::REMOVEDIR)) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => Ok(false),
            Err(errno) => Err(TreeError::of("remove", path, errno)),
        }
    }

    fn result(&self, plan: &Plan) -> Installed {
        let files = plan.replace.iter().chain(&plan.create);
        Installed {
            files_written: (plan.replace.len() + plan.create.len()) as u64,
            files_removed: plan.delete.len() as u64,
            bytes_written: files.map(|&at| bytes_of(self.install.index, at)).sum(),
            kept: plan.kept.clone(),
            ..Installed::nothing(ExtractOutcome::Installed, plan.unchanged.len() as u64, self.previous())
        }
    }
}

/// What must happen before new files have their places.
fn removals(index: &Index, plan: &Plan) -> Vec<Move> {
    let delete = plan.delete.iter().map(|path| Move { path: path.clone(), what: What::Delete });
    let remove = plan.remove_directories.iter();
    let remove = remove.map(|(path, mode)| Move { path: path.clone(), what: What::RemoveDirectory { mode: *mode } });
    let make = plan.make_directories.iter().map(|&at| {
        let entry = &index.entries[at as usize];
        Move { path: entry.path.clone(), what: What::MakeDirectory { mode: entry.mode } }
    });
    delete.chain(remove).chain(make).collect()
}

fn bytes_of(index: &Index, at: u32) -> u64 {
    match index.entries[at as usize].kind {
        EntryKind::File { bytes, .. } => bytes,
        _ => 0,
    }
}

fn write_one(staging: &OwnedFd, name: &str, wants: &Wants, at: u32, pen: &mut Pen) -> Result<Stamp, TreeError> {
    let entry = &wants.index.entries[at as usize];
    match &entry.kind {
        EntryKind::Directory => Ok(Stamp::UNKNOWN),
        EntryKind::Link { target } => write_link(staging.as_fd(), name, target, (wants, at))
            .map_err(|errno| TreeError::of("write", &entry.path, errno)),
        EntryKind::File { refs, .. } => write_file(staging.as_fd(), name, (wants, at), |sheet| pen.write(sheet, refs)),
    }
}

//! Puts a revision's files into a directory that others use too. Each file is replaced by one rename; a journal undoes
//! all of them if one fails or the program ends in between. It deletes only what an earlier revision put there, and
//! never what was changed on the spot.

mod ground;
mod moves;
mod plan;
mod state;

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
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
use ground::Ground;
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
    let mut plan = match work.plan()? {
        Ok(plan) => plan,
        Err(done) => return Ok(done),
    };
    work.make_sure_of_room(&plan)?;
    let staging = work.prepare_staging()?;
    let staged = work.stage(&staging, &plan)?;
    work.apply(&staging, &mut plan)?;
    work.commit(&plan, &staged)
}

/// The target of a merge that was cut off: until `recover` it may be half old, half new.
pub fn cut_off(state_dir: &Path) -> Result<Option<PathBuf>, TreeError> {
    let state: Option<State> = Records::at(state_dir).load(state::STATE)?;
    Ok(state.filter(|state| state.staging.is_some()).map(|state| state.target.into()))
}

/// Undoes a merge that was cut off. False if the directory is not there now, or is another one: then nothing is done, and
/// nothing forgotten.
pub fn recover(target: &Path, state_dir: &Path) -> Result<bool, TreeError> {
    let place = Place::open(target)?;
    let _lock = place.lock()?;
    let records = Records::at(state_dir);
    let state = State::load(&records, &place.shown)?;
    match place.shared_target()? {
        Some(root) if state.is_of(&root.node) => Ground::new(&place, records, state, root).recover().map(|()| true),
        _ => Ok(false),
    }
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
    ground: Ground<'a>,
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
        let mut ground = Ground::new(place, records, state, target);
        ground.recover()?;
        Ok(Merge { install, wants, layout, ground })
    }

    fn previous(&self) -> Option<u64> {
        self.ground.state.revision.map(|revision| revision.number)
    }

    /// What to do, or the result if there is nothing.
    fn plan(&mut self) -> Result<Result<Plan, Installed>, TreeError> {
        let (installed, wanted) = (self.ground.state.revision, self.install.revision);
        if installed.is_some_and(|installed| installed.number > wanted.number) && !self.install.pin {
            return Ok(Err(Installed::nothing(ExtractOutcome::Superseded, 0, self.previous())));
        }
        self.install.go_on()?;
        let (root, wants) = (self.ground.target.directory.as_fd(), self.wants);
        let scan = scan(root, wants, self.layout, self.install.cancel)?;
        let facts =
            Facts { target: root, wants, scan: &scan, was: self.ground.was.as_deref(), made: &self.ground.state.made };
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
        let target = self.ground.target.directory.as_fd();
        if beneath::look(target, STAGING).map_err(failed)?.is_some() {
            let emptied = self.ground.state.claimed && calls::unlinkat(target, STAGING, AtFlags::REMOVEDIR).is_ok();
            if !emptied {
                return Err(self.ground.staging_foreign());
            }
        }
        self.ground.state.claimed = true;
        self.ground.state.save(&self.ground.records)?;
        calls::mkdirat(target, STAGING, Mode::RWXU).map_err(failed)?;
        let opened = beneath::open_directory(target, STAGING).map_err(failed)?;
        self.ground.state.staging = Some(Node::of(&opened).map_err(failed)?);
        self.ground.state.claimed = false;
        self.ground.state.save(&self.ground.records)?;
        Ok(opened)
    }

    fn make_sure_of_room(&self, plan: &Plan) -> Result<(), TreeError> {
        let files = plan.replace.iter().chain(&plan.create);
        let written = files.filter(|&&at| !matches!(self.wants.role(at), Role::Further(_)));
        let needed = written.map(|&at| self.install.index.room_bytes(at)).sum();
        self.install.make_sure_of_room(&self.ground.target.directory, needed)
    }

    /// Writes the new files into the staging directory and the journal of what will be done with them.
    fn stage(&mut self, staging: &OwnedFd, plan: &Plan) -> Result<Vec<Stamp>, TreeError> {
        let mut journal = removals(self.install.index, plan);
        let files: Vec<u32> = plan.written().collect();
        let first = journal.len();
        let staged = self.write_files(staging, &files, first)?;
        for (place, (&at, &Stamp { ino, .. })) in files.iter().zip(&staged).enumerate() {
            let what = if place < plan.replace.len() { What::Replace { ino } } else { What::Create { ino } };
            journal.push(Move { path: self.install.index.entries[at as usize].path.clone(), what });
        }
        self.install.step(Step::Sync)?;
        // The descriptor was opened before the first write, so that it learns of every failed one since.
        calls::syncfs(staging).map_err(|errno| TreeError::of("sync", self.ground.place.shown.clone(), errno))?;
        self.ground.state.journal = journal;
        self.ground.state.save(&self.ground.records)?;
        Ok(staged)
    }

    fn write_files(&self, staging: &OwnedFd, files: &[u32], first: usize) -> Result<Vec<Stamp>, TreeError> {
        let (index, progress) = (self.install.index, self.install.progress);
        let bytes = files.iter().map(|&at| bytes_of(index, at)).sum();
        progress.files_total.store(files.len() as u64, Ordering::Relaxed);
        progress.bytes_total.store(bytes, Ordering::Relaxed);
        let mut held = Held::default();
        if let Some(was) = &self.ground.was {
            let copy = self.ground.target.directory.try_clone();
            held.add(
                copy.map_err(|error| TreeError::of_io("open", self.ground.place.shown.clone(), &error))?,
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
                done.push((item, stamp));
                progress.files.fetch_add(1, Ordering::Relaxed);
                progress.bytes.fetch_add(bytes_of(index, files[item]), Ordering::Relaxed);
                Ok::<(), TreeError>(())
            },
        )?;
        let mut stamps = vec![Stamp::UNKNOWN; files.len()];
        parts.into_iter().flat_map(|(_, done)| done).for_each(|(item, stamp)| stamps[item] = stamp);
        self.join_names(staging, files, first, &mut stamps)?;
        Ok(stamps)
    }

    /// Further names are links to the first one, which was staged just now or stands in the target already.
    fn join_names(
        &self,
        staging: &OwnedFd,
        files: &[u32],
        first: usize,
        stamps: &mut [Stamp],
    ) -> Result<(), TreeError> {
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
                None => beneath::open_directory(&self.ground.target.directory, parent_of(of_path))
                    .and_then(|from| calls::linkat(from, name_of(of_path), staging, &name, AtFlags::empty())),
            };
            let seen = linked.and_then(|()| beneath::look(staging, &name));
            let seen = seen.map_err(|errno| TreeError::of("link", path, errno))?;
            stamps[item] = seen.map_or(Stamp::UNKNOWN, |seen| seen.stamp);
            self.install.progress.files.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// All or nothing: the first failure puts everything back. What turns out to be kept goes over from one list of the plan to
    /// the other.
    fn apply(&mut self, staging: &OwnedFd, plan: &mut Plan) -> Result<(), TreeError> {
        let done = self.try_apply(staging, plan);
        if let Err(failure) = done {
            self.ground.undo(staging)?;
            self.ground.forget_staging()?;
            return Err(failure);
        }
        Ok(())
    }

    fn try_apply(&self, staging: &OwnedFd, plan: &mut Plan) -> Result<(), TreeError> {
        self.install.go_on()?;
        self.install.step(Step::Swap)?;
        let field = self.ground.field(staging);
        self.put_aside(&field, plan)?;
        for (at, step) in self.ground.state.journal.iter().enumerate().filter(|(_, step)| step.what != What::Delete) {
            self.install.step(Step::Move)?;
            field.apply(at, step)?;
        }
        for &at in plan.make_directories.iter().rev() {
            let path = &self.install.index.entries[at as usize].path;
            let directory = beneath::open_directory(&self.ground.target.directory, path);
            dress(directory.map_err(|errno| TreeError::of("open", path, errno))?, self.wants, at)?;
        }
        self.install.step(Step::Swapped)?;
        self.ground.sync()
    }

    fn commit(&mut self, plan: &Plan, staged: &[Stamp]) -> Result<Installed, TreeError> {
        self.install.step(Step::Commit)?;
        let (install, result) = (self.install, self.result(plan));
        let stamps = self.stamps(plan, staged)?;
        self.ground.state.serial += 1;
        let serial = self.ground.state.serial;
        let kinds = (INDEX_KIND, STAMPS_KIND);
        let catalog = catalog::store(&self.ground.records, kinds, install, &stamps, serial)?;
        self.ground.state.catalog = Some(catalog);
        self.ground.state.revision = Some(install.revision);
        self.ground.state.journal.clear();
        self.note_directories(plan);
        self.ground.state.save(&self.ground.records)?;
        self.install.step(Step::Committed)?;
        self.ground.sweep(install.index)?;
        Ok(result)
    }

    /// Staging may have taken long: each file that is to go is looked at again before and after.
    fn put_aside(&self, field: &Field, plan: &mut Plan) -> Result<(), TreeError> {
        for (at, (path, found)) in std::mem::take(&mut plan.delete).into_iter().enumerate() {
            if self.goes(field, at, (&path, &found))? {
                plan.delete.push((path, found));
            } else {
                plan.kept.push(path);
            }
        }
        Ok(())
    }

    /// False if somebody has changed it: then it stays, or comes back.
    fn goes(&self, field: &Field, at: usize, (path, found): (&str, &Stamp)) -> Result<bool, TreeError> {
        let (step, was) = (&self.ground.state.journal[at], self.ground.was.as_deref());
        let Some(seen) = plan::look(field.target, path)? else { return Ok(true) };
        if !was.map_or(Ok(false), |was| plan::is_found(field.target, was, (path, found), &seen))? {
            return Ok(false);
        }
        self.install.step(Step::Move)?;
        field.apply(at, step)?;
        let goes = field.holds(at, step, &seen.stamp)?;
        if !goes {
            field.put_back(at, step)?;
        }
        Ok(goes)
    }

    fn stamps(&self, plan: &Plan, staged: &[Stamp]) -> Result<Vec<Stamp>, TreeError> {
        let index = self.install.index;
        let mut stamps = vec![Stamp::UNKNOWN; index.entries.len()];
        plan.unchanged.iter().for_each(|&(at, stamp)| stamps[at as usize] = stamp);
        for (at, staged) in plan.written().zip(staged) {
            let seen = plan::look(self.ground.target.directory.as_fd(), &index.entries[at as usize].path)?;
            // What somebody else has put there or written since is not ours to know.
            if let Some(seen) = seen.filter(|seen| seen.stamp.same_but_links(staged)) {
                stamps[at as usize] = seen.stamp;
            }
        }
        Ok(stamps)
    }

    fn note_directories(&mut self, plan: &Plan) {
        let made = &mut self.ground.state.made;
        made.retain(|path| !plan.remove_directories.iter().any(|(gone, _)| gone == path));
        made.extend(plan.make_directories.iter().map(|&at| self.install.index.entries[at as usize].path.clone()));
        made.sort_unstable();
        made.dedup();
    }

    fn result(&self, plan: &Plan) -> Installed {
        Installed {
            files_written: (plan.replace.len() + plan.create.len()) as u64,
            files_removed: plan.delete.len() as u64,
            bytes_written: plan.written().map(|at| bytes_of(self.install.index, at)).sum(),
            kept: plan.kept.clone(),
            ..Installed::nothing(ExtractOutcome::Installed, plan.unchanged.len() as u64, self.previous())
        }
    }
}

/// What must happen before new files have their places; first of all, in the plan's order, files go.
fn removals(index: &Index, plan: &Plan) -> Vec<Move> {
    let delete = plan.delete.iter().map(|(path, _)| Move { path: path.clone(), what: What::Delete });
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

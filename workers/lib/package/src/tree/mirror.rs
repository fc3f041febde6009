//! Makes a target exactly a revision: the standby tree beside it is brought up to date, and the two change places in
//! one rename. It knows no job, no queue and no store of frames.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use schemas::definitions::Unchanged;
use schemas::{ExtractOutcome, RevisionRef};

use crate::index::{EntryKind, Index};

use super::beneath;
use super::calls;
use super::catalog::{self, Catalog, CatalogRef, NONE, join};
use super::check;
use super::content::Source;
use super::error::TreeError;
use super::frames::FrameCache;
use super::held::Held;
use super::install::{Install, Installed, Step};
use super::layout::Layout;
use super::node::Stamp;
use super::place::{Place, Root};
use super::plan::{Known, Plan};
use super::records::Records;
use super::scan::scan;
use super::stage::{Lender, Stage, Staged};
use super::state::{Pending, State, Tree};
use super::wants::Wants;

const INDEX_KIND: &str = "mirror-index";
const STAMPS_KIND: &str = "mirror-stamps";

/// Calling it again after a crash, a cancellation or an error goes on from there.
pub fn mirror(install: &Install) -> Result<Installed, TreeError> {
    mirrored(install).map_err(|error| error.with_figures(install.target))
}

fn mirrored(install: &Install) -> Result<Installed, TreeError> {
    let layout = check::layout_checked(install.index, install.policy)?;
    let wants = Wants::resolve(install.index)?;
    let place = Place::make(install.target)?;
    let _lock = place.lock()?;
    let mut work = Mirror::begin(install, (&wants, &layout), &place)?;
    if let Some(done) = work.nothing_to_do()? {
        return Ok(done);
    }
    work.admit_target()?;
    let standby = work.prepare_standby()?;
    let (staged, changed) = work.stage(&standby)?;
    work.make_durable(&standby, &staged, changed)?;
    work.swap()?;
    work.commit()
}

/// Makes the standby tree of what is installed, before a next revision needs it: that one then finds its unchanged files
/// linked, and costs what it changes. True if it was made. Nothing is done unless `install` is about what stands there,
/// shared files are wanted, and there is no standby tree. Cut short it leaves what an installation cut short leaves.
pub fn prepare(install: &Install) -> Result<bool, TreeError> {
    let layout = check::layout_checked(install.index, install.policy)?;
    let wants = Wants::resolve(install.index)?;
    let place = Place::open(install.target)?;
    let _lock = place.lock()?;
    let mut work = Mirror::begin(install, (&wants, &layout), &place)?;
    if !work.lacks_standby()? {
        return Ok(false);
    }
    let standby = work.prepare_standby()?;
    let (staged, changed) = work.stage(&standby)?;
    work.make_durable(&standby, &staged, changed)?;
    work.put_by(&standby)?;
    Ok(true)
}

/// What is recorded of a site's trees at one target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    pub live: Option<RevisionRef>,
    /// A rollback to it needs no content.
    pub standby: Option<RevisionRef>,
}

/// None if nothing was ever mirrored there.
pub fn installed(target: &Path, state_dir: &Path) -> Result<Option<Standing>, TreeError> {
    let Some(Settled { state, .. }) = settled(target, state_dir)? else { return Ok(None) };
    let revision = |tree: Option<Tree>| tree.and_then(|tree| tree.revision);
    Ok(Some(Standing { live: revision(state.live), standby: revision(state.standby) }))
}

type HeldRoots = Vec<(OwnedFd, Arc<Catalog>, bool)>;

/// The trees whose content is known, each with its root; true for the live one. Somebody may be at work there: what the record names
/// and is gone by now is named otherwise by the next one.
pub(super) fn trees_held(target: &Path, state_dir: &Path) -> Result<HeldRoots, TreeError> {
    let (held, is_whole) = trees_recorded(target, state_dir)?;
    if is_whole { Ok(held) } else { Ok(trees_recorded(target, state_dir)?.0) }
}

/// And whether all that the record names could be read.
fn trees_recorded(target: &Path, state_dir: &Path) -> Result<(HeldRoots, bool), TreeError> {
    let Some(Settled { state, live, standby }) = settled(target, state_dir)? else { return Ok((Vec::new(), true)) };
    let records = Records::at(state_dir);
    let of_live = load(&records, state.live.as_ref(), &[]);
    let there = named(state.live.as_ref(), of_live.as_ref());
    let of_standby = load(&records, state.standby.as_ref(), there.as_slice());
    let is_named = |tree: &Option<Tree>| tree.as_ref().is_some_and(|tree| tree.catalog.is_some());
    let is_whole = is_named(&state.live) == of_live.is_some() && is_named(&state.standby) == of_standby.is_some();
    let trees = [(of_live, live, true), (of_standby, standby, false)].into_iter();
    let held = trees.filter_map(|(catalog, root, is_live)| Some((root?.directory, catalog?, is_live))).collect();
    Ok((held, is_whole))
}

/// The revision that should stand at the target, with its index; also if the target is gone or was replaced.
pub(super) fn recorded(target: &Path, state_dir: &Path) -> Result<Option<(RevisionRef, Arc<Index>)>, TreeError> {
    let Some(settled) = settled(target, state_dir)? else { return Ok(None) };
    let records = Records::at(state_dir);
    let live = match settled.state.live {
        Some(live) => Some(live),
        None => records.load::<State>(super::state::STATE)?.and_then(|state| state.live),
    };
    let Some((revision, at)) = live.and_then(|live| live.revision.zip(live.catalog)) else { return Ok(None) };
    let catalog = Catalog::load(&records, &at);
    let lost = || TreeError::RecordDamaged { path: at.index.clone(), why: "it is lost".into() };
    Ok(Some((revision, catalog.ok_or_else(lost)?.index)))
}

struct Settled {
    state: State,
    live: Option<Root>,
    standby: Option<Root>,
}

/// The record as a resume would see it; nothing is changed.
fn settled(target: &Path, state_dir: &Path) -> Result<Option<Settled>, TreeError> {
    let records = Records::at(state_dir);
    if !records.has(super::state::STATE) {
        return Ok(None);
    }
    let place = match Place::open(target) {
        Err(TreeError::Io { errno: Errno::NOENT, .. }) => return Ok(None),
        other => other?,
    };
    let mut state = State::load(&records, &place.shown)?;
    let (live, standby) = (place.target()?, place.standby()?);
    state.settle(live.as_ref().map(|root| &root.node), standby.as_ref().map(|root| &root.node));
    Ok(Some(Settled { state, live, standby }))
}

struct Mirror<'a> {
    install: &'a Install<'a>,
    wants: &'a Wants<'a>,
    layout: &'a Layout,
    place: &'a Place,
    records: Records,
    state: State,
    target: Option<Root>,
    /// Of the live tree, if it is ours.
    live: Option<Arc<Catalog>>,
    /// Of an installation that a crash had cut off between the swap and its record.
    finished: Option<Installed>,
}

impl<'a> Mirror<'a> {
    fn begin(
        install: &'a Install<'a>,
        (wants, layout): (&'a Wants<'a>, &'a Layout),
        place: &'a Place,
    ) -> Result<Mirror<'a>, TreeError> {
        if install.state_dir.starts_with(install.target) {
            let why = "its records would be in it";
            return Err(TreeError::TargetInvalid { target: place.shown.clone(), why });
        }
        let records = Records::open(install.state_dir)?;
        let mut state = State::load(&records, &place.shown)?;
        let (target, standby) = (place.target()?, place.standby()?);
        let resumed = state.pending.is_some();
        let finished = state.settle(target.as_ref().map(|r| &r.node), standby.as_ref().map(|r| &r.node));
        if resumed {
            place.sync()?;
            state.save(&records)?;
        }
        let wanted = catalog::index_name(INDEX_KIND, &install.revision.header);
        let live = load(&records, state.live.as_ref(), &[(&wanted, install.index)]);
        Ok(Mirror { install, wants, layout, place, records, state, target, live, finished })
    }

    fn previous(&self) -> Option<u64> {
        self.state.live.as_ref().and_then(|tree| tree.revision).map(|revision| revision.number)
    }

    fn nothing_to_do(&mut self) -> Result<Option<Installed>, TreeError> {
        let installed = self.state.live.as_ref().and_then(|tree| tree.revision);
        match installed {
            Some(installed) if installed == self.install.revision && self.is_clean()? => {
                let files =
                    self.install.index.entries.iter().filter(|entry| entry.kind != EntryKind::Directory).count();
                let already = Installed::nothing(ExtractOutcome::Already, files as u64, self.previous());
                Ok(Some(self.finished.take().unwrap_or(already)))
            }
            Some(installed) if installed.number > self.install.revision.number && !self.install.pin => {
                Ok(Some(Installed::nothing(ExtractOutcome::Superseded, 0, self.previous())))
            }
            _ => Ok(None),
        }
    }

    /// The live tree is as it was installed, by its stats.
    fn is_clean(&self) -> Result<bool, TreeError> {
        let (Some(target), Some(live)) = (&self.target, &self.live) else { return Ok(false) };
        let scan = scan(target.directory.as_fd(), self.wants, self.layout, self.install.cancel)?;
        let known = Known { standby: Some(live), live: None, is_shared: true };
        Ok(Plan::make(self.wants, self.layout, scan, known).is_clean(self.wants))
    }

    fn admit_target(&self) -> Result<(), TreeError> {
        let Some(target) = &self.target else { return Ok(()) };
        if self.state.live.is_some() || self.install.adopt {
            return Ok(());
        }
        let failed = |errno| TreeError::of("read", self.place.shown.clone(), errno);
        if beneath::is_empty(target.directory.as_fd()).map_err(failed)? {
            return Ok(());
        }
        Err(TreeError::TargetForeign { target: self.place.shown.clone() })
    }

    /// What is installed is what is asked about, and the next revision would have to link all of it.
    fn lacks_standby(&self) -> Result<bool, TreeError> {
        let installed = self.state.live.as_ref().and_then(|tree| tree.revision) == Some(self.install.revision);
        let shared = self.install.unchanged == Unchanged::Link;
        Ok(installed && shared && self.live.is_some() && self.place.standby()?.is_none())
    }

    /// Records the staged tree as the standby one, with the live tree's stamps that its links moved: as a resume does with
    /// a swap that never came.
    fn put_by(&mut self, standby: &Root) -> Result<(), TreeError> {
        let target = self.target.as_ref().map(|root| root.node);
        self.state.settle(target.as_ref(), Some(&standby.node));
        self.state.save(&self.records)?;
        self.records.sweep(&[INDEX_KIND, STAMPS_KIND], &self.state.records_in_use())
    }

    /// The standby tree, as it is or new and empty.
    fn prepare_standby(&mut self) -> Result<Root, TreeError> {
        self.install.go_on()?;
        self.install.step(Step::Stage)?;
        match self.place.standby()? {
            Some(root) if self.state.standby.as_ref().is_some_and(|tree| !tree.foreign) => return Ok(root),
            Some(_) => self.clear_standby()?,
            None => {}
        }
        self.state.claimed = true;
        self.state.standby = None;
        self.state.save(&self.records)?;
        let failed = |errno| TreeError::of("make", self.place.beside(&self.place.standby_name), errno);
        calls::mkdirat(self.place.parent(), &*self.place.standby_name, Mode::RWXU).map_err(failed)?;
        let root = self.place.standby()?.ok_or(Errno::NOENT).map_err(failed)?;
        self.state.standby = Some(Tree { node: root.node, revision: None, catalog: None, foreign: false });
        self.state.claimed = false;
        self.state.save(&self.records)?;
        Ok(root)
    }

    /// Removes what an adoption had set aside, or a directory that was made and not recorded any more.
    fn clear_standby(&self) -> Result<(), TreeError> {
        let (parent, name) = (self.place.parent(), &*self.place.standby_name);
        let path = || self.place.beside(name);
        if self.state.standby.is_some() {
            let removed = beneath::remove(parent, name.as_bytes());
            return removed.map(|_| ()).map_err(|errno| TreeError::of("remove", path(), errno));
        }
        if !self.state.claimed {
            return Err(TreeError::StagingForeign { path: path() });
        }
        match calls::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Err(TreeError::StagingForeign { path: path() }),
            Err(errno) => Err(TreeError::of("remove", path(), errno)),
        }
    }

    /// And whether anything had to be changed.
    fn stage(&mut self, standby: &Root) -> Result<(Staged, bool), TreeError> {
        let (index, root) = (self.install.index, standby.directory.as_fd());
        let wanted = catalog::index_name(INDEX_KIND, &self.install.revision.header);
        let there = named(self.state.live.as_ref(), self.live.as_ref()).into_iter();
        let there: Vec<_> = there.chain([(&*wanted, self.install.index)]).collect();
        let recorded = load(&self.records, self.state.standby.as_ref(), &there);
        let scan = scan(root, self.wants, self.layout, self.install.cancel)?;
        let is_shared = self.install.unchanged == Unchanged::Link;
        let known = Known { standby: recorded.as_deref(), live: self.live.as_deref(), is_shared };
        let plan = Plan::make(self.wants, self.layout, scan, known);
        let changed = !plan.is_empty(self.wants);
        if changed {
            self.disown_standby()?;
        }
        self.announce(&plan);
        let held = self.held(standby, recorded, index)?;
        let live = self.live.as_deref().zip(self.target.as_ref());
        let live = live.map(|(catalog, target)| Lender { root: target.directory.as_fd(), catalog });
        let source = Source { index, frames: FrameCache::new(self.install.frames), held: Some(&held) };
        let (wants, layout) = (self.wants, self.layout);
        let stage = Stage { install: self.install, wants, layout, plan: &plan, root, live, source };
        let staged = if changed { stage.run()? } else { stage.keep() };
        Ok((staged, changed))
    }

    /// While it is being changed, the standby tree is no revision.
    fn disown_standby(&mut self) -> Result<(), TreeError> {
        match &mut self.state.standby {
            Some(tree) if tree.revision.is_some() => tree.revision = None,
            _ => return Ok(()),
        }
        self.state.save(&self.records)
    }

    fn announce(&self, plan: &Plan) {
        let (work, progress) = (plan.work(), self.install.progress);
        let bytes = |at: &u32| match self.install.index.entries[*at as usize].kind {
            EntryKind::File { bytes, .. } => bytes,
            _ => 0,
        };
        progress.files_total.store((work.len() + plan.names().len()) as u64, Ordering::Relaxed);
        progress.bytes_total.store(work.iter().map(bytes).sum(), Ordering::Relaxed);
    }

    fn held(&self, standby: &Root, recorded: Option<Arc<Catalog>>, index: &Index) -> Result<Held, TreeError> {
        let copy = |root: &Root| {
            root.directory.try_clone().map_err(|error| TreeError::of_io("open", self.place.shown.clone(), &error))
        };
        let mut held = Held::default();
        if let Some((catalog, target)) = self.live.as_ref().zip(self.target.as_ref()) {
            held.add(copy(target)?, catalog.clone(), None);
        }
        if let Some(catalog) = recorded {
            held.add(copy(standby)?, catalog, Some(index));
        }
        Ok(held)
    }

    /// The live tree's stamps with those that staging moved; None if it moved none.
    fn live_stamps(&self, staged: &Staged) -> Option<Vec<Stamp>> {
        let live = self.live.as_ref().filter(|_| !staged.live_moved.is_empty())?;
        let mut stamps = live.stamps.clone();
        staged.live_moved.iter().for_each(|&(at, stamp)| stamps[at as usize] = stamp);
        Some(stamps)
    }

    /// From here on a power cut leaves the staged tree whole, and a record that says so.
    fn make_durable(&mut self, standby: &Root, staged: &Staged, changed: bool) -> Result<(), TreeError> {
        self.install.go_on()?;
        self.install.step(Step::Sync)?;
        if changed {
            // The descriptor was opened before the first write, so that it learns of every failed one since.
            calls::syncfs(&standby.directory)
                .map_err(|errno| TreeError::of("sync", self.place.shown.clone(), errno))?;
        }
        self.state.serial += 2;
        let (install, serial) = (self.install, self.state.serial);
        let catalog = catalog::store(&self.records, (INDEX_KIND, STAMPS_KIND), install, &staged.stamps, serial)?;
        let tree =
            Tree { node: standby.node, revision: Some(install.revision), catalog: Some(catalog), foreign: false };
        let aside = self.aside(self.live_stamps(staged), serial + 1)?;
        let result = self.result(staged);
        self.state.pending = Some(Pending { tree, aside, result });
        self.state.save(&self.records)
    }

    /// What the target will be called as the standby tree.
    fn aside(&self, live_stamps: Option<Vec<Stamp>>, serial: u64) -> Result<Option<Tree>, TreeError> {
        let Some(target) = &self.target else { return Ok(None) };
        let Some(mut tree) = self.state.live.clone() else {
            return Ok(Some(Tree { node: target.node, revision: None, catalog: None, foreign: true }));
        };
        if let (Some(stamps), Some(catalog)) = (live_stamps, &mut tree.catalog) {
            let moved = catalog::store_stamps(&self.records, STAMPS_KIND, &stamps, serial)?;
            *catalog = CatalogRef { index: catalog.index.clone(), stamps: moved };
        }
        Ok(Some(tree))
    }

    fn result(&self, staged: &Staged) -> Installed {
        Installed {
            files_written: staged.files_written,
            files_linked: staged.files_linked,
            files_removed: self.live.as_ref().map_or(0, |live| files_gone(live, self.install.index)),
            bytes_written: staged.bytes_written,
            ..Installed::nothing(ExtractOutcome::Installed, staged.files_kept + staged.files_linked, self.previous())
        }
    }

    fn swap(&self) -> Result<(), TreeError> {
        self.install.go_on()?;
        self.install.step(Step::Swap)?;
        self.place.swap(self.target.is_some())?;
        self.install.step(Step::Swapped)?;
        self.place.sync()
    }

    fn commit(&mut self) -> Result<Installed, TreeError> {
        self.install.step(Step::Commit)?;
        let staged = self.state.pending.as_ref().map(|pending| pending.tree.node);
        let aside = self.target.as_ref().map(|root| root.node);
        let result = self.state.settle(staged.as_ref(), aside.as_ref());
        self.state.save(&self.records)?;
        self.install.step(Step::Committed)?;
        self.records.sweep(&[INDEX_KIND, STAMPS_KIND], &self.state.records_in_use())?;
        result.ok_or_else(|| TreeError::of("commit", self.place.shown.clone(), Errno::IO))
    }
}

/// What is recorded of a tree, beside indexes that are there.
fn load(records: &Records, tree: Option<&Tree>, there: &[(&str, &Arc<Index>)]) -> Option<Arc<Catalog>> {
    let at = tree.and_then(|tree| tree.catalog.as_ref())?;
    Catalog::load_beside(records, at, there).map(Arc::new)
}

/// A tree's index, under the name of its record.
fn named<'a>(tree: Option<&'a Tree>, catalog: Option<&'a Arc<Catalog>>) -> Option<(&'a str, &'a Arc<Index>)> {
    let at = tree.and_then(|tree| tree.catalog.as_ref())?;
    Some((&at.index, &catalog?.index))
}

fn files_gone(live: &Catalog, index: &Index) -> u64 {
    let new_of = join(&live.index, index);
    let gone = |at: &usize| live.index.entries[*at].kind != EntryKind::Directory && new_of[*at] == NONE;
    (0..new_of.len()).filter(gone).count() as u64
}

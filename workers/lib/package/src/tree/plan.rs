//! What must be done so that the standby tree becomes the revision: a pure decision from what stands there, what is
//! recorded, and what the live tree can lend. It touches no file.

use std::collections::HashSet;

use crate::index::{EntryKind, Index};

use super::catalog::{Catalog, NONE, join, same_entry};
use super::layout::{Layout, ROOT};
use super::node::{Seen, SeenKind};
use super::scan::{Extra, Scan};
use super::wants::{Role, Roles, Wants};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// It is there, and its stamp is the recorded one.
    Keep,
    /// It looks right but nothing recorded proves it: read it.
    Recheck,
    /// The live tree has the same file, at this position of its index.
    Link(u32),
    /// It becomes a further name of the file at this position, which comes first.
    Name(u32),
    Write,
    /// A symbolic link; where in its index the live tree has the same one, if it has.
    MakeLink(Option<u32>),
    KeepDirectory,
    MakeDirectory,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By position in the new index.
    pub actions: Vec<Action>,
    /// What stands there now, unless `in_the_way` has it.
    pub stands: Vec<Option<Seen>>,
    /// Positions where something of the wrong kind must go first.
    pub in_the_way: Vec<u32>,
    pub extras: Vec<Extra>,
    /// Directories that have other attributes than they should.
    pub undressed: HashSet<u32>,
    /// Directories whose content will change, by position.
    pub touched: Vec<bool>,
    /// Files of the live tree that lose a link by this, by position in its index: their stamps move.
    pub shared: Vec<u32>,
}

/// The standby tree's record and the live one's, each if there is one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known<'a> {
    pub standby: Option<&'a Catalog>,
    pub live: Option<&'a Catalog>,
    /// Files may be shared between the two.
    pub is_shared: bool,
}

impl Plan {
    pub fn make(wants: &Wants, layout: &Layout, scan: Scan, known: Known) -> Plan {
        let index = wants.index;
        let (standby, live) = (Record::of(known.standby, index), Record::of(known.live, index));
        let entries = index.entries.len();
        let Scan { seen: stands, extras, undressed } = scan;
        let (actions, touched) = (Vec::with_capacity(entries), vec![false; entries]);
        let mut plan = Plan { actions, stands, extras, undressed, touched, ..Plan::default() };
        for at in 0..entries {
            let (was, lent) = (standby.at(at), live.at(at));
            let apart = |seen: &Seen| known.is_shared || !lent.is_the_file(seen);
            plan.decide(wants, apart, was, lent);
        }
        plan.separate(wants);
        plan.mark_touched(layout);
        plan.shared = shared(index, &standby, &live, &plan.actions);
        plan
    }

    /// The next one. What stands there does not count unless it is `apart`: it is the live tree's file, too, and may not be.
    fn decide(&mut self, wants: &Wants, apart: impl Fn(&Seen) -> bool, was: Was, lent: Was) {
        let at = self.actions.len() as u32;
        let stands = &mut self.stands[at as usize];
        let seen = *stands;
        let entry = &wants.index.entries[at as usize];
        let fits = seen.is_some_and(|seen| (seen.kind == SeenKind::Directory) == (entry.kind == EntryKind::Directory));
        if seen.is_some() && !fits {
            self.in_the_way.push(at);
            *stands = None;
        }
        let seen = stands.filter(apart);
        self.actions.push(match (&entry.kind, seen) {
            (EntryKind::Directory, Some(_)) => Action::KeepDirectory,
            (EntryKind::Directory, None) => Action::MakeDirectory,
            (EntryKind::File { .. }, seen) if let Role::Further(first) = wants.role(at) => self.name(first, seen),
            (_, Some(seen)) if was.is_proof(wants, at, &seen) => Action::Keep,
            (EntryKind::Link { .. }, _) => Action::MakeLink(lent.place(wants, at)),
            (EntryKind::File { .. }, Some(seen)) if wants.looks_right(at, &seen) && !was.is_other(wants, at, &seen) => {
                Action::Recheck
            }
            (EntryKind::File { .. }, _) => lent.link(wants, at).unwrap_or(Action::Write),
        });
    }

    fn name(&self, first: u32, seen: Option<Seen>) -> Action {
        let is_kept = self.actions[first as usize] == Action::Keep;
        let first_seen = self.stands[first as usize].filter(|_| is_kept);
        match (first_seen, seen) {
            (Some(first), Some(seen)) if seen.stamp == first.stamp => Action::Keep,
            _ => Action::Name(first),
        }
    }

    /// Two files of the revision must not be one on disk, as somebody's `ln` may have made them: the later is written
    /// anew. Recorded files never are; a link that came since has changed the stamps of both.
    fn separate(&mut self, wants: &Wants) {
        let of = |action: &Action, at: usize| match action {
            Action::Recheck => self.stands[at].filter(|seen| seen.names > 1).map(|seen| seen.stamp.ino),
            _ => None,
        };
        let rechecked: Vec<(usize, u64)> =
            self.actions.iter().enumerate().filter_map(|(at, action)| Some((at, of(action, at)?))).collect();
        if rechecked.is_empty() {
            return;
        }
        let kept = |(at, action): (usize, &Action)| match action {
            Action::Keep if !matches!(wants.role(at as u32), Role::Further(_)) => {
                self.stands[at].map(|seen| seen.stamp.ino)
            }
            _ => None,
        };
        let mut taken: HashSet<u64> = self.actions.iter().enumerate().filter_map(kept).collect();
        for (at, ino) in rechecked {
            if !taken.insert(ino) {
                self.actions[at] = Action::Write;
            }
        }
    }

    fn mark_touched(&mut self, layout: &Layout) {
        for (at, action) in self.actions.iter().enumerate() {
            if !matches!(action, Action::Keep | Action::KeepDirectory) {
                self.touched[layout.parent(at as u32) as usize] = true;
            }
            if *action == Action::MakeDirectory {
                self.touched[at] = true;
            }
        }
        for &at in &self.in_the_way {
            self.touched[layout.parent(at) as usize] = true;
        }
        for extra in &self.extras {
            self.touched[extra.directory as usize] = true;
        }
    }

    /// Files and links to be written, linked or read, in order.
    pub fn work(&self) -> Vec<u32> {
        let wants =
            |action: &Action| matches!(action, Action::Recheck | Action::Link(_) | Action::Write | Action::MakeLink(_));
        (ROOT..self.actions.len() as u32).filter(|&at| wants(&self.actions[at as usize])).collect()
    }

    /// Entries that become further names of a file that comes before them, with the position of that.
    pub fn names(&self) -> Vec<(u32, u32)> {
        let name = |(at, action): (usize, &Action)| match action {
            Action::Name(first) => Some((at as u32, *first)),
            _ => None,
        };
        self.actions.iter().enumerate().filter_map(name).collect()
    }

    /// Directories whose owner, mode, attributes or time must be set in the end.
    pub fn directories(&self, wants: &Wants) -> Vec<u32> {
        let differs = |at: usize| {
            !self.is_dressed(wants, at)
                || self.stands[at].is_none_or(|seen| seen.stamp.mtime_ns != wants.index.entries[at].mtime_ns)
        };
        (0..self.actions.len())
            .filter(|&at| matches!(self.actions[at], Action::KeepDirectory | Action::MakeDirectory))
            .filter(|&at| self.touched[at] || differs(at))
            .map(|at| at as u32)
            .collect()
    }

    /// Nothing differs but times of directories, which any program moves that makes a file and removes it again.
    pub fn is_clean(&self, wants: &Wants) -> bool {
        let kept = |at: usize| match self.actions[at] {
            Action::Keep => true,
            Action::KeepDirectory => self.is_dressed(wants, at),
            _ => false,
        };
        self.extras.is_empty() && (0..self.actions.len()).all(kept)
    }

    /// Nothing in the tree has to be touched.
    pub fn is_empty(&self, wants: &Wants) -> bool {
        self.is_clean(wants) && self.directories(wants).is_empty()
    }

    /// A directory that has its mode, its owner and its attributes.
    fn is_dressed(&self, wants: &Wants, at: usize) -> bool {
        let fits = |seen: Seen| seen.mode == wants.index.entries[at].mode && wants.has_owner(at as u32, &seen);
        self.stands[at].is_some_and(fits) && !self.undressed.contains(&(at as u32))
    }
}

/// A tree's catalog, beside the new index.
struct Record<'a> {
    catalog: Option<&'a Catalog>,
    /// Of each new entry, the recorded one with the same path.
    place_of: Vec<u32>,
    roles: Roles,
}

impl<'a> Record<'a> {
    fn of(catalog: Option<&'a Catalog>, index: &Index) -> Record<'a> {
        let place_of = catalog.map(|catalog| join(index, &catalog.index)).unwrap_or_default();
        let roles = catalog.map(|catalog| Roles::of(&catalog.index)).unwrap_or_default();
        Record { catalog, place_of, roles }
    }

    fn at(&self, at: usize) -> Was<'_> {
        let place = self.place_of.get(at).copied().filter(|&place| place != NONE);
        Was(self.catalog.zip(place).map(|(catalog, place)| (catalog, place, self.roles.of_entry(place))))
    }
}

/// What a catalog recorded for a path, where, and what that was among the names of its file.
#[derive(Clone, Copy)]
struct Was<'a>(Option<(&'a Catalog, u32, Role)>);

impl Was<'_> {
    fn is_same(self, wants: &Wants, at: u32) -> bool {
        self.0.is_some_and(|(catalog, place, role)| {
            role.may_become(wants.role(at)) && same_entry(&catalog.index, place, wants.index, at)
        })
    }

    fn is_untouched(self, seen: &Seen) -> bool {
        self.0.is_some_and(|(catalog, place, _)| catalog.stamps[place as usize] == seen.stamp)
    }

    fn is_the_file(self, seen: &Seen) -> bool {
        let is_file = seen.kind == SeenKind::File;
        is_file && self.0.is_some_and(|(catalog, place, _)| catalog.stamps[place as usize].ino == seen.stamp.ino)
    }

    fn is_proof(self, wants: &Wants, at: u32, seen: &Seen) -> bool {
        self.is_untouched(seen) && self.is_same(wants, at)
    }

    /// Known to be something else, though it looks the same.
    fn is_other(self, wants: &Wants, at: u32, seen: &Seen) -> bool {
        self.is_untouched(seen) && !self.is_same(wants, at)
    }

    fn link(self, wants: &Wants, at: u32) -> Option<Action> {
        self.place(wants, at).map(Action::Link)
    }

    /// Where it is recorded, if it is the same.
    fn place(self, wants: &Wants, at: u32) -> Option<u32> {
        self.0.filter(|_| self.is_same(wants, at)).map(|(_, place, _)| place)
    }
}

/// Between the trees only equal paths are linked to each other; but where a file has several names in either tree, any of
/// them may lose or win a link.
fn shared(index: &Index, standby: &Record, live: &Record, actions: &[Action]) -> Vec<u32> {
    let Some(catalog) = live.catalog else { return Vec::new() };
    let new_of = join(&catalog.index, index);
    let standby_of = standby.catalog.map(|standby| join(&catalog.index, &standby.index));
    let new_roles = Roles::of(index);
    let place = |joined: &[u32], at: usize| joined.get(at).copied().filter(|&place| place != NONE);
    let is_shared = |at: usize| {
        let other = standby.catalog.zip(standby_of.as_deref().and_then(|joined| place(joined, at)));
        other.is_some_and(|(standby, other)| catalog.stamps[at].ino == standby.stamps[other as usize].ino)
    };
    let has_names = |at: usize| {
        let was = standby_of.as_deref().and_then(|joined| place(joined, at)).map(|at| standby.roles.of_entry(at));
        let now = place(&new_of, at).map(|at| new_roles.of_entry(at));
        let roles = [Some(live.roles.of_entry(at as u32)), was, now];
        roles.into_iter().flatten().any(|role| role != Role::Alone)
    };
    let stays = |at: usize| place(&new_of, at).is_some_and(|at| matches!(actions[at as usize], Action::Keep));
    let known = (0..catalog.stamps.len()).filter(|&at| catalog.stamps[at].is_known());
    known.filter(|&at| has_names(at) || (is_shared(at) && !stays(at))).map(|at| at as u32).collect()
}

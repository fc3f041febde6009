//! What must be done so that the standby tree becomes the revision: a pure decision from what stands there, what is
//! recorded, and what the live tree can lend. It touches no file.

use crate::index::{Entry, EntryKind, Index};

use super::catalog::{Catalog, NONE, join, same_entry};
use super::layout::{Layout, ROOT};
use super::node::{Seen, SeenKind, Stamp};
use super::scan::{Extra, Scan};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// It is there, and its stamp is the recorded one.
    Keep(Stamp),
    /// It looks right but nothing recorded proves it: read it.
    Recheck,
    /// The live tree has the same file, at this position of its index.
    Link(u32),
    Write,
    MakeLink,
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
}

impl Plan {
    pub fn make(index: &Index, layout: &Layout, scan: Scan, known: Known) -> Plan {
        let standby_of = known.standby.map(|standby| join(index, &standby.index));
        let live_of = known.live.map(|live| join(index, &live.index));
        let mut plan = Plan { touched: vec![false; index.entries.len()], extras: scan.extras, ..Plan::default() };
        for (at, entry) in index.entries.iter().enumerate() {
            let was = recorded(known.standby, standby_of.as_deref(), at);
            let lent = recorded(known.live, live_of.as_deref(), at);
            plan.decide(index, entry, scan.seen[at], was, lent);
        }
        plan.mark_touched(layout);
        plan.shared = shared(index, known, &plan.actions);
        plan
    }

    fn decide(&mut self, index: &Index, entry: &Entry, seen: Option<Seen>, was: Was, lent: Was) {
        let at = self.actions.len() as u32;
        let fits = seen.is_some_and(|seen| (seen.kind == SeenKind::Directory) == (entry.kind == EntryKind::Directory));
        if seen.is_some() && !fits {
            self.in_the_way.push(at);
        }
        let seen = seen.filter(|_| fits);
        self.stands.push(seen);
        self.actions.push(match (&entry.kind, seen) {
            (EntryKind::Directory, Some(_)) => Action::KeepDirectory,
            (EntryKind::Directory, None) => Action::MakeDirectory,
            (_, Some(seen)) if was.is_proof(index, entry, &seen) => Action::Keep(seen.stamp),
            (EntryKind::Link { .. }, _) => Action::MakeLink,
            (EntryKind::File { .. }, Some(seen)) if looks_right(entry, &seen) && !was.is_other(index, entry, &seen) => {
                Action::Recheck
            }
            (EntryKind::File { .. }, _) => lent.link(index, entry).unwrap_or(Action::Write),
        });
    }

    fn mark_touched(&mut self, layout: &Layout) {
        for (at, action) in self.actions.iter().enumerate() {
            if !matches!(action, Action::Keep(_) | Action::KeepDirectory) {
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
            |action: &Action| matches!(action, Action::Recheck | Action::Link(_) | Action::Write | Action::MakeLink);
        (ROOT..self.actions.len() as u32).filter(|&at| wants(&self.actions[at as usize])).collect()
    }

    /// Directories whose mode or time must be set in the end.
    pub fn directories(&self, index: &Index) -> Vec<u32> {
        let differs = |at: usize| {
            let entry = &index.entries[at];
            self.stands[at].is_none_or(|seen| seen.mode != entry.mode || seen.stamp.mtime_ns != entry.mtime_ns)
        };
        (0..self.actions.len())
            .filter(|&at| matches!(self.actions[at], Action::KeepDirectory | Action::MakeDirectory))
            .filter(|&at| self.touched[at] || differs(at))
            .map(|at| at as u32)
            .collect()
    }

    /// Nothing differs but times of directories, which any program moves that makes a file and removes it again.
    pub fn is_clean(&self, index: &Index) -> bool {
        let kept = |at: usize| match self.actions[at] {
            Action::Keep(_) => true,
            Action::KeepDirectory => self.stands[at].is_some_and(|seen| seen.mode == index.entries[at].mode),
            _ => false,
        };
        self.extras.is_empty() && (0..self.actions.len()).all(kept)
    }

    /// Nothing in the tree has to be touched.
    pub fn is_empty(&self, index: &Index) -> bool {
        self.is_clean(index) && self.directories(index).is_empty()
    }
}

/// What a catalog recorded for a path.
#[derive(Clone, Copy)]
struct Was<'a>(Option<(&'a Catalog, u32)>);

fn recorded<'a>(catalog: Option<&'a Catalog>, joined: Option<&[u32]>, at: usize) -> Was<'a> {
    let place = joined.map(|joined| joined[at]).filter(|&place| place != NONE);
    Was(catalog.zip(place))
}

impl Was<'_> {
    fn is_same(self, index: &Index, entry: &Entry) -> bool {
        self.0
            .is_some_and(|(catalog, at)| same_entry(&catalog.index, &catalog.index.entries[at as usize], index, entry))
    }

    fn is_untouched(self, seen: &Seen) -> bool {
        self.0.is_some_and(|(catalog, at)| catalog.stamps[at as usize] == seen.stamp)
    }

    fn is_proof(self, index: &Index, entry: &Entry, seen: &Seen) -> bool {
        self.is_untouched(seen) && self.is_same(index, entry)
    }

    /// Known to be something else, though it looks the same.
    fn is_other(self, index: &Index, entry: &Entry, seen: &Seen) -> bool {
        self.is_untouched(seen) && !self.is_same(index, entry)
    }

    fn link(self, index: &Index, entry: &Entry) -> Option<Action> {
        self.0.filter(|_| self.is_same(index, entry)).map(|(_, at)| Action::Link(at))
    }
}

/// All but content is as the entry says.
pub(super) fn looks_right(entry: &Entry, seen: &Seen) -> bool {
    let EntryKind::File { bytes, .. } = entry.kind else { return false };
    seen.kind == SeenKind::File
        && seen.stamp.bytes == bytes
        && seen.mode == entry.mode
        && seen.stamp.mtime_ns == entry.mtime_ns
}

/// Only equal paths are ever linked to each other.
fn shared(index: &Index, known: Known, actions: &[Action]) -> Vec<u32> {
    let (Some(standby), Some(live)) = (known.standby, known.live) else { return Vec::new() };
    let standby_of = join(&live.index, &standby.index);
    let new_of = join(&live.index, index);
    let is_shared = |at: usize| {
        let other = standby_of[at];
        other != NONE && live.stamps[at].is_known() && live.stamps[at].ino == standby.stamps[other as usize].ino
    };
    let stays = |at: usize| new_of[at] != NONE && matches!(actions[new_of[at] as usize], Action::Keep(_));
    (0..live.stamps.len()).filter(|&at| is_shared(at) && !stays(at)).map(|at| at as u32).collect()
}

//! What merging a revision takes: which of our files go, which are replaced, what is new, and what stays because it was
//! changed on the spot. It reads the target and changes nothing.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::index::{Entry, EntryKind, Index};
use crate::tree::beneath;
use crate::tree::catalog::{Catalog, NONE, join, same_entry};
use crate::tree::content;
use crate::tree::dress::has_attributes;
use crate::tree::error::TreeError;
use crate::tree::layout::{name_of, parent_of};
use crate::tree::node::{Seen, SeenKind, Stamp};
use crate::tree::scan::Scan;
use crate::tree::wants::{Role, Roles, Wants};

#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Ours, unchanged, and in no new revision: files, by path, as they were found.
    pub delete: Vec<(String, Stamp)>,
    /// Directories that we made and that must give way to a file, deepest first, with their modes.
    pub remove_directories: Vec<(String, u32)>,
    /// By position in the new index.
    pub make_directories: Vec<u32>,
    pub replace: Vec<u32>,
    pub create: Vec<u32>,
    /// Files and links that are there as they should be.
    pub unchanged: Vec<(u32, Stamp)>,
    /// Ours, but changed on the spot.
    pub kept: Vec<String>,
}

pub(super) struct Facts<'a> {
    pub target: BorrowedFd<'a>,
    pub wants: &'a Wants<'a>,
    pub scan: &'a Scan,
    pub was: Option<&'a Catalog>,
    pub made: &'a [String],
}

impl Plan {
    pub fn written(&self) -> impl Iterator<Item = u32> {
        self.replace.iter().chain(&self.create).copied()
    }

    pub fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.make_directories.is_empty() && self.replace.is_empty() && self.create.is_empty()
    }
}

pub(super) fn make(facts: &Facts) -> Result<Plan, TreeError> {
    let mut plan = Plan::default();
    let mut desk = Desk::default();
    facts.plan_gone(&mut plan, &mut desk.buffer)?;
    desk.going = plan.delete.iter().map(|(path, _)| path.clone()).collect();
    let was_of = facts.was.map(|was| join(facts.wants.index, &was.index));
    let roles = facts.was.map(|was| Roles::of(&was.index)).unwrap_or_default();
    for (at, entry) in facts.wants.index.entries.iter().enumerate().skip(1) {
        let place = was_of.as_ref().map(|joined| joined[at]).filter(|&place| place != NONE);
        let was = facts.was.zip(place).map(|(was, place)| Was { was, place, role: roles.of_entry(place) });
        facts.plan_entry(&mut plan, at as u32, entry, was, &mut desk)?;
    }
    plan.remove_directories.sort_by(|one, other| other.0.cmp(&one.0));
    Ok(plan)
}

/// What planning remembers from entry to entry.
#[derive(Default)]
struct Desk {
    going: HashSet<String>,
    /// The files that stay, each under its first name.
    staying: HashMap<u64, u32>,
    buffer: Vec<u8>,
}

/// What was recorded for a path, where, and what that was among the names of its file.
#[derive(Clone, Copy)]
struct Was<'a> {
    was: &'a Catalog,
    place: u32,
    role: Role,
}

impl Facts<'_> {
    /// Files of the revision before that this one has not, or has as directories.
    fn plan_gone(&self, plan: &mut Plan, buffer: &mut Vec<u8>) -> Result<(), TreeError> {
        let Some(was) = self.was else { return Ok(()) };
        let index = self.wants.index;
        let new_of = join(&was.index, index);
        for (at, entry) in was.index.entries.iter().enumerate() {
            let stays = new_of[at] != NONE && index.entries[new_of[at] as usize].kind != EntryKind::Directory;
            if entry.kind == EntryKind::Directory || stays {
                continue;
            }
            let Some(seen) = look(self.target, &entry.path)? else { continue };
            if seen.kind == SeenKind::Directory {
                continue;
            }
            if seen.stamp == was.stamps[at] || is_content(self.target, (&was.index, entry), &seen, buffer)? {
                plan.delete.push((entry.path.clone(), seen.stamp));
            } else if new_of[at] == NONE {
                plan.kept.push(entry.path.clone());
            }
        }
        Ok(())
    }

    fn plan_entry(
        &self,
        plan: &mut Plan,
        at: u32,
        entry: &Entry,
        was: Option<Was>,
        desk: &mut Desk,
    ) -> Result<(), TreeError> {
        let seen = self.scan.seen[at as usize].filter(|_| !desk.going.contains(&entry.path));
        match (&entry.kind, seen) {
            (EntryKind::Directory, None) => plan.make_directories.push(at),
            (EntryKind::Directory, Some(seen)) if seen.kind == SeenKind::Directory => {}
            (EntryKind::Directory, Some(seen)) => return Err(in_the_way(entry, seen, "a directory")),
            (_, None) => plan.create.push(at),
            (_, Some(seen)) if seen.kind == SeenKind::Directory => {
                self.plan_removal(plan, entry, seen)?;
                plan.create.push(at);
            }
            (_, Some(seen)) if seen.kind == SeenKind::Other => return Err(in_the_way(entry, seen, "a file")),
            (_, Some(seen)) if self.stays(at, entry, &seen, was, desk)? => plan.unchanged.push((at, seen.stamp)),
            _ => plan.replace.push(at),
        }
        Ok(())
    }

    /// It is as it should be, and one file with just those names that it should be one with.
    fn stays(&self, at: u32, entry: &Entry, seen: &Seen, was: Option<Was>, desk: &mut Desk) -> Result<bool, TreeError> {
        if let Role::Further(first) = self.wants.role(at) {
            return Ok(desk.staying.get(&seen.stamp.ino) == Some(&first));
        }
        let is_apart = seen.names < 2 || !desk.staying.contains_key(&seen.stamp.ino);
        let is_proved = was.is_some_and(|was| was.is_proof(self.wants, at, seen));
        let stays = is_apart && (is_proved || self.is_same(at, entry, seen, &mut desk.buffer)?);
        if stays && seen.names > 1 {
            desk.staying.insert(seen.stamp.ino, at);
        }
        Ok(stays)
    }

    /// A directory where a file is wanted: only one that we made may go, with those that we made in it.
    fn plan_removal(&self, plan: &mut Plan, entry: &Entry, seen: Seen) -> Result<(), TreeError> {
        if !self.made.contains(&entry.path) {
            return Err(in_the_way(entry, seen, "a file"));
        }
        let within = format!("{}/", entry.path);
        for path in self.made.iter().filter(|path| **path == entry.path || path.starts_with(&within)) {
            if let Some(seen) = look(self.target, path)?.filter(|seen| seen.kind == SeenKind::Directory) {
                plan.remove_directories.push((path.clone(), seen.mode));
            }
        }
        Ok(())
    }

    fn is_same(&self, at: u32, entry: &Entry, seen: &Seen, buffer: &mut Vec<u8>) -> Result<bool, TreeError> {
        let index = self.wants.index;
        let looks_right = match entry.kind {
            EntryKind::File { .. } => self.wants.looks_right(at, seen) && self.has_attributes(at, entry)?,
            _ => seen.stamp.mtime_ns == entry.mtime_ns && self.wants.has_owner(at, seen),
        };
        Ok(looks_right && is_content(self.target, (index, entry), seen, buffer)?)
    }

    fn has_attributes(&self, at: u32, entry: &Entry) -> Result<bool, TreeError> {
        if !self.wants.index.extras.keeps.attributes() {
            return Ok(true);
        }
        let opened = beneath::open_file(self.target, &entry.path);
        let same = opened.and_then(|file| has_attributes(file, self.wants, at));
        same.map_err(|errno| TreeError::of("read the attributes of", &entry.path, errno))
    }
}

impl Was<'_> {
    fn is_proof(self, wants: &Wants, at: u32, seen: &Seen) -> bool {
        let Was { was, place, role } = self;
        was.stamps[place as usize] == seen.stamp
            && role.may_become(wants.role(at))
            && same_entry(&was.index, place, wants.index, at)
    }
}

/// A file of ours that is to go is still what the plan found, by its stamp or by its content.
pub(super) fn is_found(
    root: BorrowedFd<'_>,
    was: &Catalog,
    (path, found): (&str, &Stamp),
    seen: &Seen,
) -> Result<bool, TreeError> {
    if seen.stamp == *found {
        return Ok(true);
    }
    let Some(at) = was.index.find(path) else { return Ok(false) };
    is_content(root, (&was.index, &was.index.entries[at]), seen, &mut Vec::new())
}

pub(super) fn look(target: BorrowedFd<'_>, path: &str) -> Result<Option<Seen>, TreeError> {
    let parent = beneath::open_directory(target, parent_of(path));
    match parent.and_then(|parent| beneath::look(&parent, name_of(path))) {
        // Somebody has put something else on the way: what is there is not ours.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
        other => other.map_err(|errno| TreeError::of("look at", path, errno)),
    }
}

/// The same bytes, or a link that says the same; mode and time may differ.
fn is_content(
    root: BorrowedFd<'_>,
    (index, entry): (&Index, &Entry),
    seen: &Seen,
    buffer: &mut Vec<u8>,
) -> Result<bool, TreeError> {
    let failed = |errno| TreeError::of("read", &entry.path, errno);
    match &entry.kind {
        EntryKind::Directory => Ok(false),
        EntryKind::Link { target } => {
            let says = beneath::read_link_below(root, &entry.path).map_err(failed)?;
            Ok(seen.kind == SeenKind::Link && says.as_ref() == Some(target))
        }
        EntryKind::File { bytes, refs } => {
            if seen.kind != SeenKind::File || seen.stamp.bytes != *bytes {
                return Ok(false);
            }
            let file = beneath::open_file(root, &entry.path).map_err(failed)?;
            content::matches(file.as_fd(), index, refs, buffer).map_err(failed)
        }
    }
}

fn in_the_way(entry: &Entry, seen: Seen, wanted: &'static str) -> TreeError {
    TreeError::InTheWay { path: entry.path.clone(), what: seen.kind.words(), wanted }
}

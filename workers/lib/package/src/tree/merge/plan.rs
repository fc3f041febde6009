//! What merging a revision takes: which of our files go, which are replaced, what is new, and what stays because it was
//! changed on the spot. It reads the target and changes nothing.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::index::{Entry, EntryKind, Index};
use crate::tree::beneath;
use crate::tree::catalog::{Catalog, NONE, join, same_entry};
use crate::tree::content;
use crate::tree::error::TreeError;
use crate::tree::layout::{name_of, parent_of};
use crate::tree::node::{Seen, SeenKind, Stamp};
use crate::tree::plan::looks_right;
use crate::tree::scan::Scan;

#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Ours, unchanged, and in no new revision: files, by path.
    pub delete: Vec<String>,
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
    pub index: &'a Index,
    pub scan: &'a Scan,
    pub was: Option<&'a Catalog>,
    pub made: &'a [String],
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.make_directories.is_empty() && self.replace.is_empty() && self.create.is_empty()
    }
}

pub(super) fn make(facts: &Facts) -> Result<Plan, TreeError> {
    let mut plan = Plan::default();
    let mut buffer = Vec::new();
    facts.plan_gone(&mut plan, &mut buffer)?;
    let going: HashSet<String> = plan.delete.iter().cloned().collect();
    let was_of = facts.was.map(|was| join(facts.index, &was.index));
    for (at, entry) in facts.index.entries.iter().enumerate().skip(1) {
        let was = facts.was.zip(was_of.as_ref().map(|joined| joined[at]).filter(|&place| place != NONE));
        facts.plan_entry(&mut plan, at as u32, entry, was, &going, &mut buffer)?;
    }
    plan.remove_directories.sort_by(|one, other| other.0.cmp(&one.0));
    Ok(plan)
}

impl Facts<'_> {
    /// Files of the revision before that this one has not, or has as directories.
    fn plan_gone(&self, plan: &mut Plan, buffer: &mut Vec<u8>) -> Result<(), TreeError> {
        let Some(was) = self.was else { return Ok(()) };
        let new_of = join(&was.index, self.index);
        for (at, entry) in was.index.entries.iter().enumerate() {
            let stays = new_of[at] != NONE && self.index.entries[new_of[at] as usize].kind != EntryKind::Directory;
            if entry.kind == EntryKind::Directory || stays {
                continue;
            }
            let Some(seen) = self.look(&entry.path)? else { continue };
            if seen.kind == SeenKind::Directory {
                continue;
            }
            if seen.stamp == was.stamps[at] || self.is_content(&was.index, entry, &seen, buffer)? {
                plan.delete.push(entry.path.clone());
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
        was: Option<(&Catalog, u32)>,
        going: &HashSet<String>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), TreeError> {
        let seen = self.scan.seen[at as usize].filter(|_| !going.contains(&entry.path));
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
            (_, Some(seen)) if is_proof(was, self.index, entry, &seen) => plan.unchanged.push((at, seen.stamp)),
            (_, Some(seen)) if self.is_same(entry, &seen, buffer)? => plan.unchanged.push((at, seen.stamp)),
            _ => plan.replace.push(at),
        }
        Ok(())
    }

    /// A directory where a file is wanted: only one that we made may go, with those that we made in it.
    fn plan_removal(&self, plan: &mut Plan, entry: &Entry, seen: Seen) -> Result<(), TreeError> {
        if !self.made.contains(&entry.path) {
            return Err(in_the_way(entry, seen, "a file"));
        }
        let within = format!("{}/", entry.path);
        for path in self.made.iter().filter(|path| **path == entry.path || path.starts_with(&within)) {
            if let Some(seen) = self.look(path)?.filter(|seen| seen.kind == SeenKind::Directory) {
                plan.remove_directories.push((path.clone(), seen.mode));
            }
        }
        Ok(())
    }

    fn look(&self, path: &str) -> Result<Option<Seen>, TreeError> {
        let parent = beneath::open_directory(self.target, parent_of(path));
        match parent.and_then(|parent| beneath::look(&parent, name_of(path))) {
            // Somebody has put something else on the way: what is there is not ours.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
            other => other.map_err(|errno| TreeError::of("look at", path, errno)),
        }
    }

    fn is_same(&self, entry: &Entry, seen: &Seen, buffer: &mut Vec<u8>) -> Result<bool, TreeError> {
        match entry.kind {
            EntryKind::File { .. } => Ok(looks_right(entry, seen) && self.is_content(self.index, entry, seen, buffer)?),
            _ => Ok(seen.stamp.mtime_ns == entry.mtime_ns && self.is_content(self.index, entry, seen, buffer)?),
        }
    }

    /// The same bytes, or a link that says the same; mode and time may differ.
    fn is_content(&self, index: &Index, entry: &Entry, seen: &Seen, buffer: &mut Vec<u8>) -> Result<bool, TreeError> {
        let failed = |errno| TreeError::of("read", &entry.path, errno);
        match &entry.kind {
            EntryKind::Directory => Ok(false),
            EntryKind::Link { target } => {
                let says = beneath::read_link_below(self.target, &entry.path).map_err(failed)?;
                Ok(seen.kind == SeenKind::Link && says.as_ref() == Some(target))
            }
            EntryKind::File { bytes, refs } => {
                if seen.kind != SeenKind::File || seen.stamp.bytes != *bytes {
                    return Ok(false);
                }
                let file = beneath::open_file(self.target, &entry.path).map_err(failed)?;
                content::matches(file.as_fd(), index, refs, buffer).map_err(failed)
            }
        }
    }
}

fn is_proof(was: Option<(&Catalog, u32)>, index: &Index, entry: &Entry, seen: &Seen) -> bool {
    was.is_some_and(|(was, at)| {
        was.stamps[at as usize] == seen.stamp && same_entry(&was.index, &was.index.entries[at as usize], index, entry)
    })
}

fn in_the_way(entry: &Entry, seen: Seen, wanted: &'static str) -> TreeError {
    TreeError::InTheWay { path: entry.path.clone(), what: seen.kind.words(), wanted }
}

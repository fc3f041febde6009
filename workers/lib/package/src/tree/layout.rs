//! Who is in which directory: parents and children of an index's entries, by position. It knows no file system.

use std::collections::HashMap;

use crate::index::{EntryKind, Index};

use super::check::Unsafe;

pub(super) const ROOT: u32 = 0;

#[derive(Debug)]
pub(super) struct Layout {
    /// Of each entry, the directory that it is in; the root is its own.
    parent: Vec<u32>,
    /// Where an entry's children begin in `children`; one more at the end.
    start: Vec<u32>,
    /// In order of their names within one directory.
    children: Vec<u32>,
}

impl Layout {
    /// Refuses what is in no directory: that is all which can be wrong here.
    pub fn of(index: &Index) -> Result<Layout, Unsafe> {
        let parent = parents(index)?;
        let mut start = vec![0u32; index.entries.len() + 1];
        for &directory in parent.iter().skip(1) {
            start[directory as usize + 1] += 1;
        }
        for at in 1..start.len() {
            start[at] += start[at - 1];
        }
        let mut next = start.clone();
        let mut children = vec![0u32; index.entries.len().saturating_sub(1)];
        for (at, &directory) in parent.iter().enumerate().skip(1) {
            children[next[directory as usize] as usize] = at as u32;
            next[directory as usize] += 1;
        }
        Ok(Layout { parent, start, children })
    }

    pub fn parent(&self, at: u32) -> u32 {
        self.parent[at as usize]
    }

    pub fn children(&self, directory: u32) -> &[u32] {
        &self.children[self.start[directory as usize] as usize..self.start[directory as usize + 1] as usize]
    }

    pub fn child(&self, index: &Index, directory: u32, name: &[u8]) -> Option<u32> {
        let children = self.children(directory);
        let found = children.binary_search_by(|&at| name_of(&index.entries[at as usize].path).as_bytes().cmp(name));
        found.ok().map(|place| children[place])
    }
}

/// The last part of a path.
pub(super) fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// What a path is in; "" is the root.
pub(super) fn parent_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn parents(index: &Index) -> Result<Vec<u32>, Unsafe> {
    match index.entries.first() {
        Some(root) if root.path.is_empty() && root.kind == EntryKind::Directory => {}
        _ => return Err(Unsafe::RootMissing),
    }
    let mut directories: HashMap<&str, u32> = HashMap::from([("", ROOT)]);
    let mut parents = Vec::with_capacity(index.entries.len());
    parents.push(ROOT);
    let mut last = ("", ROOT);
    for (at, entry) in index.entries.iter().enumerate().skip(1) {
        let within = parent_of(&entry.path);
        if last.0 != within {
            let found = directories.get(within).copied();
            last = (within, found.ok_or_else(|| orphan(index, &entry.path, within))?);
        }
        parents.push(last.1);
        if entry.kind == EntryKind::Directory {
            directories.insert(&entry.path, at as u32);
        }
    }
    Ok(parents)
}

/// Why `path` is in no directory: something else stands there, or nothing does.
fn orphan(index: &Index, path: &str, within: &str) -> Unsafe {
    let found = index.entries.iter().find(|entry| entry.path == within);
    match found.map(|entry| &entry.kind) {
        Some(EntryKind::Link { .. }) => Unsafe::ThroughLink { path: path.into(), link: within.into() },
        Some(EntryKind::File { .. }) => Unsafe::InFile { path: path.into(), file: within.into() },
        Some(EntryKind::Directory) | None => Unsafe::ParentMissing { path: path.into() },
    }
}

//! Proves a tree: every file is read and compared by digest, and what is missing, modified or extra is named. It trusts
//! no record.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::index::{EntryKind, Index};

use super::beneath;
use super::content;
use super::crew;
use super::dress::has_attributes;
use super::error::TreeError;
use super::layout::Layout;
use super::node::{Seen, SeenKind};
use super::place::Place;
use super::scan::{Scan, scan};
use super::wants::{Role, Wants};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    pub missing: Vec<String>,
    pub modified: Vec<Modified>,
    pub extra: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modified {
    pub path: String,
    pub what: Modification,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modification {
    Kind,
    /// A file's bytes, or what a link says.
    Content,
    Mode,
    Time,
    Owner,
    /// An extended attribute.
    Attributes,
    /// It is not one file with the names that it should be one with, or is one with others.
    Names,
}

impl Modification {
    pub fn as_str(self) -> &'static str {
        match self {
            Modification::Kind => "kind",
            Modification::Content => "content",
            Modification::Mode => "mode",
            Modification::Time => "time",
            Modification::Owner => "owner",
            Modification::Attributes => "attributes",
            Modification::Names => "names",
        }
    }
}

impl Differences {
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.modified.is_empty() && self.extra.is_empty()
    }
}

pub fn verify(target: &Path, index: &Index) -> Result<Differences, TreeError> {
    let place = Place::open(target)?;
    let Some(root) = place.target()? else {
        let missing = index.entries.iter().map(|entry| entry.path.clone()).collect();
        return Ok(Differences { missing, ..Differences::default() });
    };
    verify_beneath(root.directory, index)
}

/// As `verify`, of an open directory.
pub(super) fn verify_beneath(root: impl AsFd, index: &Index) -> Result<Differences, TreeError> {
    let layout = Layout::of(index)?;
    let wants = Wants::resolve(index)?;
    let found = scan(root.as_fd(), &wants, &layout, &AtomicBool::new(false))?;
    compare(root.as_fd(), &wants, &found)
}

fn compare(root: BorrowedFd<'_>, wants: &Wants, found: &Scan) -> Result<Differences, TreeError> {
    let index = wants.index;
    let parts = crew::share(index.entries.len(), Part::default, |part: &mut Part, at| {
        match &found.seen[at] {
            None => part.missing.push(at),
            Some(seen) => {
                let what = modification(root, wants, at as u32, seen, &mut part.buffer)?;
                part.modified.extend(what.map(|what| (at, what)));
            }
        }
        Ok::<(), TreeError>(())
    })?;
    let mut missing: Vec<usize> = parts.iter().flat_map(|part| part.missing.iter().copied()).collect();
    let mut modified: Vec<_> = parts.iter().flat_map(|part| part.modified.iter().copied()).collect();
    modified.extend(wrong_names(wants, found));
    missing.sort_unstable();
    modified.sort_by_key(|&(at, _)| at);
    modified.dedup_by_key(|&mut (at, _)| at);
    let path = |at: usize| index.entries[at].path.clone();
    let mut extra: Vec<String> = found.extras.iter().map(|extra| extra.path(index)).collect();
    extra.sort_unstable();
    Ok(Differences {
        missing: missing.into_iter().map(path).collect(),
        modified: modified.into_iter().map(|(at, what)| Modified { path: path(at), what }).collect(),
        extra,
    })
}

#[derive(Default)]
struct Part {
    missing: Vec<usize>,
    modified: Vec<(usize, Modification)>,
    buffer: Vec<u8>,
}

fn modification(
    root: BorrowedFd<'_>,
    wants: &Wants,
    at: u32,
    seen: &Seen,
    buffer: &mut Vec<u8>,
) -> Result<Option<Modification>, TreeError> {
    let (index, entry) = (wants.index, &wants.index.entries[at as usize]);
    let failed = |errno| TreeError::of("read", &entry.path, errno);
    let (kind, same) = match &entry.kind {
        EntryKind::Directory => (SeenKind::Directory, true),
        EntryKind::Link { target } => {
            let says = beneath::read_link_below(root, &entry.path).map_err(failed)?;
            (SeenKind::Link, says.as_ref() == Some(target))
        }
        EntryKind::File { bytes, refs } => {
            let same = seen.kind == SeenKind::File
                && seen.stamp.bytes == *bytes
                && content::matches(beneath::open_file(root, &entry.path).map_err(failed)?, index, refs, buffer)
                    .map_err(failed)?;
            (SeenKind::File, same)
        }
    };
    if seen.kind != kind {
        return Ok(Some(Modification::Kind));
    }
    if !same {
        return Ok(Some(Modification::Content));
    }
    if kind != SeenKind::Link && seen.mode != entry.mode {
        return Ok(Some(Modification::Mode));
    }
    if !wants.has_owner(at, seen) {
        return Ok(Some(Modification::Owner));
    }
    let opened = match kind {
        _ if !index.extras.keeps.attributes() => None,
        SeenKind::Directory => Some(beneath::open_directory(root, &entry.path).map_err(failed)?),
        SeenKind::File => Some(beneath::open_file(root, &entry.path).map_err(failed)?),
        _ => None,
    };
    if let Some(opened) = opened
        && !has_attributes(opened, wants, at).map_err(failed)?
    {
        return Ok(Some(Modification::Attributes));
    }
    Ok((seen.stamp.mtime_ns != entry.mtime_ns).then_some(Modification::Time))
}

/// Files that are one on disk and two in the revision, or the other way round.
fn wrong_names(wants: &Wants, found: &Scan) -> Vec<(usize, Modification)> {
    let file = |at: usize| found.seen[at].filter(|seen| seen.kind == SeenKind::File);
    let mut first_with: HashMap<u64, u32> = HashMap::new();
    let mut wrong = Vec::new();
    for at in 0..found.seen.len() {
        let Some(seen) = file(at) else { continue };
        let first = match wants.role(at as u32) {
            Role::Further(first) => first,
            _ => at as u32,
        };
        let stands_alone = first != at as u32 && file(first as usize).is_none_or(|of| of.stamp.ino != seen.stamp.ino);
        let other = if seen.names > 1 { *first_with.entry(seen.stamp.ino).or_insert(first) } else { first };
        if stands_alone || other != first {
            wrong.push((at, Modification::Names));
        }
    }
    wrong
}

//! Proves a tree: every file is read and compared by digest, and what is missing, modified or extra is named. It trusts
//! no record.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::index::{Entry, EntryKind, Index};

use super::beneath;
use super::content;
use super::crew;
use super::error::TreeError;
use super::layout::Layout;
use super::node::{Seen, SeenKind};
use super::place::Place;
use super::scan::{Scan, scan};

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
}

impl Differences {
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.modified.is_empty() && self.extra.is_empty()
    }
}

pub fn verify(target: &Path, index: &Index) -> Result<Differences, TreeError> {
    let layout = Layout::of(index)?;
    let place = Place::open(target)?;
    let Some(root) = place.target()? else {
        let missing = index.entries.iter().map(|entry| entry.path.clone()).collect();
        return Ok(Differences { missing, ..Differences::default() });
    };
    let found = scan(root.directory.as_fd(), index, &layout, &AtomicBool::new(false))?;
    compare(root.directory.as_fd(), index, &found)
}

fn compare(root: BorrowedFd<'_>, index: &Index, found: &Scan) -> Result<Differences, TreeError> {
    let parts = crew::share(index.entries.len(), Part::default, |part: &mut Part, at| {
        let entry = &index.entries[at];
        match &found.seen[at] {
            None => part.missing.push(at),
            Some(seen) => {
                let what = modification(root, index, entry, seen, &mut part.buffer)?;
                part.modified.extend(what.map(|what| (at, what)));
            }
        }
        Ok::<(), TreeError>(())
    })?;
    let mut missing: Vec<usize> = parts.iter().flat_map(|part| part.missing.iter().copied()).collect();
    let mut modified: Vec<_> = parts.iter().flat_map(|part| part.modified.iter().copied()).collect();
    missing.sort_unstable();
    modified.sort_unstable_by_key(|&(at, _)| at);
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
    index: &Index,
    entry: &Entry,
    seen: &Seen,
    buffer: &mut Vec<u8>,
) -> Result<Option<Modification>, TreeError> {
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
    Ok((seen.stamp.mtime_ns != entry.mtime_ns).then_some(Modification::Time))
}

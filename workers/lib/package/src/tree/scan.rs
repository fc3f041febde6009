//! What stands in a directory now, entry by entry of an index, and what else is there. It reads names and stats, never
//! content, and follows nothing.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

use crate::index::{EntryKind, Index};

use super::beneath;
use super::crew;
use super::dress::has_attributes;
use super::error::TreeError;
use super::layout::{Layout, ROOT};
use super::node::Seen;
use super::wants::Wants;

#[derive(Debug, Default)]
pub(super) struct Scan {
    /// By position in the index.
    pub seen: Vec<Option<Seen>>,
    /// What the index does not name, in directories that it does name.
    pub extras: Vec<Extra>,
    /// Directories that have other attributes than the index says.
    pub undressed: HashSet<u32>,
}

#[derive(Debug)]
pub(super) struct Extra {
    pub directory: u32,
    pub name: CString,
}

impl Extra {
    pub fn path(&self, index: &Index) -> String {
        let within = &index.entries[self.directory as usize].path;
        let name = beneath::shown(self.name.to_bytes());
        if within.is_empty() { name } else { format!("{within}/{name}") }
    }
}

/// Of one directory.
#[derive(Default)]
struct Part {
    seen: Vec<(u32, Seen)>,
    extras: Vec<Extra>,
    undressed: Vec<u32>,
}

impl Scan {
    fn take(&mut self, part: &mut Part) {
        part.seen.drain(..).for_each(|(at, seen)| self.seen[at as usize] = Some(seen));
        self.extras.append(&mut part.extras);
        self.undressed.extend(part.undressed.drain(..));
    }
}

pub(super) fn scan(
    root: BorrowedFd<'_>,
    wants: &Wants,
    layout: &Layout,
    cancel: &AtomicBool,
) -> Result<Scan, TreeError> {
    let index = wants.index;
    let directories: Vec<u32> = (ROOT..index.entries.len() as u32)
        .filter(|&at| index.entries[at as usize].kind == EntryKind::Directory)
        .collect();
    let scan = Mutex::new(Scan { seen: vec![None; index.entries.len()], ..Scan::default() });
    crew::share(directories.len(), Part::default, |part, item| {
        if cancel.load(Ordering::Relaxed) {
            return Err(TreeError::Cancelled);
        }
        read_directory(root, wants, layout, directories[item], part)?;
        scan.lock().unwrap_or_else(PoisonError::into_inner).take(part);
        Ok(())
    })?;
    Ok(scan.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn read_directory(
    root: BorrowedFd<'_>,
    wants: &Wants,
    layout: &Layout,
    directory: u32,
    part: &mut Part,
) -> Result<(), TreeError> {
    let index = wants.index;
    let path = &index.entries[directory as usize].path;
    let failed = |errno| TreeError::of("read the directory", path, errno);
    let opened = match beneath::open_directory(root, path) {
        // Its parent's listing tells what stands there instead.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if directory != ROOT => return Ok(()),
        Err(Errno::XDEV) => return Err(in_the_way(path)),
        other => other.map_err(failed)?,
    };
    if directory == ROOT {
        part.seen.push((ROOT, rustix::fs::fstat(&opened).map_err(failed)?.into()));
    }
    if !has_attributes(&opened, wants, directory).map_err(failed)? {
        part.undressed.push(directory);
    }
    for name in beneath::names(opened.as_fd()).map_err(failed)? {
        match layout.child(index, directory, name.to_bytes()) {
            None => part.extras.push(Extra { directory, name }),
            Some(at) => {
                let seen = beneath::look_bytes(opened.as_fd(), name.to_bytes()).map_err(failed)?;
                part.seen.extend(seen.map(|seen| (at, seen)));
            }
        }
    }
    Ok(())
}

fn in_the_way(path: &str) -> TreeError {
    TreeError::InTheWay { path: path.into(), what: "a mount point", wanted: "a directory" }
}

//! Open directories that were used last, so that a file costs no walk down its path. One for each thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::beneath;

/// Directories kept open by one thread.
const OPEN_MAX: usize = 32;

pub(super) struct DirCache<'r> {
    root: BorrowedFd<'r>,
    slots: Vec<(u32, OwnedFd)>,
    next: usize,
}

impl<'r> DirCache<'r> {
    pub fn new(root: BorrowedFd<'r>) -> DirCache<'r> {
        DirCache { root, slots: Vec::new(), next: 0 }
    }

    /// The directory with this position in its index.
    pub fn get(&mut self, position: u32, path: &str) -> Result<BorrowedFd<'_>, Errno> {
        let slot = match self.slots.iter().position(|(kept, _)| *kept == position) {
            Some(slot) => slot,
            None => self.fill(position, path)?,
        };
        Ok(self.slots[slot].1.as_fd())
    }

    fn fill(&mut self, position: u32, path: &str) -> Result<usize, Errno> {
        let opened = beneath::open_directory(self.root, path)?;
        if self.slots.len() < OPEN_MAX {
            self.slots.push((position, opened));
            return Ok(self.slots.len() - 1);
        }
        let slot = self.next;
        self.next = (slot + 1) % OPEN_MAX;
        self.slots[slot] = (position, opened);
        Ok(slot)
    }
}

//! Further names of files in a tree that is being staged: each becomes a hard link to the first name, which stands
//! already. It reads and writes no content.

use std::os::fd::BorrowedFd;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::beneath;
use super::calls;
use super::dircache::DirCache;
use super::error::TreeError;
use super::layout::{Layout, name_of};
use super::locked;
use super::node::Stamp;
use super::wants::Wants;

pub(super) struct Joiner<'a> {
    wants: &'a Wants<'a>,
    layout: &'a Layout,
    firsts: DirCache<'a>,
    furthers: DirCache<'a>,
    pub made: u64,
    pub kept: u64,
}

impl<'a> Joiner<'a> {
    pub fn new(wants: &'a Wants<'a>, layout: &'a Layout, root: BorrowedFd<'a>) -> Joiner<'a> {
        Joiner { wants, layout, firsts: DirCache::new(root), furthers: DirCache::new(root), made: 0, kept: 0 }
    }

    /// Makes the entry a name of the file `first`; what else stands there goes.
    pub fn join(&mut self, at: u32, first: u32) -> Result<(), TreeError> {
        let path = &self.wants.index.entries[at as usize].path;
        self.try_join(at, first).map_err(|errno| {
            let parent = self.layout.parent(at);
            let directory = self.furthers.get(parent, &self.wants.index.entries[parent as usize].path).ok();
            locked::failure("link", path, errno, directory, name_of(path))
        })
    }

    fn try_join(&mut self, at: u32, first: u32) -> Result<(), Errno> {
        let entries = &self.wants.index.entries;
        let (path, first_path) = (&entries[at as usize].path, &entries[first as usize].path);
        let of = |at: u32| (self.layout.parent(at), &entries[self.layout.parent(at) as usize].path);
        let ((from, from_path), (to, to_path)) = (of(first), of(at));
        let from = self.firsts.get(from, from_path)?;
        let to = self.furthers.get(to, to_path)?;
        let file = beneath::look(from, name_of(first_path))?.ok_or(Errno::NOENT)?;
        match beneath::look(to, name_of(path))? {
            Some(seen) if seen.stamp.ino == file.stamp.ino => {
                self.kept += 1;
                return Ok(());
            }
            Some(_) => calls::unlinkat(to, name_of(path), AtFlags::empty())?,
            None => {}
        }
        calls::linkat(from, name_of(first_path), to, name_of(path), AtFlags::empty())?;
        self.made += 1;
        Ok(())
    }

    /// Every link moves the stamps of all names of a file: what they are in the end, for names that are as expected.
    pub fn settle(&mut self, stamps: &mut [Stamp]) -> Result<(), TreeError> {
        let links = &self.wants.index.extras.hard_links;
        let mut firsts: Vec<u32> = links.iter().map(|link| link.first).collect();
        firsts.sort_unstable();
        firsts.dedup();
        for first in firsts {
            let now = self.stamp(first)?;
            let same = stamps[first as usize].same_but_links(&now);
            stamps[first as usize] = if same { now } else { Stamp::UNKNOWN };
        }
        for link in links {
            let now = self.stamp(link.entry)?;
            let same = now == stamps[link.first as usize];
            stamps[link.entry as usize] = if same { now } else { Stamp::UNKNOWN };
        }
        Ok(())
    }

    fn stamp(&mut self, at: u32) -> Result<Stamp, TreeError> {
        let entries = &self.wants.index.entries;
        let (path, parent) = (&entries[at as usize].path, self.layout.parent(at));
        let directory = self.furthers.get(parent, &entries[parent as usize].path);
        let seen = directory.and_then(|directory| beneath::look(directory, name_of(path)));
        let seen = seen.map_err(|errno| TreeError::of("look at", path, errno))?;
        Ok(seen.map_or(Stamp::UNKNOWN, |seen| seen.stamp))
    }
}

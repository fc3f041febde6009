//! Opens what is below a directory handle: whatever anybody does to the tree meanwhile, no link leads out of it.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// openat2 asks to be tried again when a rename elsewhere crosses its path.
const TRIES_MAX: u32 = 64;

/// Follows no link, neither within `path` nor at its end (`Errno::LOOP`). `also` forbids more, such as crossing a mount.
pub(crate) fn open(
    root: BorrowedFd<'_>,
    path: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
    also: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | also;
    for _ in 1..TRIES_MAX {
        match rustix::fs::openat2(root, path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode, within) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_followed_neither_on_the_way_nor_at_the_end() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("a/b")).unwrap();
        symlink("a", place.path().join("link")).unwrap();
        symlink("/etc", place.path().join("out")).unwrap();
        let root = std::fs::File::open(place.path()).unwrap();
        let opened = |path: &str| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            open(root.as_fd(), path, flags, Mode::empty(), ResolveFlags::empty()).map(drop)
        };
        assert_eq!(opened("a/b"), Ok(()));
        assert_eq!(opened("."), Ok(()));
        for path in ["link", "link/b", "out", "out/ssl"] {
            assert!(matches!(opened(path), Err(Errno::LOOP | Errno::NOTDIR)), "{path}");
        }
        assert_eq!(opened(".."), Err(Errno::XDEV));
        assert_eq!(opened("/etc"), Err(Errno::XDEV));
    }
}

//! Whether a file system tells names apart that are equal but for case. It is asked, not guessed from its type: ext4 can fold,
//! too, and a mount may hide what lies below.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

/// Always the same, so that the next one who asks clears away what one that was killed left.
const PROBE: &str = ".tidegate-probe";

/// How often another process may take the probe away while it is looked at.
const TRIES_MAX: u32 = 100;

static ASKING: Mutex<()> = Mutex::new(());

/// True where `A` and `a` are one name, at the nearest directory that exists; true also where nobody may try, because
/// refusing twins is the safe answer.
pub(super) fn folds_case(target: &Path) -> bool {
    let Some(place) = place_to_ask(target) else { return true };
    let _one_of_this_process = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = (0..TRIES_MAX).find_map(|_| ask(place).transpose());
    let _ = fs::remove_file(place.join(PROBE));
    answer.and_then(Result::ok).unwrap_or(true)
}

/// Beside the target, so that nobody sees the probe in it, unless the target is a mount of its own.
fn place_to_ask(target: &Path) -> Option<&Path> {
    let beside = target.ancestors().skip(1).find(|ancestor| ancestor.is_dir())?;
    let is_mount = match (target.symlink_metadata(), beside.metadata()) {
        (Ok(target), Ok(beside)) => target.is_dir() && target.dev() != beside.dev(),
        _ => false,
    };
    Some(if is_mount { target } else { beside })
}

/// None if the probe was taken away meanwhile, which makes the answer worth nothing.
fn ask(place: &Path) -> io::Result<Option<bool>> {
    let lower = place.join(PROBE);
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let probe = OpenOptions::new().write(true).create(true).truncate(false).custom_flags(flags).open(&lower)?;
    let folds = place.join(PROBE.to_uppercase()).symlink_metadata().is_ok();
    Ok((folds || is_still(&probe, &lower)?).then_some(folds))
}

/// An open file's inode is given to no other.
fn is_still(probe: &File, path: &Path) -> io::Result<bool> {
    let (opened, named) = (probe.metadata()?, path.symlink_metadata());
    Ok(named.is_ok_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_tells_case_apart_is_found_to_do_so_and_left_clean() {
        let room = tempfile::tempdir().unwrap();
        assert!(!folds_case(&room.path().join("not/there/yet")));
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_probe_that_a_killed_process_left_is_cleared_away() {
        let room = tempfile::tempdir().unwrap();
        fs::write(room.path().join(PROBE), b"").unwrap();
        assert!(!folds_case(&room.path().join("target")));
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_answer_counts_only_if_the_probe_stood_all_the_time() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join(PROBE);
        let probe = File::create(&path).unwrap();
        assert!(is_still(&probe, &path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!is_still(&probe, &path).unwrap(), "taken away");
        File::create(&path).unwrap();
        assert!(!is_still(&probe, &path).unwrap(), "taken away and made again by another");
    }

    #[test]
    fn a_link_in_the_probes_place_is_not_followed() {
        let room = tempfile::tempdir().unwrap();
        let precious = room.path().join("precious");
        fs::write(&precious, b"kept").unwrap();
        fs::create_dir(room.path().join("site")).unwrap();
        std::os::unix::fs::symlink(&precious, room.path().join("site").join(PROBE)).unwrap();
        assert!(folds_case(&room.path().join("site/target")), "nobody may try");
        assert_eq!(fs::read(&precious).unwrap(), b"kept");
    }

    #[test]
    fn a_target_that_is_a_mount_is_asked_itself_and_any_other_is_not() {
        let room = tempfile::tempdir().unwrap();
        assert_eq!(place_to_ask(Path::new("/proc")), Some(Path::new("/proc")));
        assert_eq!(place_to_ask(&room.path().join("not/there")), Some(room.path()));
        assert_eq!(place_to_ask(room.path()), room.path().parent());
    }

    #[test]
    fn where_nobody_may_try_it_counts_as_folding() {
        assert!(folds_case(Path::new("/proc/self/target")));
    }
}

//! Whether a file system tells names apart that are equal but for case. It is asked, not guessed from its type: ext4 can fold,
//! too, and a mount may hide what lies below.

use std::fs;
use std::path::Path;

/// True where `A` and `a` are one name, at the nearest directory that exists; true also where nobody may try, because
/// refusing twins is the safe answer.
pub(super) fn folds_case(target: &Path) -> bool {
    let Some(place) = target.ancestors().skip(1).find(|ancestor| ancestor.is_dir()) else { return true };
    // The name is this process's own, so that two that ask at once don't answer each other.
    let lower =
        place.join(format!(".tidegate-probe-{}-{:?}", std::process::id(), std::thread::current().id()).to_lowercase());
    let upper = lower.with_file_name(lower.file_name().unwrap_or_default().to_string_lossy().to_uppercase());
    if fs::write(&lower, b"").is_err() {
        return true;
    }
    let folded = upper.symlink_metadata().is_ok();
    let _ = fs::remove_file(&lower);
    folded
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
    fn where_nobody_may_try_it_counts_as_folding() {
        assert!(folds_case(Path::new("/proc/self/target")));
    }
}

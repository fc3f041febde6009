//! The person's files into the demo's own directory, so that theirs are only ever read.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path};

use super::error::DemoError;
use super::text;
use super::walk::{Found, walk};

const FILES_MAX: u64 = 50_000;
const BYTES_MAX: u64 = 512 << 20;
/// History of a repository: large, and nobody's documents.
const LEFT_OUT: &str = ".git";
const PERMISSIONS: u32 = 0o777;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    pub files: u64,
    pub bytes: u64,
    /// Sockets, devices, and links that lead out of the tree.
    pub left_out: u64,
}

/// Sizes come first: nothing is written if it is too much. `data` may lie within `from` and is passed by.
pub fn copy(from: &Path, to: &Path, data: &Path) -> Result<Copied, DemoError> {
    let too_large = |limit: String| DemoError::TooLarge { path: from.to_owned(), limit };
    let mut seen = Copied::default();
    walk(from, |found| {
        let kind = found.about.file_type();
        if is_passed_by(from, data, &found) {
            return Ok(false);
        }
        match () {
            () if kind.is_file() => {
                seen.files += 1;
                seen.bytes += found.about.len();
            }
            () if kind.is_dir() || (kind.is_symlink() && stays_within(from, &found)?) => {}
            () => seen.left_out += 1,
        }
        if seen.files > FILES_MAX {
            return Err(too_large(format!("{FILES_MAX} files")));
        }
        if seen.bytes > BYTES_MAX {
            return Err(too_large(text::bytes(BYTES_MAX)));
        }
        Ok(true)
    })?;
    if seen.files == 0 {
        return Err(DemoError::NoFiles { path: from.to_owned() });
    }
    fs::create_dir(to).map_err(|source| DemoError::File { path: to.to_owned(), source })?;
    walk(from, |found| {
        if is_passed_by(from, data, &found) {
            return Ok(false);
        }
        put(from, to, &found)?;
        Ok(true)
    })?;
    Ok(seen)
}

fn is_passed_by(from: &Path, data: &Path, found: &Found) -> bool {
    found.about.is_dir() && (found.path.ends_with(LEFT_OUT) || from.join(&found.path) == data)
}

fn put(from: &Path, to: &Path, found: &Found) -> Result<(), DemoError> {
    let (source, target) = (from.join(&found.path), to.join(&found.path));
    let failed = |error| DemoError::File { path: source.clone(), source: error };
    let kind = found.about.file_type();
    if kind.is_dir() {
        return fs::create_dir(&target).map_err(failed);
    }
    if kind.is_symlink() {
        if stays_within(from, found)? {
            symlink(fs::read_link(&source).map_err(failed)?, &target).map_err(failed)?;
        }
        return Ok(());
    }
    if kind.is_file() {
        fs::copy(&source, &target).map_err(failed)?;
        let mode = found.about.permissions().mode() & PERMISSIONS;
        fs::set_permissions(&target, fs::Permissions::from_mode(mode)).map_err(failed)?;
        let modified = found.about.modified().map_err(failed)?;
        // A file that nobody may write can still be dated by its owner.
        fs::File::open(&target).and_then(|file| file.set_modified(modified)).map_err(failed)?;
    }
    Ok(())
}

/// A site refuses links that lead out of the tree.
fn stays_within(from: &Path, found: &Found) -> Result<bool, DemoError> {
    let path = from.join(&found.path);
    let says = fs::read_link(&path).map_err(|source| DemoError::File { path, source })?;
    let mut depth = found.path.components().count() as i64 - 1;
    for part in says.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth -= 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Ok(false),
        }
        if depth < 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_has_files_modes_and_inner_links_and_leaves_out_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::create_dir_all(from.join(".git")).unwrap();
        fs::create_dir_all(from.join("data")).unwrap();
        fs::write(from.join(".git/config"), "x").unwrap();
        fs::write(from.join("data/x"), "x").unwrap();
        fs::write(from.join("a/b/run"), "#!").unwrap();
        fs::set_permissions(from.join("a/b/run"), fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("b/run", from.join("a/inner")).unwrap();
        symlink("../../etc", from.join("a/outer")).unwrap();
        symlink("/etc", from.join("root")).unwrap();
        let to = folder.path().join("to");
        let copied = copy(&from, &to, &from.join("data")).unwrap();
        assert_eq!(copied, Copied { files: 1, bytes: 2, left_out: 2 });
        assert_eq!(fs::metadata(to.join("a/b/run")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read(to.join("a/inner")).unwrap(), b"#!");
        for absent in [".git", "data", "root", "a/outer"] {
            assert!(to.join(absent).symlink_metadata().is_err(), "{absent}");
        }
    }

    #[test]
    fn too_much_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::create_dir(&from).unwrap();
        fs::File::create(from.join("huge")).unwrap().set_len(BYTES_MAX + 1).unwrap();
        let to = folder.path().join("to");
        let error = copy(&from, &to, &to).unwrap_err();
        assert!(matches!(error, DemoError::TooLarge { .. }) && error.to_string().contains("512.0 MiB"), "{error}");
        assert!(!to.exists());
        fs::remove_file(from.join("huge")).unwrap();
        assert!(matches!(copy(&from, &to, &to).unwrap_err(), DemoError::NoFiles { .. }));
    }
}

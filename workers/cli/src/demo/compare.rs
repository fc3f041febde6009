//! Proof that two trees are the same: every file by its digest, every link by what it says, every mode. It asks no index
//! and no database.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use schemas::Digest;

use super::error::DemoError;
use super::walk::walk;

/// Differences that are named.
const NAMED_MAX: usize = 5;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    pub files: u64,
    pub bytes: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Content {
    Directory,
    File(Digest, u64),
    Link(PathBuf),
    Other,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    content: Content,
    mode: u32,
}

pub fn compare(source: &Path, target: &Path) -> Result<Verified, DemoError> {
    let (wanted, found) = (read(source)?, read(target)?);
    let lacking = wanted.iter().filter(|(path, entry)| found.get(*path) != Some(entry)).map(|(path, _)| path);
    let extra = found.keys().filter(|path| !wanted.contains_key(*path));
    let names: Vec<String> = lacking.chain(extra).map(|path| path.display().to_string()).collect();
    if !names.is_empty() {
        let more =
            if names.len() > NAMED_MAX { format!(" and {} more", names.len() - NAMED_MAX) } else { String::new() };
        let differences = format!("{}{more}", names[..names.len().min(NAMED_MAX)].join(", "));
        return Err(DemoError::Differs { target: target.to_owned(), differences });
    }
    let sizes = wanted
        .values()
        .filter_map(|entry| if let Content::File(_, bytes) = entry.content { Some(bytes) } else { None });
    Ok(sizes.fold(Verified::default(), |sum, bytes| Verified { files: sum.files + 1, bytes: sum.bytes + bytes }))
}

fn read(root: &Path) -> Result<BTreeMap<PathBuf, Entry>, DemoError> {
    let mut entries = BTreeMap::new();
    walk(root, |found| {
        let path = root.join(&found.path);
        let failed = |source| DemoError::File { path: path.clone(), source };
        let kind = found.about.file_type();
        let content = match () {
            () if kind.is_dir() => Content::Directory,
            () if kind.is_file() => {
                let digest = digest(&path).map_err(failed)?;
                Content::File(digest, found.about.len())
            }
            () if kind.is_symlink() => Content::Link(std::fs::read_link(&path).map_err(failed)?),
            () => Content::Other,
        };
        let mode = if kind.is_symlink() { 0 } else { found.about.permissions().mode() & 0o7777 };
        entries.insert(found.path, Entry { content, mode });
        Ok(true)
    })?;
    Ok(entries)
}

fn digest(path: &Path) -> std::io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(root: &Path) {
        fs::create_dir_all(root.join("a/empty")).unwrap();
        fs::write(root.join("a/file"), "content").unwrap();
        fs::set_permissions(root.join("a/file"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("file", root.join("a/link")).unwrap();
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        type Damage = fn(&Path);
        let damages: [(Damage, &str); 7] = [
            (|root| fs::write(root.join("a/file"), "Content").unwrap(), "a/file"),
            (|root| fs::remove_file(root.join("a/file")).unwrap(), "a/file"),
            (|root| fs::write(root.join("a/extra"), "").unwrap(), "a/extra"),
            (|root| fs::remove_dir(root.join("a/empty")).unwrap(), "a/empty"),
            (|root| fs::set_permissions(root.join("a/file"), fs::Permissions::from_mode(0o600)).unwrap(), "a/file"),
            (
                |root| {
                    fs::remove_file(root.join("a/link")).unwrap();
                    symlink("other", root.join("a/link")).unwrap();
                },
                "a/link",
            ),
            (
                |root| {
                    fs::remove_file(root.join("a/link")).unwrap();
                    fs::write(root.join("a/link"), "content").unwrap();
                },
                "a/link",
            ),
        ];
        for (damage, says) in damages {
            let folder = tempfile::tempdir().unwrap();
            let (one, two) = (folder.path().join("one"), folder.path().join("two"));
            tree(&one);
            tree(&two);
            assert_eq!(compare(&one, &two).unwrap(), Verified { files: 1, bytes: 7 });
            damage(&two);
            let error = compare(&one, &two).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}

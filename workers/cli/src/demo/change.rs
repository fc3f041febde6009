//! One file of the copy gets a new line, so that there is something to send again.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::DemoError;
use super::walk::walk;

const LINE: &str = "\nThis line was added by `tidegate demo`.\n";

/// Files whose beginning is looked at, the largest first.
const LOOKED_AT_MAX: usize = 200;
const HEAD_BYTES: u64 = 1_024;

pub struct Change {
    /// As people name it, below the source.
    pub path: String,
    pub bytes_added: u64,
}

/// Changes the largest text: there a delta shows best, and a person can see what was done.
pub fn change(root: &Path) -> Result<Change, DemoError> {
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    walk(root, |found| {
        if found.about.is_file() {
            files.push((found.about.len(), found.path));
        }
        Ok(true)
    })?;
    files.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let text = files.iter().take(LOOKED_AT_MAX).find(|(_, path)| is_text(&root.join(path)));
    let Some((_, path)) = text.or(files.first()) else { return Err(DemoError::NoFiles { path: root.to_owned() }) };
    append(&root.join(path))?;
    Ok(Change { path: path.display().to_string(), bytes_added: LINE.len() as u64 })
}

fn is_text(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    read.is_ok() && !head.contains(&0)
}

fn append(path: &Path) -> Result<(), DemoError> {
    let failed = |source| DemoError::File { path: path.to_owned(), source };
    let kept = fs::metadata(path).map_err(failed)?.permissions();
    // The copy is the demo's own, but it may have come read-only.
    fs::set_permissions(path, fs::Permissions::from_mode(kept.mode() | 0o200)).map_err(failed)?;
    let mut file = OpenOptions::new().append(true).open(path).map_err(failed)?;
    file.write_all(LINE.as_bytes()).map_err(failed)?;
    fs::set_permissions(path, kept).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_text_gets_a_line_even_if_it_came_read_only() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("picture"), vec![0; 10_000]).unwrap();
        fs::write(folder.path().join("small.md"), "a").unwrap();
        fs::write(folder.path().join("large.md"), "b".repeat(5_000)).unwrap();
        fs::set_permissions(folder.path().join("large.md"), fs::Permissions::from_mode(0o444)).unwrap();
        let done = change(folder.path()).unwrap();
        assert_eq!(done.path, "large.md");
        let path = folder.path().join("large.md");
        assert_eq!(fs::metadata(&path).unwrap().len(), 5_000 + done.bytes_added);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
    }
}

//! Definitions from disk: files, and directories of them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use domain::definitions::limits::{FILE_BYTES_MAX, FILES_MAX};

const ENDINGS: [&str; 4] = ["yaml", "yml", "toml", "json"];

/// (shown name, text) of each file; a directory's in the order of their names. `-` is stdin.
pub fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            files.push(("stdin".to_owned(), text(std::io::stdin(), "stdin")?));
            continue;
        }
        for file in expand(path)? {
            let shown = file.display().to_string();
            let opened = fs::File::open(&file).with_context(|| format!("{shown} cannot be read"))?;
            files.push((shown.clone(), text(opened, &shown)?));
        }
        if files.len() > FILES_MAX {
            bail!("{} files; one apply takes at most {FILES_MAX}", files.len());
        }
    }
    Ok(files)
}

fn expand(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let about = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
    if !about.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))? {
        let file = entry?.path();
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if ENDINGS.contains(&ending) && file.is_file() {
            found.push(file);
        }
    }
    if found.is_empty() {
        bail!("{} holds no definitions: no file ends in .{}", path.display(), ENDINGS.join(", ."));
    }
    found.sort();
    Ok(found)
}

fn text(from: impl Read, shown: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    from.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).with_context(|| format!("{shown} cannot be read"))?;
    if bytes.len() > FILE_BYTES_MAX {
        bail!("{shown} is larger than {} MiB, the most that a file of definitions may have", FILE_BYTES_MAX >> 20);
    }
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{shown} is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_gives_its_definitions_by_name_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("b.toml", "b"), ("a.yaml", "a"), ("notes.txt", "n"), ("c.json", "c")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let texts: Vec<String> = read(&[dir.path().to_owned()]).unwrap().into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["a", "b", "c"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("absent.yaml");
        assert!(format!("{:#}", read(std::slice::from_ref(&absent)).unwrap_err()).contains("absent.yaml"));
        assert!(read(&[dir.path().to_owned()]).unwrap_err().to_string().contains("holds no definitions"));
        fs::write(&absent, [0xff, 0xfe]).unwrap();
        assert!(read(&[absent]).unwrap_err().to_string().contains("not UTF-8"));
    }
}

//! Says where a process is, for a test that kills it there. It knows nothing of the steps.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

/// Names the file that the current step is written to; without it, marking costs one load.
pub const STEP_FILE_VARIABLE: &str = "TIDEGATE_STEP_FILE";
/// Width of what is written: the word, spaces, a newline.
pub const STEP_BYTES: usize = 32;

/// Writes the word in place of the last one.
pub fn mark(word: &'static str) {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    if let Some(file) = FILE.get_or_init(open) {
        write(file, word);
    }
}

fn open() -> Option<File> {
    let path = std::env::var_os(STEP_FILE_VARIABLE)?;
    match OpenOptions::new().write(true).create(true).truncate(false).open(&path) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "cannot write steps");
            None
        }
    }
}

fn write(file: &File, word: &str) {
    let mut line = [b' '; STEP_BYTES];
    let length = word.len().min(STEP_BYTES - 1);
    line[..length].copy_from_slice(&word.as_bytes()[..length]);
    line[STEP_BYTES - 1] = b'\n';
    if let Err(error) = file.write_all_at(&line, 0) {
        tracing::warn!(%error, "cannot write a step");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_word_replaces_a_longer_one_whole() {
        let path = std::env::temp_dir().join(format!("tidegate-step-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        write(&file, "download");
        write(&file, "swap");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((text.trim(), text.len()), ("swap", STEP_BYTES));
    }
}

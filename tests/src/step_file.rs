//! Where a process says that it is (TIDEGATE_STEP_FILE): one word, written in place.

use std::path::{Path, PathBuf};

pub const VARIABLE: &str = "TIDEGATE_STEP_FILE";

#[derive(Debug, Clone)]
pub struct StepFile(PathBuf);

impl StepFile {
    pub fn new(path: PathBuf) -> StepFile {
        StepFile(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Empty if it has not come to any step.
    pub fn read(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap_or_default().trim().to_owned()
    }

    /// Before a process is started anew: the word of the old one is not its.
    pub fn clear(&self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

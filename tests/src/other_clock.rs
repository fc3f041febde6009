//! One process's clock on the wall, hours off: a small library that is loaded before everything else and adds to every answer. The
//! program under test knows nothing of it, so whatever it asks the time for is asked of the wrong clock.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("other_clock.c");

#[derive(Debug, Clone)]
pub struct OtherClock(PathBuf);

impl OtherClock {
    /// Compiled into `folder` by the C compiler that the program's own dependencies need too.
    pub fn build(folder: &Path) -> OtherClock {
        let (source, library) = (folder.join("other_clock.c"), folder.join("other_clock.so"));
        std::fs::write(&source, SOURCE).expect("the folder can be written");
        let output = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .expect("there is a C compiler");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        OtherClock(library)
    }

    /// The variables of a process whose clock is to be so many seconds ahead, or behind.
    pub fn ahead_by(&self, seconds: i64) -> Vec<(String, String)> {
        vec![
            ("LD_PRELOAD".to_owned(), self.0.display().to_string()),
            ("TIDEGATE_TEST_CLOCK_S".to_owned(), seconds.to_string()),
        ]
    }
}

//! Corpora by name: made by the scripts beside this crate where they are not there yet.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use crate::data::done;

/// The folders of both versions.
pub fn made(corpus: &Path, name: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (v1, v2) = (corpus.join(format!("{name}-v1")), corpus.join(format!("{name}-v2")));
    match (v1.is_dir(), v2.is_dir()) {
        (true, true) => return Ok((v1, v2)),
        (false, false) => {}
        _ => bail!("of {} and {} only one is there: remove it", v1.display(), v2.display()),
    }
    eprintln!("making {name} in {}", corpus.display());
    match name {
        "small" | "large" => done(script("corpus.py").arg(corpus))?,
        name => done(script("trees.py").arg(corpus).args(choice(name)))?,
    }
    Ok((v1, v2))
}

/// `files-N` and `gib-N` are for growth; the others have names of their own.
pub fn choice(name: &str) -> Vec<String> {
    match name.split_once('-') {
        Some((what @ ("files" | "gib"), number)) => vec![format!("--{what}"), number.to_owned()],
        _ => vec![name.to_owned()],
    }
}

pub fn script(name: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
    command
}

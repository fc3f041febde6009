//! `verify`: whether a target, a site's store or the origin is whole. It knows no more than which, and where it lies.

mod origin;
mod progress;
mod store;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::args::verbs::VerifyArgs;

const WORK_DIR: &str = "/var/lib/tidegate/sub";

pub async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    if args.origin {
        return origin::run(&args).await;
    }
    let look = move || match &args.target {
        Some(target) => target::run(&args, target),
        None => store::run(&args),
    };
    tokio::task::spawn_blocking(look).await?
}

/// Of the subscribers here, sorted.
fn work_dirs(args: &VerifyArgs) -> anyhow::Result<Vec<PathBuf>> {
    let Some(data) = &args.data else {
        return Ok(vec![args.work_dir.clone().unwrap_or_else(|| PathBuf::from(WORK_DIR))]);
    };
    let sites = data.join("sites");
    let listed = std::fs::read_dir(&sites).with_context(|| format!("{} cannot be read", sites.display()))?;
    let mut dirs = listed.map(|site| Ok(site?.path())).collect::<std::io::Result<Vec<_>>>()?;
    dirs.sort();
    Ok(dirs)
}

/// `1 object`, `2 objects`.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

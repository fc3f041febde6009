//! `verify TARGET`: what a target on this machine lacks, has otherwise or has beside what was extracted there. It asks no
//! service.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};

use super::work_dirs;
use crate::args::verbs::VerifyArgs;
use crate::client::exit;
use crate::output::{self, clean};

/// One difference: how, in what, and where.
struct Line {
    path: String,
    drift: &'static str,
    what: &'static str,
}

pub fn run(args: &VerifyArgs, target: &Path) -> anyhow::Result<ExitCode> {
    let target = std::path::absolute(target).context("the target's path")?;
    let mut trees: Vec<(u64, Vec<Line>)> = Vec::new();
    for work_dir in work_dirs(args)? {
        let found = subscriber::verify(&work_dir, &target)?;
        trees.extend(found.iter().map(|drift| (drift.revision.number, lines(&drift.differences))));
    }
    if trees.is_empty() {
        let shown = clean::line(&target.to_string_lossy());
        eprintln!(
            "tidegate: nothing was extracted to {shown} from here; name the subscriber's directory with --work-dir"
        );
        return Ok(ExitCode::from(exit::USAGE));
    }
    output::print(args.output, &value(&target, &trees), || text(&target, &trees))?;
    let is_clean = trees.iter().all(|(_, lines)| lines.is_empty());
    Ok(ExitCode::from(if is_clean { exit::SUCCEEDED } else { exit::FAILED }))
}

fn lines(differences: &subscriber::Differences) -> Vec<Line> {
    let line = |path: &String, drift, what| Line { path: path.clone(), drift, what };
    let missing = differences.missing.iter().map(|path| line(path, "missing", ""));
    let modified = differences.modified.iter().map(|found| line(&found.path, "modified", found.what.as_str()));
    let extra = differences.extra.iter().map(|path| line(path, "extra", ""));
    let mut lines: Vec<Line> = missing.chain(modified).chain(extra).collect();
    lines.sort_by(|one, other| one.path.cmp(&other.path));
    lines
}

fn value(target: &Path, trees: &[(u64, Vec<Line>)]) -> Value {
    let one = |line: &Line| json!({ "path": line.path, "drift": line.drift, "what": line.what });
    let tree = |(revision, lines): &(u64, Vec<Line>)| json!({ "revision": revision, "differences": lines.iter().map(one).collect::<Vec<_>>() });
    json!({ "target": target.to_string_lossy(), "trees": trees.iter().map(tree).collect::<Vec<_>>() })
}

fn text(target: &Path, trees: &[(u64, Vec<Line>)]) -> String {
    let mut out = String::new();
    for (revision, lines) in trees {
        for Line { path, drift, what } in lines {
            let path = if path.is_empty() { "." } else { path };
            out.push_str(&format!("{drift:<9} {what:<10} {}\n", clean::line(path)));
        }
        let shown = clean::line(&target.to_string_lossy());
        match lines.len() {
            0 => out.push_str(&format!("{shown} is revision {revision}\n")),
            1 => out.push_str(&format!("{shown} differs from revision {revision} in 1 place\n")),
            many => out.push_str(&format!("{shown} differs from revision {revision} in {many} places\n")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_sorted_by_path_whatever_their_kind() {
        let differences = subscriber::Differences {
            missing: vec!["m".into()],
            modified: vec![subscriber::Modified { path: "a".into(), what: subscriber::Modification::Content }],
            extra: vec!["b/\u{1b}[2J".into()],
        };
        let trees = [(3, lines(&differences))];
        let said = text(Path::new("/srv/t"), &trees);
        let said: Vec<&str> = said.lines().collect();
        assert_eq!(said[0], "modified  content    a");
        assert!(said[1].starts_with("extra                b/") && !said[1].contains('\u{1b}'), "{}", said[1]);
        assert_eq!(said[2..], ["missing              m", "/srv/t differs from revision 3 in 3 places"]);
    }
}

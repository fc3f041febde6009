//! Where a distribution is extracted to at this site: variables are filled in, and no two targets may meet.

use std::path::{Path, PathBuf};

use domain::variables::{Variables, expand};
use schemas::{Digest, ExtractTask, Fault, StoreId};

/// The absolute target of a task, or why it cannot be one.
pub fn resolve(task: &ExtractTask, variables: &Variables) -> Result<PathBuf, Fault> {
    let target = expand(&task.target, variables).map_err(|e| e.fault())?;
    check_form(task, &target)?;
    for (other, text) in &task.other_targets {
        // One that cannot be filled in is refused by its own job, and writes nothing.
        let Ok(other_target) = expand(text, variables) else { continue };
        if *other != task.distribution && domain::target_path::overlap(&target, &other_target) {
            let what = format!(
                "{target} and {other_target}, the target of {other}, are equal or nested: one would delete the other"
            );
            return Err(Fault::permanent("targets-overlap", what));
        }
    }
    Ok(PathBuf::from(target))
}

fn check_form(task: &ExtractTask, target: &str) -> Result<(), Fault> {
    let path = Path::new(target);
    let refuse = |code: &str, why: &str| {
        Err(Fault::permanent(code, format!("the target `{target}` of {} (`{}`) {why}", task.distribution, task.target)))
    };
    if !path.is_absolute() {
        return refuse("target-not-absolute", "is not an absolute path");
    }
    if target.chars().any(char::is_control) || target.split('/').any(|part| part == "..") {
        return refuse("target-unsafe", "has `..` or control characters in it");
    }
    if path.file_name().is_none() {
        return refuse("target-unsafe", "is the root of the file system");
    }
    Ok(())
}

/// The folder of one distribution in one target, for what the tree remembers of itself.
pub fn state_dir(work_dir: &Path, store: StoreId, target: &Path) -> PathBuf {
    store_dir(work_dir, store).join(folder_name(target))
}

/// What the trees of one distribution remember of themselves, in a folder for each target.
pub fn store_dir(work_dir: &Path, store: StoreId) -> PathBuf {
    trees_dir(work_dir).join(store.to_string())
}

/// What the trees of all distributions remember of themselves.
pub fn trees_dir(work_dir: &Path) -> PathBuf {
    work_dir.join("trees")
}

pub fn folder_name(target: &Path) -> String {
    Digest::of(target.as_os_str().as_encoded_bytes()).hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemas::{Mode, RevisionRef};

    use super::*;

    fn task(target: &str, others: &[(&str, &str)]) -> ExtractTask {
        let others = others.iter().map(|(n, t)| ((*n).try_into().unwrap(), (*t).to_owned()));
        ExtractTask {
            subscriber: "paris".try_into().unwrap(),
            distribution: "antivirus".try_into().unwrap(),
            store: StoreId(Default::default()),
            revision: RevisionRef { number: 1, header: Digest::of(b"") },
            mode: Mode::Mirror,
            target: target.to_owned(),
            adopt: false,
            allow: vec![],
            pin: false,
            unchanged: Default::default(),
            other_targets: others.collect(),
            keep: None,
            stop_at_ms: None,
        }
    }

    fn resolved(target: &str, others: &[(&str, &str)]) -> Result<PathBuf, String> {
        let own = BTreeMap::from([("VOLUME".to_owned(), "/srv".to_owned())]);
        resolve(&task(target, others), &Variables { own, ..Variables::default() }).map_err(|f| {
            assert!(f.permanent);
            f.code
        })
    }

    #[test]
    fn a_target_is_absolute_after_its_variables_and_apart_from_all_others() {
        assert_eq!(resolved("%VOLUME%/av", &[("b", "/srv/b")]), Ok(PathBuf::from("/srv/av")));
        assert_eq!(resolved("%NOBODY%/av", &[]), Err("unknown-variable".to_owned()));
        assert_eq!(resolved("av", &[]), Err("target-not-absolute".to_owned()));
        assert_eq!(resolved("%VOLUME%/../etc", &[]), Err("target-unsafe".to_owned()));
        assert_eq!(resolved("/", &[]), Err("target-unsafe".to_owned()));
    }

    #[test]
    fn equal_or_nested_targets_are_refused_after_their_variables() {
        assert_eq!(resolved("%VOLUME%/av", &[("b", "/srv")]), Err("targets-overlap".to_owned()));
        assert_eq!(resolved("/srv", &[("b", "%VOLUME%/b")]), Err("targets-overlap".to_owned()));
        assert_eq!(resolved("/srv/av", &[("b", "%NOBODY%/b")]), Ok(PathBuf::from("/srv/av")));
    }
}

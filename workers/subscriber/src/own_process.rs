//! What a site's settings say of the process that it runs in: where and how much it logs, and where it should work. It changes
//! neither: whoever started the process is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::variables::{Variables, expand};
use schemas::Settings;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::site::Site;

/// Below the working directory, of a log of which only the level is said.
const LOG_FILE: &str = "log/subscriber.log";

/// How a site wants to log; levels are `error`, `warn`, `info`, `debug` or `trace`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogWanted {
    pub console_level: Option<String>,
    pub file_level: Option<String>,
    pub file: Option<PathBuf>,
}

/// Tells what is wanted whenever settings come, until `stop`.
pub async fn follow(site: Arc<Site>, told: Option<watch::Sender<LogWanted>>, stop: CancellationToken) {
    let mut in_force = site.orders.watch();
    let mut version = None;
    loop {
        let settings = in_force.borrow_and_update().settings.clone();
        if let Some(settings) = settings.filter(|s| version != Some(s.version)) {
            version = Some(settings.version);
            tell(&site, &settings, told.as_ref());
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = in_force.changed() => if changed.is_err() { return },
        }
    }
}

fn tell(site: &Site, settings: &Settings, told: Option<&watch::Sender<LogWanted>>) {
    let variables = site.variables();
    if let Some(wanted) = elsewhere(settings, &variables, &site.work_dir) {
        tracing::warn!(
            works_in = %site.work_dir.display(), defined = %wanted.display(),
            "the definition names another working directory; a process cannot move: start it with --work-dir"
        );
    }
    if let Some(told) = told {
        told.send_replace(log_wanted(settings, &variables, &site.work_dir));
    }
}

/// The working directory of the definition, if it is not the one that this process was started in.
fn elsewhere(settings: &Settings, variables: &Variables, work_dir: &Path) -> Option<PathBuf> {
    let defined = expand(settings.working_dir.as_deref()?, variables).ok().map(PathBuf::from)?;
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    (real(&defined) != real(work_dir)).then_some(defined)
}

fn log_wanted(settings: &Settings, variables: &Variables, work_dir: &Path) -> LogWanted {
    let file = match &settings.log_path {
        Some(text) => match expand(text, variables) {
            Ok(path) => Some(PathBuf::from(path)),
            Err(error) => {
                tracing::warn!(path = text, %error, "the log's place cannot be filled in; it goes to the console only");
                None
            }
        },
        None => settings.log_level.is_some().then(|| work_dir.join(LOG_FILE)),
    };
    LogWanted { console_level: settings.console_level.clone(), file_level: settings.log_level.clone(), file }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn settings() -> Settings {
        Settings {
            subscriber: "paris".try_into().unwrap(),
            version: 1,
            channels: vec![],
            variables: BTreeMap::new(),
            time_zone: "UTC".to_owned(),
            connect_timeout_s: 300,
            rate_in: None,
            rate_out: Default::default(),
            concurrent_relays: None,
            free_space_floor: None,
            log_level: None,
            log_path: None,
            console_level: None,
            working_dir: None,
        }
    }

    fn variables() -> Variables {
        Variables { predefined: BTreeMap::from([("WORKING_PATH".to_owned(), "/w".to_owned())]), ..Variables::default() }
    }

    #[test]
    fn a_log_has_the_place_that_is_said_or_one_in_the_working_directory() {
        let wanted = |level: Option<&str>, path: Option<&str>| {
            let (log_level, log_path) = (level.map(str::to_owned), path.map(str::to_owned));
            log_wanted(&Settings { log_level, log_path, ..settings() }, &variables(), Path::new("/w")).file
        };
        assert_eq!(wanted(None, None), None);
        assert_eq!(wanted(Some("debug"), None), Some("/w/log/subscriber.log".into()));
        assert_eq!(wanted(None, Some("%WORKING_PATH%/x.log")), Some("/w/x.log".into()));
        assert_eq!(wanted(Some("debug"), Some("%NOWHERE%/x.log")), None);
    }

    #[test]
    fn another_working_directory_than_its_own_is_noticed() {
        let elsewhere = |dir: Option<&str>| {
            let settings = Settings { working_dir: dir.map(str::to_owned), ..settings() };
            elsewhere(&settings, &variables(), Path::new("/w"))
        };
        assert_eq!(elsewhere(None), None);
        assert_eq!(elsewhere(Some("%WORKING_PATH%")), None);
        assert_eq!(elsewhere(Some("/elsewhere")), Some("/elsewhere".into()));
    }
}

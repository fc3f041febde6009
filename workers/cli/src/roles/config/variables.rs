//! `TIDEGATE_…` variables that mean nothing: told of, because a misspelt setting would be passed by in silence. They are no
//! error, because an environment is shared with other programs.

use clap::Command;

const PREFIX: &str = "TIDEGATE_";
/// Variables of ours that are no flag's: of tests and of `ops/services`.
const OTHERS: [&str; 2] = ["STEP_FILE", "SERVICES_DIR"];
const OTHER_FAMILIES: [&str; 2] = ["TEST_", "S3_"];

/// `command` is the whole command line; `names` are the environment's.
pub fn unknown(command: &Command, names: impl Iterator<Item = String>) -> Vec<String> {
    let is_unknown =
        |name: &String| name.strip_prefix(PREFIX).is_some_and(|rest| !is_other(rest)) && !is_flags(command, name);
    names.filter(is_unknown).collect()
}

fn is_flags(command: &Command, name: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_env().is_some_and(|variable| variable == name))
        || command.get_subcommands().any(|inner| is_flags(inner, name))
}

/// Kubernetes makes `…_SERVICE_HOST` and `…_PORT` variables of every service; one may be called `tidegate-api`.
fn is_other(rest: &str) -> bool {
    OTHERS.contains(&rest)
        || OTHER_FAMILIES.iter().any(|family| rest.starts_with(family))
        || rest.contains("_SERVICE_")
        || rest.ends_with("_PORT")
        || rest.contains("_PORT_")
}

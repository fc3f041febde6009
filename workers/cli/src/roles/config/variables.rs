//! `TIDEGATE_…` variables that mean nothing: refused, because a misspelt setting would be passed by in silence.

use clap::Command;

use super::error::ConfigError;

const PREFIX: &str = "TIDEGATE_";
/// Variables of ours that are no flag's: of tests, and what `ops/services` tells of its services.
const OTHERS: [&str; 5] = ["STEP_FILE", "SERVICES_DIR", "DATABASE_URL", "AMQP_URL", "AMQP_MANAGEMENT_URL"];
const OTHER_FAMILIES: [&str; 2] = ["TEST_", "S3_"];

/// `command` is the whole command line; `names` are the environment's.
pub fn refuse_unknown(command: &Command, names: impl Iterator<Item = String>) -> Result<(), ConfigError> {
    for name in names {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if !is_other(rest) && !is_flags(command, &name) {
            return Err(ConfigError::UnknownVariable { variable: name });
        }
    }
    Ok(())
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

//! Where and how this process logs: to stderr, as text or as JSON, one line for each event.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use super::config::LogFormat;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "log `{filter}`: {source}; a level (error, warn, info, debug, trace), or directives such as `info,queue=debug`"
    )]
    Filter { filter: String, source: ParseError },
}

/// Once in a process; a second call changes nothing.
pub fn init(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let filter =
        EnvFilter::builder().parse(filter).map_err(|source| LogError::Filter { filter: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).try_init(),
    };
    if set.is_err() {
        tracing::debug!("logging was set up before");
    }
    Ok(())
}

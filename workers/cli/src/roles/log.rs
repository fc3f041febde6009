//! Where and how this process logs: to stderr, and to a file if somebody says so while it runs; as text or as JSON, one line for
//! each event. It does not know who says so.

mod file;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use subscriber::LogWanted;
use tokio::sync::watch;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::config::LogFormat;
use file::Sink;

/// Of a file of which no level is said.
const FILE_LEVEL: &str = "info";
const OFF: &str = "off";

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "log `{filter}`: {source}; a level (error, warn, info, debug, trace), or directives such as `info,queue=debug`"
    )]
    Filter { filter: String, source: ParseError },
}

/// The log of this process, to be changed while it runs.
#[derive(Clone)]
pub struct Log {
    console: reload::Handle<EnvFilter, Registry>,
    file: reload::Handle<EnvFilter, Registry>,
    sink: Sink,
    /// Of the console, when nothing else is wanted.
    filter: String,
    /// What was wanted last: a file that could not be opened is not tried again for every other change.
    path: Arc<Mutex<Option<PathBuf>>>,
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Sets up the log; once in a process, a second call changes nothing.
pub fn init(format: LogFormat, filter: &str) -> Result<Log, LogError> {
    let (log, layers) = log(format, filter, BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal())?;
    if tracing_subscriber::registry().with(layers).try_init().is_err() {
        tracing::debug!("logging was set up before");
    }
    Ok(log)
}

fn log(
    format: LogFormat,
    filter: &str,
    console: BoxMakeWriter,
    colours: bool,
) -> Result<(Log, Vec<BoxedLayer>), LogError> {
    let sink = Sink::default();
    let (console_filter, console_handle) = reload::Layer::new(parse(filter)?);
    let (file_filter, file_handle) = reload::Layer::new(parse(OFF)?);
    let layers = vec![
        lines(format, console, colours).with_filter(console_filter).boxed(),
        lines(format, BoxMakeWriter::new(sink.clone()), false).with_filter(file_filter).boxed(),
    ];
    let (filter, path) = (filter.to_owned(), Arc::default());
    Ok((Log { console: console_handle, file: file_handle, sink, filter, path }, layers))
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder().parse(filter).map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

fn lines(format: LogFormat, writer: BoxMakeWriter, colours: bool) -> BoxedLayer {
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).boxed(),
    }
}

/// A level as a filter. Migrations tell of themselves at every start, whether there is one to run or not; lost connections are
/// told of by `queue`.
pub fn level_filter(level: &str) -> String {
    match level {
        "error" | "warn" => format!("{level},lapin=off"),
        level => format!("{level},sqlx=warn,lapin=off"),
    }
}

impl Log {
    /// Does what is wanted, now and at every change, for as long as somebody may want something. A console whose filter this
    /// process was started with keeps it.
    pub fn follow(self, mut wanted: watch::Receiver<LogWanted>, console_is_fixed: bool) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                let now = wanted.borrow_and_update().clone();
                self.put(&now, console_is_fixed);
                if wanted.changed().await.is_err() {
                    return;
                }
            }
        })
    }

    fn put(&self, wanted: &LogWanted, console_is_fixed: bool) {
        if !console_is_fixed {
            let filter = wanted.console_level.as_deref().map_or_else(|| self.filter.clone(), level_filter);
            set(&self.console, &filter);
        }
        self.set_file(wanted.file.clone());
        let level = wanted.file_level.as_deref().unwrap_or(FILE_LEVEL);
        set(&self.file, &if wanted.file.is_some() { level_filter(level) } else { OFF.to_owned() });
    }

    fn set_file(&self, path: Option<PathBuf>) {
        let mut before = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == path {
            return;
        }
        match &path {
            None => self.sink.close(),
            Some(file) => match self.sink.open(file) {
                Ok(()) => tracing::info!(path = %file.display(), "logs to this file too"),
                Err(error) => tracing::error!(path = %file.display(), %error, "the log file cannot be opened"),
            },
        }
        *before = path;
    }
}

fn set(handle: &reload::Handle<EnvFilter, Registry>, filter: &str) {
    let set = parse(filter).map_err(|error| error.to_string());
    if let Err(error) = set.and_then(|filter| handle.reload(filter).map_err(|error| error.to_string())) {
        tracing::error!(filter, error, "the log's level cannot be changed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that was written to the console.
    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Screen {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn wanted(console: Option<&str>, level: Option<&str>, file: Option<&std::path::Path>) -> LogWanted {
        LogWanted {
            console_level: console.map(str::to_owned),
            file_level: level.map(str::to_owned),
            file: file.map(Into::into),
        }
    }

    #[test]
    fn levels_and_place_change_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/site.log");
        let screen = Screen::default();
        let writer = screen.clone();
        let (log, layers) = log(LogFormat::Text, "info", BoxMakeWriter::new(move || writer.clone()), false).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layers), || {
            tracing::info!("one");
            tracing::debug!("two");
            log.put(&wanted(Some("error"), Some("debug"), Some(&path)), false);
            tracing::info!("three");
            tracing::debug!("four");
            log.put(&wanted(None, None, None), false);
            tracing::info!("five");
            log.put(&wanted(Some("error"), None, None), true);
            tracing::info!("six");
        });
        let (screen, file) = (screen.text(), std::fs::read_to_string(&path).unwrap());
        for (word, on_screen, in_file) in [
            ("one", true, false),
            ("two", false, false),
            ("three", false, true),
            ("four", false, true),
            ("five", true, false),
            ("six", true, false),
        ] {
            assert_eq!((screen.contains(word), file.contains(word)), (on_screen, in_file), "{word}\n{screen}\n{file}");
        }
    }
}

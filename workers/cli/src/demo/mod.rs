//! `tidegate demo`: the newcomer's first minute. It distributes a tree through a relay to three sites, changes a file, sends
//! again, proves the result, and shows where everything is. It changes nothing outside its own directory.

mod board;
mod change;
mod compare;
mod copy;
mod definitions;
mod error;
mod place;
mod results;
mod stage;
mod text;
mod walk;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::args::roles::DemoArgs;
use crate::roles::config::LogFormat;
use crate::roles::embedded::{Embedded, Ground, Settings};
use crate::roles::{DataLock, init_log};

use error::DemoError;
use place::Place;
use results::Results;
use stage::Stage;

const SLOTS: u16 = 2;
/// After Ctrl-C: there is nothing worth waiting for.
const DRAIN_TIME: Duration = Duration::from_secs(1);
const LOG_VARIABLE: &str = "TIDEGATE_LOG";
/// The bars tell what happens; the log tells only what is wrong.
const LOG_DEFAULT: &str = "error";

pub async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let shutdown = worker::shutdown_on_signals();
    let log = std::env::var(LOG_VARIABLE).unwrap_or_else(|_| LOG_DEFAULT.to_owned());
    let ended = match init_log(LogFormat::Text, &log) {
        Ok(_) => perform(args, shutdown).await,
        Err(error) => Err(DemoError::from(error)),
    };
    Ok(match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate demo: {error}");
            ExitCode::from(error.exit_code())
        }
    })
}

async fn perform(args: DemoArgs, shutdown: tokio_util::sync::CancellationToken) -> Result<(), DemoError> {
    let place = Place::choose(args.source.as_deref(), args.data.as_deref())?;
    let lock = DataLock::take(&place.data)?;
    let ground = Ground::embedded(&place.data).await?;
    let mut fleet = Embedded::start(settings(&place.data), ground, lock).await?;
    let stage = Stage { records: fleet.records.clone(), queue: fleet.queue.clone(), place: place.clone() };
    let url = fleet.api.url.clone();
    let shown = tokio::select! {
        () = shutdown.cancelled() => Err(DemoError::Interrupted),
        error = fleet.ended() => Err(error.into()),
        shown = show(&stage) => shown,
    };
    if shown.is_ok() && args.stay {
        text::say(&format!("\nThe service stays at {url} until Ctrl-C."));
        tokio::select! {
            () = shutdown.cancelled() => {}
            error = fleet.ended() => eprintln!("tidegate demo: {error}"),
        }
    }
    let stopped = fleet.stop().await;
    if shown.is_err() {
        let data = text::shell_word(&place.data);
        eprintln!("What there is so far: {data}   (to remove it: rm -rf {data})");
    }
    shown?;
    Ok(stopped?)
}

fn settings(data: &Path) -> Settings {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let retention = scheduler::Retention::default();
    let console = schemas::ConsoleName::default();
    Settings {
        data: PathBuf::from(data),
        listen,
        slots: SLOTS,
        drain_time: DRAIN_TIME,
        retention,
        served_kept: None,
        console,
    }
}

/// The whole show, from the copy to the last line.
async fn show(stage: &Stage) -> Result<(), DemoError> {
    let copied = stage.copy().await?;
    stage.apply().await?;
    stage.until_the_relay_knows_its_children().await?;
    stage.build("Building revision 1").await?;
    stage.send("Sending it to four servers in two tiers").await?;
    let first = stage.verify().await?;
    let change = stage.change().await?;
    stage.build(&format!("Changed {}; building revision 2", change.path)).await?;
    stage.send("Sending what changed").await?;
    let second = stage.verify().await?;
    Results { stage, copied, change, first, second }.print().await
}

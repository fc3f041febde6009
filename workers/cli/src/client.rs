//! The client verbs: each asks the API and shows the answer. They know no broker, and of the service's files only the one that
//! says where it listens. Two speak to a database: `db migrate`, which comes before any service, and `query` where none is left.

pub mod address;
mod apply;
mod ask;
mod bars;
pub mod database;
mod dead_letters;
mod error;
pub mod exit;
pub mod files;
pub mod follow;
mod gc;
mod http;
mod lanes;
mod objects;
mod query;
mod routes;
mod schedules;
mod sheets;
mod status;

use std::future::Future;
use std::process::ExitCode;

use crate::args::verbs::{ClientArgs, DeadLettersCommand, ScheduleCommand, VerbCommand};

pub use error::ClientError;
pub use http::Client;

/// What a verb came to when nothing went wrong with asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Succeeded,
    /// What was asked for was carried out and failed, or has not ended in time.
    Failed,
}

pub async fn run(verb: VerbCommand) -> ExitCode {
    match verb {
        VerbCommand::Apply(v) => with(&v.client, async |c| apply::run(c, &v.args, v.client.output).await).await,
        VerbCommand::Get(v) => with(&v.client, async |c| objects::get(c, &v.args, v.client.output).await).await,
        VerbCommand::Describe(v) => {
            with(&v.client, async |c| objects::describe(c, &v.args, v.client.output).await).await
        }
        VerbCommand::Delete(v) => with(&v.client, async |c| objects::delete(c, &v.args, v.client.output).await).await,
        VerbCommand::Build(v) => with(&v.client, async |c| ask::build(c, v.args.clone(), v.client.output).await).await,
        VerbCommand::Send(v) => with(&v.client, async |c| ask::send(c, v.args.clone(), v.client.output).await).await,
        VerbCommand::Extract(v) => {
            with(&v.client, async |c| ask::extract(c, v.args.clone(), v.client.output).await).await
        }
        VerbCommand::Sync(v) => with(&v.client, async |c| ask::sync(c, v.args.clone(), v.client.output).await).await,
        VerbCommand::Refresh(v) => {
            with(&v.client, async |c| ask::refresh(c, v.args.clone(), v.client.output).await).await
        }
        VerbCommand::Run(v) => with(&v.client, async |c| ask::run_schedules(c, &v.args, v.client.output).await).await,
        VerbCommand::Event(v) => with(&v.client, async |c| ask::event(c, v.args.clone(), v.client.output).await).await,
        VerbCommand::Wait(v) => with(&v.client, async |c| ask::wait(c, &v.args, v.client.output).await).await,
        VerbCommand::Rollback(v) => {
            with(&v.client, async |c| ask::rollback(c, v.args.clone(), v.client.output).await).await
        }
        VerbCommand::Cancel(v) => {
            with(&v.client, async |c| ask::cancel(c, v.args.clone(), v.client.output).await).await
        }
        VerbCommand::Retry(v) => with(&v.client, async |c| ask::retry(c, v.args.clone(), v.client.output).await).await,
        VerbCommand::Gc(v) => with(&v.client, async |c| gc::run(c, v.args.clone(), v.client.output).await).await,
        VerbCommand::Pause(v) => with(&v.client, async |c| lanes::hold(c, &v.args, true, v.client.output).await).await,
        VerbCommand::Resume(v) => {
            with(&v.client, async |c| lanes::hold(c, &v.args, false, v.client.output).await).await
        }
        VerbCommand::Jobs(v) => with(&v.client, async |c| sheets::jobs(c, &v.args, v.client.output).await).await,
        VerbCommand::Deliveries(v) => {
            with(&v.client, async |c| sheets::deliveries(c, &v.args, v.client.output).await).await
        }
        VerbCommand::Lanes(v) => with(&v.client, async |c| sheets::lanes(c, &v.args, v.client.output).await).await,
        VerbCommand::Schedules(v) => with(&v.client, async |c| schedules::list(c, v.client.output).await).await,
        VerbCommand::Schedule(ScheduleCommand::Next(v)) => {
            with(&v.client, async |c| schedules::next(c, &v.args, v.client.output).await).await
        }
        VerbCommand::Schedule(ScheduleCommand::Explain(v)) => {
            with(&v.client, async |c| schedules::explain(c, &v.args, v.client.output).await).await
        }
        VerbCommand::Status(v) => with(&v.client, async |c| status::run(c, v.client.output).await).await,
        VerbCommand::Routes(v) => with(&v.client, async |c| routes::run(c, &v.args, v.client.output).await).await,
        VerbCommand::Query(v) => query::run(&v).await,
        VerbCommand::DeadLetters(command) => dead_letters_run(command).await,
    }
}

async fn dead_letters_run(command: DeadLettersCommand) -> ExitCode {
    match command {
        DeadLettersCommand::List(v) => {
            with(&v.client, async |c| dead_letters::list(c, &v.args, v.client.output).await).await
        }
        DeadLettersCommand::Show(v) => {
            with(&v.client, async |c| dead_letters::show(c, &v.args, v.client.output).await).await
        }
        DeadLettersCommand::Replay(v) => {
            with(&v.client, async |c| dead_letters::end(c, &v.args, "replay", v.client.output).await).await
        }
        DeadLettersCommand::Drop(v) => {
            with(&v.client, async |c| dead_letters::end(c, &v.args, "drop", v.client.output).await).await
        }
    }
}

/// Finds the service, asks, and turns whatever came of it into an exit code; faults go to stderr.
pub async fn with<'a, A, F>(args: &ClientArgs, ask: A) -> ExitCode
where
    A: FnOnce(Client) -> F,
    F: Future<Output = Result<Outcome, ClientError>> + 'a,
{
    let asked = match Client::find(args) {
        Ok(client) => ask(client).await,
        Err(error) => Err(error),
    };
    exit::code(asked)
}

//! The HTTP API behind the client verbs: on loopback, with a token, small. It plans nothing: requests go to the same queue as
//! everybody's, definitions and questions to the database. It knows no worker.

mod answer;
mod apply;
mod auth;
mod database;
mod dead_letters;
mod fault;
mod garbage;
mod ids;
mod jobs;
mod lanes;
mod limits;
mod objects;
mod query;
mod queue_text;
mod requests;
mod router;
mod routes;
mod schedules;
mod serve;
mod sheets;
mod statement;
mod status;

pub use apply::{ApplyAnswer, ApplyError, apply};
pub use serve::{Config, ServeError, serve};
pub use statement::{NotAQuestion, question};

//! The role of a site: it takes its jobs from the queues of its channels, brings content into its store, serves its
//! children from there, extracts, and reports. It knows no database but its own journal, and no other role.

pub mod config;
mod control;
mod desk;
mod extract;
mod fetch;
mod halt;
mod intake;
pub mod journal;
mod lane;
mod lanes;
mod limits;
mod orders;
mod own_process;
mod presence;
mod recovery;
mod retention;
mod run;
mod send;
pub mod serve;
mod site;
mod slots;
mod sources;
mod space;
mod standby;
pub mod store;
mod target;
mod verify;
mod window;

pub use config::{Config, Retries};
pub use own_process::LogWanted;
pub use package::tree::{Differences, Modification, Modified};
pub use run::{SiteError, run};
pub use verify::{VerifyError, verify, verify_store};

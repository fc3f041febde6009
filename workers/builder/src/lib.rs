//! The builder's role: sources become a revision in storage. Stateless but for hints; it knows no database and no
//! subscriber.

mod build;
mod fault;
mod hints_file;
mod previous;
mod role;
mod upload;

pub use build::{Builder, Ended};
pub use hints_file::machine_name;
pub use role::{Config, run};

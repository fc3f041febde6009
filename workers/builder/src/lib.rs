//! The builder's role: sources become a revision in storage, and what no revision needs leaves it. Stateless but for hints;
//! it knows no database and no subscriber.

mod build;
mod collect;
mod fault;
mod hints_file;
mod lost;
mod patches;
mod previous;
mod read_back;
mod role;
mod upload;
pub mod verify;

pub use build::{Builder, Ended};
pub use hints_file::machine_name;
pub use patches::Patcher;
pub use role::{Config, run};

//! Database, broker and storage as the configuration names them: opened with patience while a role starts, because all of
//! them may be starting too. It knows nothing of what a role does with them.

mod broker;
mod database;
mod patience;
mod storage;

pub use broker::open as broker;
pub use database::open as database;
pub use patience::Patience;
pub use storage::{Access, open as storage};

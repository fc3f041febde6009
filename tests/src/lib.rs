//! What the end-to-end tests stand on: the built program as processes, trees made from a seed, fleets on real services. It
//! imports no role: what it knows of the program is what a person knows.

pub mod bulk;
pub mod chance;
pub mod cli;
pub mod compare;
pub mod definitions;
pub mod ends;
pub mod fleet;
pub mod other_clock;
pub mod process;
pub mod program;
pub mod step_file;
pub mod tree;
pub mod up;
pub mod wait;

pub use chance::Chance;
pub use cli::Cli;
pub use fleet::{Fleet, Ground};
pub use process::Process;
pub use up::Up;

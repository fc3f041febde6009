//! The rules without I/O: definitions, variables, targets, routes, schedules, job states, lanes, retries.
//! It knows no clock, no randomness and no runtime: time and chance are arguments.

pub mod definitions;
pub mod effective;
pub mod in_effect;
pub mod retention;
pub mod retry;
pub mod routing;
pub mod schedule;
pub mod site;
pub mod state;
pub mod syncs;
pub mod target_path;
pub mod targets;
pub mod variables;

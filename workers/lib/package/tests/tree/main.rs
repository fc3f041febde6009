//! Trees on a real file system: what is refused, what a mirrored and a merged target become, and what a crash leaves.

mod ahead;
#[path = "../support/mod.rs"]
mod built;
mod crash;
mod dressed;
mod drift;
mod hard_links;
mod hostile;
mod large;
mod locked;
mod merge;
mod mirror;
mod recorded;
mod round_trip;
mod sequence;
mod support;

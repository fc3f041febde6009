//! Trees on a real file system: what is refused, what a mirrored and a merged target become, and what a crash leaves.

mod crash;
mod hostile;
mod merge;
mod mirror;
mod sequence;
mod support;

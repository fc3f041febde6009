//! Trees on a real file system: what is refused, what a mirrored and a merged target become, and what a crash leaves.

mod mirror;
mod support;

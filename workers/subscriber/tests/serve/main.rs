//! A parent's server and its children, over real sockets, stores and revisions.
#![allow(clippy::single_range_in_vec_init)] // one range is what is meant

mod asking;
mod bounds;
mod parent;
mod through;

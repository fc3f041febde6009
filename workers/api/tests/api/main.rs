//! The API as clients see it: over HTTP, on a real database and queue.

mod access;
mod definitions;
mod hostile;
mod support;
mod work;

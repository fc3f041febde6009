//! What is fuzzed: everything that reads bytes from outside. Each function takes any bytes, and must neither panic nor accept
//! what it then cannot hold to. cargo-fuzz calls them for hours (`fuzz_targets`), and the ordinary tests for some seconds
//! (`tests/tests/fuzz.rs` includes this file). It knows no fuzzer.

mod manifest;
mod message;
mod patch;
mod request;
mod response;

pub use manifest::{frame, header, index, index_body};
pub use message::message;
pub use patch::patch;
pub use request::request;
pub use response::response;

/// A function that is fuzzed, by the name of its folder of seeds, and how many inputs the ordinary tests give it: some
/// seconds' worth in all.
pub type Target = (&'static str, fn(&[u8]), usize);

pub const TARGETS: [Target; 8] = [
    ("header", header, 20_000),
    ("index", index, 4_000),
    ("index-body", index_body, 4_000),
    ("frame", frame, 20_000),
    ("patch", patch, 4_000),
    ("request", request, 20_000),
    ("response", response, 1_500),
    ("message", message, 10_000),
];

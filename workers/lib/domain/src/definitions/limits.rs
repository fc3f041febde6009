//! How much a definition may hold. What lies beyond is refused before it costs memory.

/// Files in one `apply`.
pub const FILES_MAX: usize = 1_000;
pub const FILE_BYTES_MAX: usize = 8 << 20;
/// Maps and lists in each other; a routing hierarchy counts one for each tier.
pub const DEPTH_MAX: usize = 64;
/// Values in all files together.
pub const NODES_MAX: usize = 500_000;
/// Faults told at once; a person mends no more in one go.
pub const ERRORS_MAX: usize = 100;
/// Objects of one kind.
pub const OBJECTS_MAX: usize = 20_000;
/// Titles and label values, in characters.
pub const TITLE_CHARS_MAX: usize = 200;
pub const LABELS_MAX: usize = 64;
pub const LABEL_NAME_BYTES_MAX: usize = 63;
pub const VARIABLES_MAX: usize = 256;
pub const VARIABLE_BYTES_MAX: usize = 4_096;
pub const PATH_BYTES_MAX: usize = 4_096;
pub const SOURCES_MAX: usize = 1_000;
pub const GLOBS_MAX: usize = 1_000;
pub const GLOB_BYTES_MAX: usize = 1_000;
pub const PLATFORMS_MAX: usize = 100;
/// That one sync names.
pub const COMPONENTS_MAX: usize = 100;
pub const REVISIONS_MAX: u64 = 10_000;
/// Of revisions, in seconds.
pub const AGE_S_MIN: u64 = 60;
pub const AGE_S_MAX: u64 = 10 * 366 * 86_400;
/// Builds, sends or relays at a time.
pub const CONCURRENCY_MAX: u64 = 10_000;
/// Bytes per second, or bits per second of a link.
pub const RATE_MAX: u64 = 10_000_000_000_000;
pub const FREE_SPACE_BYTES_MAX: u64 = 1 << 60;
pub const CONNECT_TIMEOUT_S_MAX: u64 = 60_000;

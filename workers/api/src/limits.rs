//! How much one client may ask of the API.

use std::time::Duration;

/// The files of one `apply`, in bytes.
pub const APPLY_BYTES_MAX: usize = 64 << 20;
/// Any other body; a request may be as large as a message.
pub const BODY_BYTES_MAX: usize = schemas::MESSAGE_BYTES_MAX;
pub const SQL_BYTES_MAX: usize = 64 << 10;
/// From the first byte of a request to the answer; above what a query and a publish may take.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// From the connection to the end of a request's head.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
pub const HEAD_BYTES_MAX: usize = 16 << 10;
pub const HEADERS_MAX: usize = 64;
pub const CONNECTIONS_MAX: usize = 128;
/// For open connections when the API stops.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// Jobs that a request's status lists, open and failed ones first.
pub const JOBS_LISTED_MAX: usize = 500;
/// Rows of a sheet.
pub const SHEET_ROWS_MAX: usize = 10_000;
/// Applies and deletes that lose a race read again and repeat.
pub const APPLY_TRIES: u32 = 4;

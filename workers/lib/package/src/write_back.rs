//! Lets the kernel write to disk what was just written to a file, and does not wait: the disk works while the rest is unpacked,
//! and the sync at the end finds less to do. It makes nothing durable.

use std::os::fd::{AsFd, AsRawFd};

#[allow(unsafe_code, reason = "no safe crate has this call")]
pub fn begin(file: impl AsFd, offset: u64, bytes: u64) {
    let (Ok(offset), Ok(bytes)) = (offset.try_into(), bytes.try_into()) else { return };
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and the call touches no memory of ours. A failure
    // changes nothing: the sync at the end does all of it then, and reports it.
    unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), offset, bytes, libc::SYNC_FILE_RANGE_WRITE) };
}

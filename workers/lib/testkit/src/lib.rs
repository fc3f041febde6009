//! testkit

pub mod blobs_suite;
pub mod s3;

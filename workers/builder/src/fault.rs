//! Faults of a build in the words that results carry.

use blobs::BlobError;
use package::BuildError;
use schemas::Fault;

pub(crate) fn of_build(error: &BuildError) -> Fault {
    match error.is_permanent() {
        true => Fault::permanent(error.code(), error.to_string()),
        false => Fault::transient(error.code(), error.to_string()),
    }
}

/// Only what the store itself calls hopeless is permanent: rights and absent buckets get repaired while a job waits.
pub(crate) fn of_storage(error: &BlobError) -> Fault {
    let text = error.to_string();
    match error {
        BlobError::Absent { .. } => Fault::transient("storage-object-absent", text),
        BlobError::TooLarge { .. } => Fault::permanent("storage-object-too-large", text),
        BlobError::Damaged { .. } => Fault::transient("storage-object-damaged", text),
        BlobError::Refused { .. } => Fault::transient("storage-refused", text),
        BlobError::Transient { .. } | BlobError::Busy { .. } => Fault::transient("storage-unavailable", text),
        BlobError::Permanent { .. } => Fault::permanent("storage-unusable", text),
    }
}

/// A thread of the build ended by a panic or with the runtime.
pub(crate) fn of_thread(error: &tokio::task::JoinError) -> Fault {
    Fault::transient("build-interrupted", format!("the build's thread ended early: {error}"))
}

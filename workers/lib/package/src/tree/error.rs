//! What stops an extraction, each with a stable code. It knows not who reads it: `fault` makes the form that travels.

use std::path::Path;

use rustix::io::Errno;
use schemas::Fault;

use super::check::Unsafe;
use super::frames::FrameFault;
use super::locked::{self, LockedList};
use crate::room::{self, NoRoom};

#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("refused before anything was written: {0}")]
    Unsafe(#[from] Unsafe),
    #[error("the target `{target}` is not usable: {why}")]
    TargetInvalid { target: String, why: &'static str },
    #[error("the target `{target}` is a symbolic link; name the directory that it points to")]
    TargetIsLink { target: String },
    #[error("the target `{target}` exists and is not a directory")]
    TargetNotDirectory { target: String },
    #[error("the target `{target}` holds files that Tidegate did not put there; `adopt: true` takes it over")]
    TargetForeign { target: String },
    #[error("the target `{target}` is a mount point, which cannot be exchanged; use a directory in it")]
    TargetIsMount { target: String },
    #[error("another installation works on `{target}`")]
    TargetBusy { target: String },
    #[error("`{path}` was made by somebody else where staging must stand; remove it, then try again")]
    StagingForeign { path: String },
    #[error("the file system of `{path}` cannot exchange two names atomically (renameat2); use another one")]
    ExchangeUnsupported { path: String },
    #[error("this kernel has no openat2 (Linux 5.6): nothing can be extracted safely")]
    KernelTooOld,
    #[error("in the target, `{path}` is {what}, where the revision has {wanted}")]
    InTheWay { path: String, what: &'static str, wanted: &'static str },
    #[error("the revision has files of the {what} `{name}`, whom this machine does not know")]
    AccountUnknown { what: &'static str, name: String },
    #[error("the accounts of this machine could not be asked for `{name}`: {why}")]
    Accounts { name: String, why: &'static str },
    #[error("the file system of `{path}` cannot hold its attribute `{name}`: {errno}")]
    AttributeUnsupported { path: String, name: String, errno: Errno },
    #[error("locked: {files}")]
    Locked { files: LockedList },
    #[error("the record `{path}` is damaged: {why}")]
    RecordDamaged { path: String, why: String },
    #[error("frame {frame}: {fault}")]
    Frame { frame: u32, fault: FrameFault },
    #[error("a chunk of `{path}` does not match its digest {digest}")]
    ChunkCorrupt { path: String, digest: schemas::Digest },
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("no space is left while writing `{path}`: {}", figures(*.free))]
    DiskFull { path: String, free: Option<u64> },
    #[error("no permission to {doing} `{path}`")]
    PermissionMissing { doing: &'static str, path: String },
    #[error("could not {doing} `{path}`: {errno}")]
    Io { doing: &'static str, path: String, errno: Errno },
    #[error("cancelled")]
    Cancelled,
}

impl TreeError {
    pub fn code(&self) -> &'static str {
        match self {
            TreeError::Unsafe(why) => why.code(),
            TreeError::TargetInvalid { .. } => "target-invalid",
            TreeError::TargetIsLink { .. } => "target-is-link",
            TreeError::TargetNotDirectory { .. } => "target-not-directory",
            TreeError::TargetForeign { .. } => "target-foreign",
            TreeError::TargetIsMount { .. } => "target-is-mount",
            TreeError::TargetBusy { .. } => "target-busy",
            TreeError::StagingForeign { .. } => "staging-foreign",
            TreeError::ExchangeUnsupported { .. } => "exchange-unsupported",
            TreeError::KernelTooOld => "kernel-too-old",
            TreeError::InTheWay { .. } => "target-in-the-way",
            TreeError::AccountUnknown { .. } => "account-unknown",
            TreeError::Accounts { .. } => "accounts-unavailable",
            TreeError::AttributeUnsupported { .. } => "attribute-unsupported",
            TreeError::Locked { .. } => "target-locked",
            TreeError::RecordDamaged { .. } => "record-damaged",
            TreeError::Frame { fault, .. } => fault.code(),
            TreeError::ChunkCorrupt { .. } => "chunk-corrupt",
            TreeError::NoRoom(why) => why.code(),
            TreeError::DiskFull { .. } => "disk-full",
            TreeError::PermissionMissing { .. } => "permission-missing",
            TreeError::Io { .. } => "extract-io",
            TreeError::Cancelled => "cancelled",
        }
    }

    /// Trying again changes nothing before a person has.
    pub fn permanent(&self) -> bool {
        !matches!(
            self,
            TreeError::TargetBusy { .. }
                | TreeError::Accounts { .. }
                | TreeError::Locked { .. }
                | TreeError::Frame { .. }
                | TreeError::ChunkCorrupt { .. }
                | TreeError::NoRoom(_)
                | TreeError::DiskFull { .. }
                | TreeError::Io { .. }
                | TreeError::Cancelled
        )
    }

    pub fn fault(&self) -> Fault {
        if self.permanent() {
            Fault::permanent(self.code(), self.to_string())
        } else {
            Fault::transient(self.code(), self.to_string())
        }
    }

    /// The frame that neither the store nor the site's trees could give: fetch what is missing and call again.
    pub fn frame_missing(&self) -> Option<u32> {
        match self {
            TreeError::Frame { frame, fault: FrameFault::Missing } => Some(*frame),
            _ => None,
        }
    }

    /// With what is free there, if a disk is full. Paths that are not absolute are below `target`.
    pub(super) fn with_figures(self, target: &Path) -> TreeError {
        match self {
            TreeError::DiskFull { path, free: None } => {
                let free = room::free_bytes(&target.join(&path)).ok();
                TreeError::DiskFull { path, free }
            }
            error => error,
        }
    }

    /// A failed call, as what a person can act on.
    pub(super) fn of(doing: &'static str, path: impl Into<String>, errno: Errno) -> TreeError {
        let path = path.into();
        match errno {
            Errno::NOSPC | Errno::DQUOT => TreeError::DiskFull { path, free: None },
            Errno::ACCESS | Errno::PERM | Errno::ROFS => TreeError::PermissionMissing { doing, path },
            Errno::NOSYS => TreeError::KernelTooOld,
            Errno::BUSY | Errno::TXTBSY => locked::failure(doing, path, errno, None, ""),
            errno => TreeError::Io { doing, path, errno },
        }
    }

    pub(super) fn of_io(doing: &'static str, path: impl Into<String>, error: &std::io::Error) -> TreeError {
        TreeError::of(doing, path, Errno::from_io_error(error).unwrap_or(Errno::IO))
    }
}

fn figures(free: Option<u64>) -> String {
    free.map_or_else(|| "make room".to_owned(), |free| format!("{free} bytes are free there; make room"))
}

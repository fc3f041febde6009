//! What a worker says of a job; the recorder makes rows of it.

use serde::{Deserialize, Serialize};

use crate::collect::{CollectResult, HeldRevisions};
use crate::{Digest, Fault, JobId, Lane};

/// One message on `tidegate.reports`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reports {
    pub schema: u32,
    #[cfg_attr(feature = "generate", schemars(length(min = 1, max = 256)))]
    pub reports: Vec<Report>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub job: JobId,
    pub attempt: u32,
    pub lane: Lane,
    /// The worker's clock, milliseconds since 1970; shown, never decided by.
    pub at_ms: i64,
    /// `builder@host:pid` or the subscriber's name.
    pub worker: String,
    pub event: Event,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    Started {},
    Succeeded {
        /// Milliseconds from the work's start to its end.
        took_ms: i64,
        result: JobResult,
    },
    Failed {
        took_ms: i64,
        fault: Fault,
    },
    /// The worker drained and gives the work back; no attempt is counted.
    Yielded {},
    Cancelled {},
    /// The job's window has ended: what was done is kept at the site, and it goes on in the next one; no attempt is counted.
    Stopped {
        /// The end of the window, as it came with the job.
        window_end_ms: i64,
    },
}

impl Event {
    pub fn is_terminal(&self) -> bool {
        matches!(self, Event::Succeeded { .. } | Event::Failed { .. } | Event::Cancelled {})
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum JobResult {
    Build(BuildResult),
    Send(SendResult),
    Extract(ExtractResult),
    Collect(CollectResult),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BuildResult {
    /// None: the content is what the previous revision holds.
    pub revision: Option<NewRevision>,
    pub files: u64,
    pub bytes: u64,
    /// Files whose content had to be read.
    pub files_read: u64,
    pub bytes_read: u64,
    /// Bytes put into storage by this job.
    pub bytes_uploaded: u64,
    /// Objects that a builder before this one had uploaded and this one used again.
    pub objects_reused: u64,
    /// Files that looked unchanged by size, times and inode and held something else; only a build that reads all can tell.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub changed_unseen: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewRevision {
    pub number: u64,
    pub header: Digest,
    pub header_bytes: u64,
    pub index: Digest,
    pub index_bytes: u64,
    pub files: u64,
    pub directories: u64,
    pub links: u64,
    /// Content, uncompressed.
    pub bytes: u64,
    /// All packs that it names, compressed.
    pub stored_bytes: u64,
    pub packs: Vec<PackUse>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PackUse {
    pub digest: Digest,
    pub bytes: u64,
    /// Written by this build.
    pub new: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SendResult {
    /// Content of the whole revision, uncompressed.
    pub bytes_content: u64,
    /// Compressed bytes of all frames of the revision.
    pub bytes_stored: u64,
    /// Compressed bytes that this site lacked, index and header included; of what came as a patch, the patch's.
    pub bytes_needed: u64,
    /// Bytes that crossed the link for it; above `bytes_needed` after an interruption.
    pub bytes_fetched: u64,
    /// True if nothing was lacking.
    pub already_held: bool,
    pub sources: Vec<SourceBytes>,
    /// What the site's store holds of the distribution now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldRevisions>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SourceBytes {
    /// A subscriber's name, or `origin`.
    pub source: String,
    pub bytes: u64,
    /// Objects that it gave with the wrong digest.
    #[serde(default)]
    pub corrupt: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ExtractResult {
    pub outcome: ExtractOutcome,
    pub target: String,
    pub files_written: u64,
    pub files_removed: u64,
    pub files_unchanged: u64,
    pub bytes_written: u64,
    /// The revision that was installed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<u64>,
    /// Files kept because they were changed on the spot (SPEC §10, 22).
    #[serde(default)]
    pub kept: Vec<String>,
    /// What the site's store holds of the distribution now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldRevisions>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ExtractOutcome {
    Installed,
    /// The target was this revision already.
    Already,
    /// A newer revision is installed; nothing was changed.
    Superseded,
}

//! Everything that crosses a process: definitions, requests, jobs, reports, control, manifest headers.
//! It knows no broker, no database and no file: only shapes, and what makes a shape valid.

#[cfg(feature = "generate")]
mod asyncapi;
pub mod beat;
pub mod collect;
pub mod control;
pub mod definitions;
pub mod digest;
pub mod duration;
pub mod fault;
#[cfg(feature = "generate")]
mod generated;
pub mod header;
pub mod ids;
pub mod job;
pub mod lane;
pub mod name;
mod published;
pub mod queue_name;
pub mod report;
pub mod request;
pub mod schedule;
pub mod settings;

pub use beat::{Beat, JobProgress, OpenJob, Presence, Progress};
pub use collect::{CollectResult, CollectTask, HeldRevisions, Keep, StoredObject};
pub use control::{ChildKey, Control};
pub use definitions::{Definitions, Mode, Priority};
pub use digest::Digest;
pub use duration::Span;
pub use fault::Fault;
#[cfg(feature = "generate")]
pub use generated::generated;
pub use header::{Header, IndexRef, PackRef};
pub use ids::{JobId, RequestId, StoreId};
pub use job::{
    BuildTask, ContentSource, ExtractTask, Follow, JobKind, JobMessage, OriginRate, RevisionRef, SendTask, Seq, Task,
};
pub use lane::{Lane, SiteLane};
pub use name::{
    ChannelName, ConsoleName, DistributionName, DistributorName, EventName, GroupName, HierarchyName, InvalidName,
    Kind, SubscriberName, SyncName,
};
pub use published::published;
pub use queue_name::QueueName;
pub use report::{
    BuildResult, Event, ExtractOutcome, ExtractResult, JobResult, NewRevision, PackUse, Report, Reports, SendResult,
    SourceBytes,
};
pub use request::{Reply, Request, RequestKind, RequestOptions, Selector};
pub use schedule::Schedule;
pub use settings::{RatesByPriority, Settings};

/// Version of every message that this crate defines. A reader refuses any other: nothing is guessed.
pub const SCHEMA: u32 = 1;
/// Largest message body that a reader decodes, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Most reports (or requests) that one message carries.
pub const BATCH_MAX: usize = 256;

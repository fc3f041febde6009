//! The fixed set of queues (DESIGN §3). Their names can only be made from valid names, so no queue name is ever built
//! from outside text.

use std::fmt;

use crate::{ChannelName, DistributorName, SubscriberName};

/// The exchange that any AMQP client may post a request to.
pub const REQUESTS_EXCHANGE: &str = "tidegate.requests";

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueName {
    Requests,
    Build(DistributorName),
    Site(SubscriberName, ChannelName),
    /// Cancel, pause, resume, settings and children's keys for one site.
    Control(SubscriberName),
    /// The same for one builder process, by its worker id: builders are many and come and go.
    BuilderControl,
    Reports,
    /// Transient and bounded: progress and presence.
    Progress,
    Dead,
    /// A test's own.
    #[doc(hidden)]
    Scratch(String),
}

impl QueueName {
    /// Transient queues keep nothing over a restart and drop their oldest messages when full.
    pub fn is_transient(&self) -> bool {
        matches!(self, QueueName::Progress)
    }

    /// Work queues and reports live as quorum queues; those that exist once per site stay classic (see
    /// docs/decisions for the measurement).
    pub fn is_per_site(&self) -> bool {
        matches!(self, QueueName::Site(..) | QueueName::Control(_))
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueueName::Requests => f.write_str("tidegate.requests"),
            QueueName::Build(distributor) => write!(f, "tidegate.build.{distributor}"),
            QueueName::Site(subscriber, channel) => write!(f, "tidegate.site.{subscriber}.{channel}"),
            // No channel can be called `control` for this reason; `apply` refuses it.
            QueueName::Control(subscriber) => write!(f, "tidegate.site.{subscriber}.control"),
            QueueName::BuilderControl => f.write_str("tidegate.builders.control"),
            QueueName::Reports => f.write_str("tidegate.reports"),
            QueueName::Progress => f.write_str("tidegate.progress"),
            QueueName::Dead => f.write_str("tidegate.dead"),
            QueueName::Scratch(name) => write!(f, "tidegate.scratch.{name}"),
        }
    }
}

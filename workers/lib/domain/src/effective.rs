//! Declared values with the defaults filled in. It does not know whether they make sense together.

use schemas::definitions::{Distributor, Subscriber};
use schemas::{ChannelName, Definitions, Schedule};

pub const DIST_WORKING_DIR: &str = "/var/lib/tidegate/dist";
pub const SUB_WORKING_DIR: &str = "/var/lib/tidegate/sub";
pub const TIME_ZONE: &str = "UTC";
/// Seconds without a sign of life after which a parent is passed by.
pub const CONNECT_TIMEOUT_S: u32 = 300;

pub fn refresh(distributor: &Distributor) -> Schedule {
    distributor.refresh.clone().unwrap_or(Schedule::IMMEDIATELY)
}

/// In it, refresh and build are timed (SPEC §10, 2).
pub fn distributor_zone(distributor: &Distributor) -> &str {
    distributor.time_zone.as_deref().unwrap_or(TIME_ZONE)
}

/// In it, extract and sync are timed.
pub fn subscriber_zone(subscriber: &Subscriber) -> &str {
    subscriber.time_zone.as_deref().unwrap_or(TIME_ZONE)
}

/// In it, sends are timed: the channel's own, else the one that its distributors share (validation refuses a channel
/// where they differ).
pub fn channel_zone(channel: &ChannelName, definitions: &Definitions) -> String {
    let Some(channel) = definitions.channels.get(channel) else { return TIME_ZONE.to_owned() };
    let of_distributors = || {
        let distribution = channel.distributions.iter().find_map(|name| definitions.distributions.get(name))?;
        definitions.distributors.get(&distribution.distributor).map(distributor_zone)
    };
    channel.time_zone.as_deref().or_else(of_distributors).unwrap_or(TIME_ZONE).to_owned()
}

pub fn connect_timeout_s(subscriber: &Subscriber) -> u32 {
    subscriber.connect_timeout.map_or(CONNECT_TIMEOUT_S, |span| u32::try_from(span.as_secs()).unwrap_or(u32::MAX))
}

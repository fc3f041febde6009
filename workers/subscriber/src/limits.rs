//! How fast and how much a site may, as its settings say. It knows no job: whoever moves bytes asks these.

use std::sync::Arc;

use blobs::Pace;
use schemas::Settings;

use crate::serve::Outflow;
use crate::space::Floor;

/// Shared by its clones. Until settings have come, nothing is limited.
#[derive(Debug, Clone, Default)]
pub struct SiteLimits {
    /// Of all that this site reads from others: its own jobs' content, and what it reads through for its children.
    pub rate_in: Arc<Pace>,
    pub outflow: Outflow,
    pub floor: Floor,
}

impl SiteLimits {
    /// Counts at once, for what is under way too.
    pub fn put(&self, settings: &Settings) {
        self.rate_in.set(settings.rate_in);
        self.outflow.set(settings.rate_out, settings.concurrent_relays);
        self.floor.set(settings.free_space_floor.unwrap_or(0));
    }
}

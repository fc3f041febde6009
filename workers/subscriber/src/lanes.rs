//! All lanes of a site: one for each channel that its settings name, and one for each that has work in hand. It knows
//! nothing of what goes on in a lane.

use std::collections::HashMap;
use std::time::Duration;

use schemas::{ChannelName, Lane, SiteLane, SubscriberName};
use tokio::task::{Id, JoinError, JoinSet};

use crate::journal::JournalError;
use crate::lane::{LaneLoop, LaneTools};

/// Before a lane that ended badly is opened again.
const AGAIN: Duration = Duration::from_secs(1);

pub struct Lanes {
    site: SubscriberName,
    tools: LaneTools,
    running: HashMap<Id, ChannelName>,
    loops: JoinSet<()>,
}

impl Lanes {
    pub fn new(site: SubscriberName, tools: LaneTools) -> Lanes {
        Lanes { site, tools, running: HashMap::new(), loops: JoinSet::new() }
    }

    /// Ends when the site stops and every lane has ended.
    pub async fn run(mut self) -> Result<(), JournalError> {
        let mut in_force = self.tools.orders.watch();
        self.resume().await?;
        while !self.tools.shutdown.is_cancelled() {
            let settings = in_force.borrow_and_update().settings.clone();
            for channel in settings.iter().flat_map(|s| &s.channels) {
                self.start(channel.clone());
            }
            tokio::select! {
                () = self.tools.shutdown.cancelled() => {}
                _ = in_force.changed() => {}
                Some(ended) = self.loops.join_next_with_id() => self.ended(ended).await?,
            }
        }
        while self.loops.join_next().await.is_some() {}
        Ok(())
    }

    /// Work in hand goes on, whether its channel is still subscribed or not.
    async fn resume(&mut self) -> Result<(), JournalError> {
        for lane in self.tools.journal.open_lanes().await? {
            if let Lane::Site(lane) = lane {
                self.start(lane.channel);
            }
        }
        Ok(())
    }

    fn start(&mut self, channel: ChannelName) {
        if !self.running.values().any(|running| *running == channel) {
            let id = SiteLane { subscriber: self.site.clone(), channel: channel.clone() };
            let lane = self.loops.spawn(LaneLoop::new(self.tools.clone(), id).run());
            self.running.insert(lane.id(), channel);
        }
    }

    /// What a lane that panicked had in hand is in the journal: it goes on with that.
    async fn ended(&mut self, ended: Result<(Id, ()), JoinError>) -> Result<(), JournalError> {
        match ended {
            Ok((id, ())) => {
                self.running.remove(&id);
            }
            Err(error) => {
                let lane = self.running.remove(&error.id());
                tracing::error!(lane = lane.as_ref().map(|c| c.as_str()), %error, "a lane ended badly; it is opened again");
                tokio::time::sleep(AGAIN).await;
                self.resume().await?;
            }
        }
        Ok(())
    }
}

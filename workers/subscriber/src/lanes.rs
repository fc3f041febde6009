//! All lanes of a site: one for each channel that its settings name, and one for each that has work in hand. It knows
//! nothing of what goes on in a lane.

use std::collections::BTreeSet;

use schemas::{ChannelName, Lane, SiteLane, SubscriberName};
use tokio::task::JoinSet;

use crate::journal::JournalError;
use crate::lane::{LaneLoop, LaneTools};

pub struct Lanes {
    site: SubscriberName,
    tools: LaneTools,
    running: BTreeSet<ChannelName>,
    loops: JoinSet<ChannelName>,
}

impl Lanes {
    pub fn new(site: SubscriberName, tools: LaneTools) -> Lanes {
        Lanes { site, tools, running: BTreeSet::new(), loops: JoinSet::new() }
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
                Some(ended) = self.loops.join_next() => self.ended(ended),
            }
        }
        while let Some(ended) = self.loops.join_next().await {
            self.ended(ended);
        }
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
        if self.running.insert(channel.clone()) {
            let id = SiteLane { subscriber: self.site.clone(), channel: channel.clone() };
            let lane = LaneLoop::new(self.tools.clone(), id);
            self.loops.spawn(async move {
                lane.run().await;
                channel
            });
        }
    }

    fn ended(&mut self, ended: Result<ChannelName, tokio::task::JoinError>) {
        match ended {
            Ok(channel) => {
                self.running.remove(&channel);
            }
            Err(error) => tracing::error!(%error, "a lane ended badly"),
        }
    }
}

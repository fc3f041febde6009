//! A build of one distribution.

use records::{PlannedJob, Template};
use schemas::definitions::FileSource;
use schemas::{ChannelName, DistributionName, JobId, Lane, Schedule};

use super::{PlanFault, View};

pub(super) fn build(view: &View, name: &DistributionName) -> Result<PlannedJob, PlanFault> {
    let distribution = view.distribution(name)?;
    Ok(PlannedJob {
        id: JobId::planned(view.request.id, &format!("build/{name}")),
        lane: Lane::Build(name.clone()),
        distributor: distribution.distributor.clone(),
        distribution: name.clone(),
        channel: None,
        subscriber: None,
        revision: None,
        priority: distribution.priority,
        template: Template::Build {
            store: view.store(name)?,
            of_type: distribution.of_type,
            sources: distribution.sources.iter().map(as_builders_see).collect(),
            read_all: view.reads_all(),
            keep: distribution.keep.clone(),
            send_on: send_on(view, name, distribution.send_after_build),
        },
        carried_by: None,
        retry_of: None,
        waits: Vec::new(),
        note: None,
    })
}

/// Whose files they are is no business of a builder's.
fn as_builders_see(source: &FileSource) -> FileSource {
    FileSource { subscriber: None, ..source.clone() }
}

/// The channels on which a new revision leaves at once.
fn send_on(view: &View, name: &DistributionName, after_build: bool) -> Vec<ChannelName> {
    let channels = view.fleet.definitions.channels.iter();
    channels
        .filter(|(_, c)| c.active && c.distributions.contains(name))
        .filter(|(_, c)| after_build || c.send.as_ref().is_some_and(Schedule::is_immediate))
        .map(|(channel, _)| channel.clone())
        .collect()
}

//! What sites must know, told by the scheduler that leads: their settings, which children may fetch from them, and which distributions
//! are gone. It goes on beside the ticks: a change for thousands of sites makes no schedule late, and costs nobody the lease.

use std::collections::BTreeMap;

use records::{ControlToSend, Fleet, RecordsError, STEP_MAX, Term};
use schemas::SubscriberName;

use crate::Tools;

pub async fn run(tools: &Tools) -> anyhow::Result<()> {
    let mut teller = Teller { children: None };
    while !tools.shutdown.is_cancelled() {
        let leading = tools.term.borrow().clone();
        let told = match &leading {
            Some(term) => tokio::select! {
                told = teller.turn(tools, term) => told,
                () = tools.shutdown.cancelled() => return Ok(()),
            },
            None => Ok(0),
        };
        match told {
            // There may be more.
            Ok(told) if told >= STEP_MAX => continue,
            Ok(_) => {}
            // Whoever leads now tells it.
            Err(RecordsError::Fenced) => {}
            Err(error) => tracing::warn!(%error, "what sites must know could not be looked up or recorded; trying on"),
        }
        tools.pause(tools.config.sweep).await;
    }
    Ok(())
}

struct Teller {
    /// Who may fetch from whom, under the fleet's version.
    children: Option<(u64, BTreeMap<SubscriberName, Vec<SubscriberName>>)>,
}

impl Teller {
    /// A step of it; how many were told.
    async fn turn(&mut self, tools: &Tools, term: &Term) -> Result<usize, RecordsError> {
        let mut controls = tools.records.settings_to_send().await?;
        controls.extend(tools.records.forgets_to_send().await?);
        let version = tools.records.version_in_effect().await?;
        if self.children.as_ref().is_none_or(|(known, _)| *known != version) {
            let fleet = tools.fleet().await?;
            self.children = Some((fleet.version, children(&fleet)));
        }
        if let Some((_, children)) = &self.children {
            controls.extend(tools.records.children_to_send(term, children).await?);
        }
        let confirmed = publish(tools, controls).await;
        if !confirmed.is_empty() {
            tools.records.controls_sent(term, &confirmed).await?;
        }
        Ok(confirmed.len())
    }
}

/// Those that the broker confirmed.
async fn publish(tools: &Tools, controls: Vec<ControlToSend>) -> Vec<ControlToSend> {
    let messages: Vec<_> = controls.iter().map(|told| (&told.subscriber, &told.control)).collect();
    let results = tools.dispatcher.controls(&messages).await;
    if let Some(error) = results.iter().find_map(|result| result.as_ref().err()) {
        let failed = controls.len() - results.iter().filter(|result| result.is_ok()).count();
        tracing::warn!(failed, %error, "control messages were not published; they will be tried again");
    }
    let confirmed = controls.into_iter().zip(results).filter(|(_, result)| result.is_ok());
    confirmed.map(|(told, _)| told).collect()
}

fn children(fleet: &Fleet) -> BTreeMap<SubscriberName, Vec<SubscriberName>> {
    let children = domain::site::children_by_subscriber(&fleet.definitions);
    children.into_iter().map(|(parent, children)| (parent, children.into_iter().collect())).collect()
}

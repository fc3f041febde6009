//! What syncs must not bring, and which bring nothing. When they are due is read by `schedule`; whose they are is not known here.

use super::error::{Findings, Warning, code};
use super::validate::Fleet;
use crate::syncs;

/// SPEC S10: what is made of a subscriber's own files would be extracted beside or over them.
pub(super) fn no_sync_to_a_source(fleet: &Fleet<'_>, findings: &mut Findings) {
    for (name, sync) in &fleet.definitions.syncs {
        for distribution in syncs::from_itself(fleet.definitions, &sync.subscriber, &sync.components) {
            let message = format!(
                "subscriber `{}` is itself a source of distribution `{distribution}`, which this would bring to it",
                sync.subscriber
            );
            let allowed =
                format!("name components without it, or let the subscriber opt out: `opt_out: [{distribution}]`");
            findings.add(fleet.places, code::SYNC_TO_SOURCE, &format!("syncs.{name}.subscriber"), message, allowed);
        }
    }
}

pub(super) fn empty_syncs(fleet: &Fleet<'_>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (name, sync) in &fleet.definitions.syncs {
        for component in &sync.components {
            let of_it = std::slice::from_ref(component);
            if syncs::distributions(fleet.definitions, &sync.subscriber, of_it).next().is_none() {
                let message = match component.as_str() {
                    "all" => format!("no distribution may be sent to `{}`: nothing will be synced", sync.subscriber),
                    other => format!("`{}` takes no active distribution of component `{other}`", sync.subscriber),
                };
                warnings.push(fleet.warning(code::SYNC_EMPTY, &format!("syncs.{name}.components"), message));
            }
        }
    }
    warnings
}

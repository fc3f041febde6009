//! What a garbage collection would do now, and why. It changes nothing: who wants it done makes a request.

use axum::Json;
use axum::extract::{RawQuery, State};
use records::{GarbagePlan, Records, Retirement};

use crate::fault::ApiFault;

/// `?distribution=NAME`, as often as wanted; without it all.
pub async fn get(State(records): State<Records>, RawQuery(query): RawQuery) -> Result<Json<GarbagePlan>, ApiFault> {
    let mut rules = Retirement::of(&records.fleet_in_effect().await?);
    let wanted = names(query.as_deref().unwrap_or_default())?;
    for name in &wanted {
        if !rules.iter().any(|rule| rule.distribution.as_str() == name) {
            return Err(ApiFault::absent("unknown", format!("there is no distribution {name}")));
        }
    }
    rules.retain(|rule| wanted.is_empty() || wanted.iter().any(|name| name == rule.distribution.as_str()));
    Ok(Json(records.garbage(&rules, wanted.is_empty()).await?))
}

/// Names are plain letters, so nothing in them is ever escaped.
fn names(query: &str) -> Result<Vec<String>, ApiFault> {
    let mut names = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("distribution", name)) if schemas::name::is_name(name) => names.push(name.to_owned()),
            _ => return Err(ApiFault::bad("query-malformed", "only `distribution=NAME` can be asked for here")),
        }
    }
    Ok(names)
}

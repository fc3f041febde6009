//! The demo's fleet, as anybody would declare it in a file.

use std::path::Path;

use super::error::DemoError;
use super::place::Place;

pub const DISTRIBUTION: &str = "files";
pub const CHANNEL: &str = "protect";
pub const RELAY: &str = "region";
/// The sites behind the relay, which extract.
pub const SITES: [&str; 3] = ["lyon", "paris", "tokyo"];

/// `hq` builds; `region` stores and forwards; three sites receive and extract. Everything happens on request, so that each
/// step can be watched.
pub fn yaml(place: &Place) -> Result<String, DemoError> {
    let source = quoted(&place.source())?;
    let subscribers: Result<String, DemoError> = SITES
        .iter()
        .map(|site| {
            let volume = quoted(&place.server(site))?;
            Ok(format!("  {site}: {{ variables: {{ DEST_VOLUME: {volume} }}, extract: immediately }}\n"))
        })
        .collect();
    Ok(format!(
        "# What `tidegate demo` applied. It can be changed and applied again:
#   tidegate up --data DIR, and in another terminal: tidegate apply --data DIR -f definitions.yaml

distributors:
  hq:
    refresh: never
    routes: {{ {RELAY}: {{ paris: {{}}, lyon: {{}}, tokyo: {{}} }} }}    # {RELAY} receives first and serves the others

distributions:
  {DISTRIBUTION}:
    distributor: hq
    type: file
    sources: [ {{ path: {source} }} ]
    target: \"%DEST_VOLUME%/{DISTRIBUTION}\"
    mode: mirror
    build: never

channels:
  {CHANNEL}:
    distributions: [{DISTRIBUTION}]
    send: never
    subscriptions: [ paris, lyon, tokyo ]

subscribers:
  {RELAY}: {{ extract: never }}
{}",
        subscribers?
    ))
}

/// A path as a YAML text in double quotes, `%` doubled, because a single one begins a variable.
fn quoted(path: &Path) -> Result<String, DemoError> {
    let text = path.to_str().ok_or_else(|| {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "the name is not UTF-8");
        DemoError::File { path: path.to_owned(), source }
    })?;
    Ok(serde_json::Value::from(text.replace('%', "%%")).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fleet_is_valid_wherever_it_lies() {
        for data in ["/tmp/demo", "/tmp/a \"b\" 50% #c: {x}"] {
            let place = Place { given: "/x".into(), data: data.into() };
            let text = yaml(&place).unwrap();
            let declared = domain::definitions::parse(&[("definitions.yaml".into(), text)]).unwrap();
            let accepted = domain::definitions::validate(&declared, &schemas::Definitions::default()).unwrap();
            assert_eq!(accepted.definitions.subscribers.len(), 4);
            let route =
                domain::routing::route(&accepted.definitions, &"hq".try_into().unwrap(), &"tokyo".try_into().unwrap());
            assert_eq!(route.unwrap().iter().map(|hop| hop.as_str()).collect::<Vec<_>>(), [RELAY, "tokyo"]);
        }
    }
}

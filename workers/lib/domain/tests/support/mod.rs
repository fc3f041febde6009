//! Definitions as texts, for tests.
#![allow(dead_code)]

use domain::definitions::{Accepted, Declared, DefinitionError, parse, validate};
use schemas::Definitions;

/// A fleet in which all is well; `text` is added to it as a second file.
pub const FLEET: &str = "
distributors:
  hq: { routes: { region: { paris: {} } } }
distributions:
  av: { distributor: hq, type: file, sources: [ { path: /srv/av } ], target: '%VOL%/av', mode: mirror, build: never }
channels:
  protect: { distributions: [av], send: immediately, subscriptions: [paris] }
subscribers:
  region: {}
  paris: { parent: region, extract: immediately, variables: { VOL: /srv } }
";

pub fn yaml(text: &str) -> Result<Declared, Vec<DefinitionError>> {
    parse(&[("test.yaml".to_owned(), text.to_owned())])
}

pub fn declared(text: &str) -> Declared {
    yaml(text).unwrap_or_else(|errors| panic!("{}", listed(&errors)))
}

pub fn accepted(text: &str) -> Accepted {
    applied(text, &Definitions::default())
}

pub fn applied(text: &str, existing: &Definitions) -> Accepted {
    validate(&declared(text), existing).unwrap_or_else(|errors| panic!("{}", listed(&errors)))
}

/// The fleet with another file applied on top of it.
pub fn on_fleet(text: &str) -> Result<Accepted, Vec<DefinitionError>> {
    validate(&declared(text), &accepted(FLEET).definitions)
}

pub fn codes(errors: &[DefinitionError]) -> Vec<&'static str> {
    errors.iter().map(|error| error.code).collect()
}

pub fn listed(errors: &[DefinitionError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

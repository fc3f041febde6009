//! Several texts to one set of typed definitions: read, join, check, type. All faults are gathered before any is told.

use schemas::Definitions;
use serde_json::{Map, Value};

use super::check::check;
use super::document::Document;
use super::error::{DefinitionError, Findings, code, printable, quoted};
use super::limits::FILES_MAX;
use super::places::{Places, below};

/// What files declare: each object well-formed, but not yet held against the others.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    pub definitions: Definitions,
    pub places: Places,
}

/// `files` are (name to show, text) in the order in which they were given.
pub fn parse(files: &[(String, String)]) -> Result<Declared, Vec<DefinitionError>> {
    let mut findings = Findings::default();
    let (mut root, places) = join(files, &mut findings);
    findings.errors.extend(check(&mut root, &places).errors);
    if !findings.errors.is_empty() {
        return Err(findings.sorted());
    }
    match serde_path_to_error::deserialize(root) {
        Ok(definitions) => Ok(Declared { definitions, places }),
        Err(error) => {
            let (field, message) = (error.path().to_string(), printable(&error.inner().to_string()));
            findings.add(&places, code::VALUE_INVALID, &field, message, "");
            Err(findings.sorted())
        }
    }
}

fn join(files: &[(String, String)], findings: &mut Findings) -> (Value, Places) {
    let (mut root, mut places, mut nodes) = (Map::new(), Places::default(), 0);
    if files.len() > FILES_MAX {
        let message = format!("{} files; at most {FILES_MAX} are read", files.len());
        findings.add(&places, code::TOO_MANY_FILES, "", message, "join some of them");
        return (Value::Null, places);
    }
    for (name, text) in files {
        let mut document = Document::read(name, text, nodes);
        nodes = document.nodes;
        findings.errors.append(&mut document.findings.errors);
        match document.value {
            Value::Null => {}
            Value::Object(sections) => {
                join_sections(&mut root, sections, &document.places, &places, findings);
            }
            _ => {
                let message = "is not a definitions file";
                findings.add(&document.places, code::WRONG_TYPE, "", message, "write sections such as `subscribers:`");
            }
        }
        places.take_in(document.places);
    }
    (Value::Object(root), places)
}

/// Sections of the same name are joined; an object stands in one file only.
fn join_sections(
    root: &mut Map<String, Value>,
    sections: Map<String, Value>,
    new_places: &Places,
    places: &Places,
    findings: &mut Findings,
) {
    for (section, value) in sections {
        match (root.get_mut(&section), value) {
            (Some(Value::Object(objects)), Value::Object(more)) => {
                for (name, object) in more {
                    let field = below(&section, &name);
                    if objects.contains_key(&name) {
                        let before = places.of(&field).map(|place| format!("{}:{}", place.file, place.line));
                        let message =
                            format!("{} is declared in {} already", quoted(&name), before.unwrap_or_default());
                        findings.add(new_places, code::OBJECT_DOUBLED, &field, message, "declare it once");
                    } else {
                        objects.insert(name, object);
                    }
                }
            }
            (Some(Value::Object(_)), Value::Null) => {}
            (Some(kept @ Value::Null), value) => *kept = value,
            (Some(_), _) => {
                findings.add(new_places, code::WRONG_TYPE, &section, "is not a map", "write `name: value` pairs");
            }
            (None, value) => drop(root.insert(section, value)),
        }
    }
}

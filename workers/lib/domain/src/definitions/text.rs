//! The rules for texts: titles, labels, variables, paths, globs, zones, lengths of time.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSetBuilder};
use schemas::Span;
use schemas::definitions::ALL_COMPONENTS;
use serde_json::Value;

use super::check::Checker;
use super::error::{code, is_harmful, printable, quoted};
use super::fields::{PathRule, Shape};
use super::limits::{
    GLOB_BYTES_MAX, LABEL_NAME_BYTES_MAX, LABELS_MAX, PATH_BYTES_MAX, TITLE_CHARS_MAX, VARIABLE_BYTES_MAX,
    VARIABLES_MAX,
};
use super::places::below;
use crate::schedule::{Zone, ZoneFault};
use crate::target_path::parts;
use crate::variables::{expand_known, is_variable_name, referred};

/// A text of one of the shapes that are text.
pub(super) fn check(checker: &mut Checker<'_>, shape: &Shape, text: &str, field: &str) {
    match shape {
        Shape::Text(chars_max) => drop(plain(checker, text, *chars_max, field) && filled(checker, text, field)),
        Shape::Tag => tag(checker, text, field),
        Shape::Component if text == ALL_COMPONENTS => {}
        Shape::Component => tag(checker, text, field),
        Shape::Span { min_s, max_s } => span(checker, text, *min_s, *max_s, field),
        Shape::Zone => zone(checker, text, field),
        Shape::Glob => glob(checker, text, field),
        Shape::Path(rule) => path(checker, *rule, text, field),
        _ => {}
    }
}

pub(super) fn labels(checker: &mut Checker<'_>, value: &mut Value, field: &str) {
    let Some(labels) = checker.map(value, field) else { return };
    checker.at_most(labels.len(), LABELS_MAX, field, "labels");
    for (name, value) in labels {
        let path = below(field, name);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
        if name.is_empty() || name.len() > LABEL_NAME_BYTES_MAX || !name.bytes().all(allowed) {
            let rule = format!("1 to {LABEL_NAME_BYTES_MAX} letters, digits, `.`, `_`, `-`, `/`");
            checker.add(code::LABEL_INVALID, &path, format!("{} is not a label", quoted(name)), rule);
        }
        if let Some(text) = checker.text(value, &path) {
            plain(checker, text, TITLE_CHARS_MAX, &path);
        }
    }
}

/// Names once in any case, values of the right form and in no circle.
pub(super) fn variables(checker: &mut Checker<'_>, value: &mut Value, field: &str) {
    let Some(map) = checker.map(value, field) else { return };
    checker.at_most(map.len(), VARIABLES_MAX, field, "variables");
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in map.iter() {
        let path = below(field, name);
        if !is_variable_name(name) {
            let message = format!("{} is not a variable's name", quoted(name));
            let rule = "letters, digits and `_`, not beginning with a digit, at most 63";
            checker.add(code::VARIABLE_NAME_INVALID, &path, message, rule);
        }
        let Some(text) = checker.text(value, &path) else { continue };
        if !plain(checker, text, VARIABLE_BYTES_MAX, &path) || !well_formed(checker, text, &path) {
            continue;
        }
        if own.insert(name.to_ascii_uppercase(), text.to_owned()).is_some() {
            let message = format!("{} is declared twice: upper and lower case are the same", quoted(name));
            checker.add(code::VARIABLE_DOUBLED, &path, message, "keep one of them");
        }
    }
    for name in map.keys().filter(|name| own.contains_key(&name.to_ascii_uppercase())) {
        if let Err(error) = expand_known(&format!("%{name}%"), &own) {
            checker.add(error.code(), &below(field, name), printable(&error.to_string()), "");
        }
    }
}

/// True if it is short enough and has no control characters; else that is told.
fn plain(checker: &mut Checker<'_>, text: &str, chars_max: usize, field: &str) -> bool {
    let chars = text.chars().count();
    if chars > chars_max {
        let message = format!("has {chars} characters");
        checker.add(code::TEXT_TOO_LONG, field, message, format!("at most {chars_max} are allowed"));
        return false;
    }
    if text.chars().any(is_harmful) {
        let message = format!("{} has control characters", quoted(text));
        checker.add(code::CONTROL_CHARACTER, field, message, "write it without them");
        return false;
    }
    true
}

fn filled(checker: &mut Checker<'_>, text: &str, field: &str) -> bool {
    if text.trim().is_empty() {
        checker.add(code::TEXT_EMPTY, field, "is empty", "write something, or leave the field out");
        return false;
    }
    true
}

fn tag(checker: &mut Checker<'_>, text: &str, field: &str) {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if !begins || text.len() > LABEL_NAME_BYTES_MAX || !text.bytes().all(allowed) {
        let rule = format!("1 to {LABEL_NAME_BYTES_MAX} of a-z, 0-9, `.`, `_`, `-`, beginning with a letter or digit");
        checker.add(code::LABEL_INVALID, field, format!("{} is not allowed here", quoted(text)), rule);
    } else if text == ALL_COMPONENTS {
        checker.add(code::NAME_RESERVED, field, "`all` means every one and names none", "choose another word");
    }
}

fn span(checker: &mut Checker<'_>, text: &str, min_s: u64, max_s: u64, field: &str) {
    let allowed = format!("allowed here: {} to {} (such as 90s, 5m)", Span::from_secs(min_s), Span::from_secs(max_s));
    match text.parse::<Span>() {
        Ok(span) if (min_s..=max_s).contains(&span.as_secs()) => {}
        Ok(span) => checker.add(code::OUT_OF_RANGE, field, format!("{span} is out of range"), allowed),
        Err(error) => checker.add(code::SPAN_INVALID, field, printable(&error.to_string()), allowed),
    }
}

/// By the zones compiled in, never by a file that the text would name.
fn zone(checker: &mut Checker<'_>, text: &str, field: &str) {
    const ALLOWED: &str = "allowed here: an IANA name, such as Europe/Paris or UTC";
    match Zone::named(text) {
        Ok(_) => {}
        Err(ZoneFault::Spelled(name)) => {
            checker.add(code::TIME_ZONE_UNKNOWN, field, format!("{} is written `{name}`", quoted(text)), ALLOWED);
        }
        Err(ZoneFault::Unknown) => {
            checker.add(code::TIME_ZONE_UNKNOWN, field, format!("unknown time zone {}", quoted(text)), ALLOWED)
        }
    }
}

fn glob(checker: &mut Checker<'_>, text: &str, field: &str) {
    const ALLOWED: &str = "for example `*.tmp`, `cache/**`";
    if text.len() > GLOB_BYTES_MAX {
        let message = format!("a glob of {} bytes", text.len());
        return checker.add(code::TEXT_TOO_LONG, field, message, format!("at most {GLOB_BYTES_MAX} are allowed"));
    }
    if !plain(checker, text, GLOB_BYTES_MAX, field) || !filled(checker, text, field) {
        return;
    }
    if parts(text).any(|part| part == "..") {
        let message = format!("{} reaches out of the source: globs are matched below `path`", quoted(text));
        return checker.add(code::GLOB_INVALID, field, message, ALLOWED);
    }
    let compiled = GlobBuilder::new(text).literal_separator(true).build();
    if let Err(error) = compiled.and_then(|glob| GlobSetBuilder::new().add(glob).build()) {
        let message = format!("{} is not a glob: {}", quoted(text), printable(&error.kind().to_string()));
        checker.add(code::GLOB_INVALID, field, message, ALLOWED);
    }
}

fn path(checker: &mut Checker<'_>, rule: PathRule, text: &str, field: &str) {
    if !plain(checker, text, PATH_BYTES_MAX, field) || !filled(checker, text, field) {
        return;
    }
    let allowed = match rule {
        PathRule::Absolute => "an absolute path without `..`, such as /srv/definitions",
        PathRule::AbsoluteOrVariable => "a path without `..` that begins with `/` or a variable, such as %BASE_PATH%/x",
        PathRule::Target => "a path without `..` that begins with `/` or a variable, such as %DEST_VOLUME%/antivirus",
        PathRule::Relative => "a relative path without `..`, such as tools/bin",
    };
    let variables = matches!(rule, PathRule::AbsoluteOrVariable | PathRule::Target);
    if variables && !well_formed(checker, text, field) {
        return;
    }
    let begins_well = match rule {
        PathRule::Absolute => text.starts_with('/'),
        PathRule::Relative => !text.starts_with('/') && parts(text).next().is_some(),
        PathRule::AbsoluteOrVariable | PathRule::Target => {
            text.starts_with('/') || (text.starts_with('%') && !text.starts_with("%%"))
        }
    };
    let whole_disk = rule == PathRule::Target && text.starts_with('/') && parts(text).next().is_none();
    let fault = if !begins_well {
        "is not a path of this kind"
    } else if parts(text).any(|part| part == "..") {
        "has `..` in it"
    } else if whole_disk {
        "is the root of the file system"
    } else {
        return;
    };
    checker.add(code::PATH_INVALID, field, format!("{} {fault}", quoted(text)), format!("allowed here: {allowed}"));
}

fn well_formed(checker: &mut Checker<'_>, text: &str, field: &str) -> bool {
    let form = referred(text);
    if let Err(error) = &form {
        checker.add(error.code(), field, printable(&error.to_string()), "");
    }
    form.is_ok()
}

/// For checks of a target after its variables were filled in.
pub(super) fn is_sound_target(expanded: &str) -> bool {
    let variable = expanded.starts_with('%') && !expanded.starts_with("%%");
    let rooted = expanded.starts_with('/') && parts(expanded).next().is_some();
    (variable || rooted) && parts(expanded).all(|part| part != "..")
}

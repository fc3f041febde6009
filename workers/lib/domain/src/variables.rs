//! Target variables `%NAME%` (SPEC O9). It does not know where values come from: the caller gives them.

use std::collections::BTreeMap;

use schemas::Fault;

/// How deep a value may name other variables.
pub const DEPTH_MAX: usize = 16;
/// How many variables one text may fill in, nested ones included: values of values multiply.
pub const SUBSTITUTIONS_MAX: usize = 1_000;
/// Longest result, in bytes: the longest path that Linux takes.
pub const EXPANDED_BYTES_MAX: usize = 4_096;
/// Longest variable name, in bytes.
pub const NAME_BYTES_MAX: usize = 63;
/// What every subscriber fills in itself, unless its own variables say otherwise.
pub const PREDEFINED: [&str; 7] = ["BASE_PATH", "WORKING_PATH", "HOSTNAME", "IP_ADDRESS", "OS", "ARCH", "DEST_VOLUME"];

const ENVIRONMENT: &str = "env:";

/// The values at one subscriber. Names are the same in any case, but for those of the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    /// The subscriber's own; they win over the predefined ones, because whoever runs the site knows it best.
    pub own: BTreeMap<String, String>,
    pub predefined: BTreeMap<String, String>,
    /// Only what the site's allow-list lets through; reached as `%env:NAME%`, and never expanded further.
    pub environment: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    #[error("`%{name}%` is not known here: declare it under the subscriber's `variables`, or correct its name")]
    Unknown { name: String },
    #[error("`%env:{name}%` is not set, or not on the subscriber's allow-list of environment variables")]
    NotAllowed { name: String },
    #[error("variables name each other in a circle: {}", .path.join(" -> "))]
    Cycle { path: Vec<String> },
    #[error("`%{name}%` lies more than {DEPTH_MAX} variables deep, or the text fills in more than {SUBSTITUTIONS_MAX}")]
    TooDeep { name: String },
    #[error("filled in, the text is longer than {EXPANDED_BYTES_MAX} bytes")]
    TooLong,
    #[error(
        "`{text}` is not a variable: `%NAME%` of letters, digits and `_`, or `%env:NAME%`; a percent sign is written `%%`"
    )]
    Malformed { text: String },
}

impl VariableError {
    pub fn code(&self) -> &'static str {
        match self {
            VariableError::Unknown { .. } => "unknown-variable",
            VariableError::NotAllowed { .. } => "variable-not-allowed",
            VariableError::Cycle { .. } => "variable-cycle",
            VariableError::TooDeep { .. } => "variable-too-deep",
            VariableError::TooLong => "variable-too-long",
            VariableError::Malformed { .. } => "variable-malformed",
        }
    }

    /// Permanent: trying again fills in nothing else.
    pub fn fault(&self) -> Fault {
        Fault::permanent(self.code(), self.to_string())
    }
}

/// The text with every variable filled in.
pub fn expand(text: &str, variables: &Variables) -> Result<String, VariableError> {
    let mut expansion = Expansion::of(variables, Missing::Refuse);
    expansion.append(text)?;
    Ok(expansion.out)
}

/// The text with the subscriber's own variables filled in and the others left standing, their names in upper case:
/// enough to compare two targets of one subscriber before the site is asked.
pub fn expand_known(text: &str, own: &BTreeMap<String, String>) -> Result<String, VariableError> {
    let variables = Variables { own: own.clone(), ..Variables::default() };
    let mut expansion = Expansion::of(&variables, Missing::Keep);
    expansion.append(text)?;
    Ok(expansion.out)
}

/// The names that a text refers to, in their order: upper case, or `env:NAME`. Fails on the form only.
pub fn referred(text: &str) -> Result<Vec<String>, VariableError> {
    let pieces = pieces(text)?;
    Ok(pieces
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Text(_) | Piece::Percent => None,
            Piece::Name(name) => Some(name),
            Piece::Environment(name) => Some(format!("{ENVIRONMENT}{name}")),
        })
        .collect())
}

/// True for `[A-Za-z_][A-Za-z0-9_]{0,62}`.
pub fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= NAME_BYTES_MAX
        && bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

enum Piece<'a> {
    Text(&'a str),
    Percent,
    /// In upper case.
    Name(String),
    Environment(&'a str),
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, VariableError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('%') {
        if start > 0 {
            pieces.push(Piece::Text(&rest[..start]));
        }
        let after = &rest[start + 1..];
        let malformed = || VariableError::Malformed { text: rest[start..].chars().take(40).collect() };
        let end = after.find('%').ok_or_else(malformed)?;
        pieces.push(named(&after[..end]).ok_or_else(malformed)?);
        rest = &after[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

fn named(name: &str) -> Option<Piece<'_>> {
    if name.is_empty() {
        return Some(Piece::Percent);
    }
    if let Some(variable) = name.strip_prefix(ENVIRONMENT) {
        return is_variable_name(variable).then_some(Piece::Environment(variable));
    }
    is_variable_name(name).then(|| Piece::Name(name.to_ascii_uppercase()))
}

#[derive(Clone, Copy, PartialEq)]
enum Missing {
    Refuse,
    Keep,
}

struct Expansion<'a> {
    values: BTreeMap<String, &'a str>,
    environment: &'a BTreeMap<String, String>,
    missing: Missing,
    inside: Vec<String>,
    substitutions: usize,
    out: String,
}

impl<'a> Expansion<'a> {
    fn of(variables: &'a Variables, missing: Missing) -> Expansion<'a> {
        let both = variables.predefined.iter().chain(&variables.own);
        let values = both.map(|(name, value)| (name.to_ascii_uppercase(), value.as_str())).collect();
        Expansion {
            values,
            environment: &variables.environment,
            missing,
            inside: Vec::new(),
            substitutions: 0,
            out: String::new(),
        }
    }

    fn append(&mut self, text: &str) -> Result<(), VariableError> {
        for piece in pieces(text)? {
            match piece {
                Piece::Text(text) => self.push(text)?,
                // What stays unexpanded must still read as one percent sign later.
                Piece::Percent if self.missing == Missing::Keep => self.push("%%")?,
                Piece::Percent => self.push("%")?,
                Piece::Name(name) => self.append_variable(name)?,
                Piece::Environment(name) => self.append_environment(name)?,
            }
        }
        Ok(())
    }

    fn append_variable(&mut self, name: String) -> Result<(), VariableError> {
        self.substitutions += 1;
        let Some(value) = self.values.get(&name).copied() else {
            return match self.missing {
                Missing::Refuse => Err(VariableError::Unknown { name }),
                Missing::Keep => self.push(&format!("%{name}%")),
            };
        };
        if self.inside.contains(&name) {
            let path = self.inside.iter().skip_while(|n| **n != name).cloned().chain([name.clone()]).collect();
            return Err(VariableError::Cycle { path });
        }
        if self.inside.len() >= DEPTH_MAX || self.substitutions > SUBSTITUTIONS_MAX {
            return Err(VariableError::TooDeep { name });
        }
        self.inside.push(name);
        self.append(value)?;
        self.inside.pop();
        Ok(())
    }

    fn append_environment(&mut self, name: &str) -> Result<(), VariableError> {
        match (self.environment.get(name), self.missing) {
            (Some(value), _) => self.push(value),
            (None, Missing::Keep) => self.push(&format!("%{ENVIRONMENT}{name}%")),
            (None, Missing::Refuse) => Err(VariableError::NotAllowed { name: name.to_owned() }),
        }
    }

    fn push(&mut self, text: &str) -> Result<(), VariableError> {
        if self.out.len() + text.len() > EXPANDED_BYTES_MAX {
            return Err(VariableError::TooLong);
        }
        self.out.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    fn own(pairs: &[(&str, &str)]) -> Variables {
        Variables { own: map(pairs), ..Variables::default() }
    }

    #[test]
    fn variables_nest_ignore_case_and_double_percent_is_a_percent() {
        let variables = own(&[("Volume", "/srv/%site%"), ("SITE", "paris")]);
        assert_eq!(expand("%VOLUME%/a/%%/%Site%", &variables).unwrap(), "/srv/paris/a/%/paris");
        assert_eq!(expand("no variables", &variables).unwrap(), "no variables");
    }

    #[test]
    fn the_subscribers_own_value_wins_over_the_predefined_one() {
        let predefined = map(&[("OS", "linux"), ("ARCH", "x86_64")]);
        let variables = Variables { own: map(&[("os", "debian")]), predefined, ..Variables::default() };
        assert_eq!(expand("%OS%-%arch%", &variables).unwrap(), "debian-x86_64");
    }

    #[test]
    fn the_environment_is_read_only_through_its_allow_list_and_never_expanded_further() {
        let environment = map(&[("HOME", "/home/%SITE%")]);
        let variables = Variables { environment, ..Variables::default() };
        assert_eq!(expand("%env:HOME%/x", &variables).unwrap(), "/home/%SITE%/x");
        let error = expand("%env:SECRET%", &variables).unwrap_err();
        assert_eq!((error.code(), error.to_string().contains("SECRET")), ("variable-not-allowed", true));
        assert_eq!(expand("%env:home%", &variables).unwrap_err().code(), "variable-not-allowed");
    }

    #[test]
    fn an_unknown_variable_fails_with_its_name() {
        let fault = expand("%NOPE%/a", &own(&[])).unwrap_err().fault();
        assert_eq!((fault.code.as_str(), fault.permanent), ("unknown-variable", true));
        assert!(fault.message.contains("%NOPE%"), "{}", fault.message);
    }

    #[test]
    fn a_cycle_is_refused_and_told_in_order() {
        let variables = own(&[("A", "%B%"), ("B", "x%C%"), ("C", "%b%")]);
        assert_eq!(
            expand("%A%", &variables).unwrap_err(),
            VariableError::Cycle { path: vec!["B".into(), "C".into(), "B".into()] }
        );
    }

    #[test]
    fn depth_length_and_count_are_bounded() {
        let deep: Vec<(String, String)> = (0..40).map(|n| (format!("V{n}"), format!("%V{}%", n + 1))).collect();
        let deep = Variables { own: deep.into_iter().collect(), ..Variables::default() };
        assert_eq!(expand("%V0%", &deep).unwrap_err().code(), "variable-too-deep");

        let long = own(&[("A", &"x".repeat(3_000))]);
        assert_eq!(expand("%A%%A%", &long).unwrap_err().code(), "variable-too-long");

        let doubling: BTreeMap<_, _> = (0..15)
            .map(|n| (format!("V{n}"), format!("%V{0}%%V{0}%", n + 1)))
            .chain([("V15".to_owned(), String::new())])
            .collect();
        let doubling = Variables { own: doubling, ..Variables::default() };
        assert_eq!(expand("%V0%", &doubling).unwrap_err().code(), "variable-too-deep");
    }

    #[test]
    fn a_percent_sign_that_opens_nothing_is_refused() {
        for bad in ["100%", "%A", "%A B%", "%../x%", "%env:%", "%env:A B%", "%é%", "%1%"] {
            assert_eq!(expand(bad, &own(&[("A", "a")])).unwrap_err().code(), "variable-malformed", "{bad}");
            assert!(referred(bad).is_err(), "{bad}");
        }
        assert_eq!(referred("%a%/%%/%env:Home%").unwrap(), ["A", "env:Home"]);
    }

    #[test]
    fn what_only_the_site_knows_stays_standing_in_one_spelling() {
        let own = map(&[("VOL", "/srv")]);
        assert_eq!(expand_known("%vol%/%base_path%/%%", &own).unwrap(), "/srv/%BASE_PATH%/%%");
    }
}

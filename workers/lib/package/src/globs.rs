//! Include and exclude globs of a source. A glob without `/` is matched against names at any depth, one with `/`
//! against the path below the source; `*` stops at `/`, `**` does not; a `/` at the end means directories only.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::source_error::BuildError;

pub(crate) struct Globs {
    any: GlobSet,
    directories: GlobSet,
}

impl Globs {
    pub fn new(globs: &[String]) -> Result<Globs, BuildError> {
        let (mut any, mut directories) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for text in globs {
            let invalid = |e: globset::Error| BuildError::Glob { glob: text.clone(), reason: e.kind().to_string() };
            let glob = GlobBuilder::new(&anchored(text)).literal_separator(true).build().map_err(invalid)?;
            if text.ends_with('/') {
                directories.add(glob)
            } else {
                any.add(glob)
            };
        }
        let invalid = |e: globset::Error| BuildError::Glob { glob: globs.join(" "), reason: e.kind().to_string() };
        Ok(Globs { any: any.build().map_err(invalid)?, directories: directories.build().map_err(invalid)? })
    }

    pub fn is_empty(&self) -> bool {
        self.any.is_empty() && self.directories.is_empty()
    }

    pub fn matches(&self, below_source: &Path, is_directory: bool) -> bool {
        !self.is_empty() && (self.any.is_match(below_source) || is_directory && self.directories.is_match(below_source))
    }
}

fn anchored(text: &str) -> String {
    let text = text.trim_end_matches('/');
    match text.strip_prefix('/') {
        Some(rest) => rest.to_owned(),
        None if text.contains('/') => text.to_owned(),
        None => format!("**/{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_names_at_any_depth_and_paths_from_the_source() {
        let globs = |list: &[&str]| Globs::new(&list.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>()).unwrap();
        let cases = [
            ("*.tmp", "a.tmp", true),
            ("*.tmp", "deep/er/a.tmp", true),
            ("*.tmp", "a.tmp/b", false),
            ("logs/*.txt", "logs/a.txt", true),
            ("logs/*.txt", "logs/b/a.txt", false),
            ("logs/*.txt", "x/logs/a.txt", false),
            ("logs/**", "logs/b/a.txt", true),
            ("/top", "top", true),
            ("/top", "a/top", false),
            ("[ab]?", "x/a1", true),
        ];
        for (glob, path, expected) in cases {
            assert_eq!(globs(&[glob]).matches(Path::new(path), false), expected, "{glob} on {path}");
        }
        assert!(globs(&["cache/"]).matches(Path::new("x/cache"), true));
        assert!(!globs(&["cache/"]).matches(Path::new("x/cache"), false));
        assert!(!globs(&[]).matches(Path::new("x"), true));
        assert_eq!(Globs::new(&["a[".to_owned()]).err().unwrap().code(), "source-glob-invalid");
    }
}

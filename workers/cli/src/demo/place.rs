//! Where the demo takes its files from, and where it keeps everything.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::DemoError;
use super::text;

const SOURCE_DEFAULT: &str = "docs";
const DATA_DEFAULT: &str = "tidegate-demo";
/// Demos that may lie beside each other in the temporary directory.
const DATA_NUMBER_MAX: u32 = 1_000;
const OWNER_ONLY: u32 = 0o700;

#[derive(Debug, Clone)]
pub struct Place {
    /// What the person wants distributed; only read.
    pub given: PathBuf,
    /// Everything else lies below it.
    pub data: PathBuf,
}

impl Place {
    pub fn choose(source: Option<&Path>, data: Option<&Path>) -> Result<Place, DemoError> {
        let given = match source {
            Some(path) => path.to_owned(),
            None if Path::new(SOURCE_DEFAULT).is_dir() => PathBuf::from(SOURCE_DEFAULT),
            None => PathBuf::from("."),
        };
        if !given.is_dir() {
            return Err(DemoError::NoDirectory { path: given });
        }
        let given = given.canonicalize().map_err(|source| DemoError::File { path: given.clone(), source })?;
        let data = match data {
            Some(path) => named(path)?,
            None => fresh(&std::env::temp_dir())?,
        };
        Ok(Place { given, data })
    }

    /// The copy that is distributed, and changed.
    pub fn source(&self) -> PathBuf {
        self.data.join("source")
    }

    pub fn definitions(&self) -> PathBuf {
        self.data.join("definitions.yaml")
    }

    /// What stands for the disk of a site.
    pub fn server(&self, site: &str) -> PathBuf {
        self.data.join("servers").join(site)
    }

    /// Where a site extracts to.
    pub fn target(&self, site: &str) -> PathBuf {
        self.server(site).join(super::definitions::DISTRIBUTION)
    }
}

fn named(path: &Path) -> Result<PathBuf, DemoError> {
    let failed = |source| DemoError::File { path: path.to_owned(), source };
    match fs::read_dir(path) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(DemoError::NotEmpty { path: path.to_owned(), quoted: text::shell_word(path) });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(path).map_err(failed)?,
        Err(error) => return Err(failed(error)),
    }
    path.canonicalize().map_err(failed)
}

/// A directory that nobody had before: the temporary one is everybody's.
fn fresh(below: &Path) -> Result<PathBuf, DemoError> {
    let mut path = below.join(DATA_DEFAULT);
    for number in 2..=DATA_NUMBER_MAX {
        match fs::DirBuilder::new().mode(OWNER_ONLY).create(&path) {
            Ok(()) => return path.canonicalize().map_err(|source| DemoError::File { path, source }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                path = below.join(format!("{DATA_DEFAULT}-{number}"));
            }
            Err(source) => return Err(DemoError::File { path, source }),
        }
    }
    let source = io::Error::new(io::ErrorKind::AlreadyExists, "too many demos lie here; remove some");
    Err(DemoError::File { path: below.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_something_in_it_is_never_used() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine"), "").unwrap();
        let error = Place::choose(Some(folder.path()), Some(folder.path())).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("rm -rf"), "{error}");
    }

    #[test]
    fn every_demo_gets_a_directory_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (fresh(folder.path()).unwrap(), fresh(folder.path()).unwrap());
        assert!(a.ends_with("tidegate-demo") && b.ends_with("tidegate-demo-2"), "{a:?} {b:?}");
    }

    #[test]
    fn what_is_no_directory_cannot_be_distributed() {
        let folder = tempfile::tempdir().unwrap();
        let error = Place::choose(Some(&folder.path().join("absent")), None).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}

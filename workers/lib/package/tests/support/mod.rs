//! Trees to build from, and putting a revision together again from its packs.
#![allow(dead_code, reason = "each test file uses its share")]

pub mod target;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use package::{Built, EntryKind, Index, Pack, decode_frame};
use schemas::Digest;
use schemas::definitions::FileSource;

pub struct Source {
    pub dir: tempfile::TempDir,
}

impl Source {
    pub fn new() -> Source {
        Source { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub fn write(&self, below: &str, content: impl AsRef<[u8]>) -> &Source {
        fs::create_dir_all(self.path(below).parent().unwrap()).unwrap();
        fs::write(self.path(below), content).unwrap();
        self
    }

    pub fn link(&self, below: &str, says: &str) -> &Source {
        symlink(says, self.path(below)).unwrap();
        self
    }

    pub fn mode(&self, below: &str, mode: u32) -> &Source {
        fs::set_permissions(self.path(below), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    pub fn time(&self, below: &str, seconds: u64) -> &Source {
        let file = fs::File::open(self.path(below)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        self
    }

    pub fn source(&self) -> FileSource {
        source(self.dir.path())
    }

    pub fn sources(&self) -> Vec<FileSource> {
        vec![self.source()]
    }

    /// A small tree with every kind of entry.
    pub fn with_one_of_each() -> Source {
        let source = Source::new();
        source.write("readme.txt", "hello\n").write("empty", "").write("sub/deep/a.txt", "the same\n");
        source.write("sub-x", "between\n").write("twin.txt", "the same\n").write("big.bin", noise("big", 700_000));
        source.link("link", "sub/deep/a.txt").link("outside", "/etc/hostname");
        fs::create_dir(source.path("void")).unwrap();
        source.mode("readme.txt", 0o640).mode("sub", 0o750).time("readme.txt", 1_700_000_000);
        source
    }
}

pub fn source(path: &Path) -> FileSource {
    FileSource {
        path: path.to_str().unwrap().to_owned(),
        subscriber: None,
        into: None,
        include: Vec::new(),
        exclude: Vec::new(),
    }
}

pub fn noise(seed: &str, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Objects by digest, as a store has them.
#[derive(Default)]
pub struct Store {
    pub packs: HashMap<Digest, Vec<u8>>,
}

impl Store {
    pub fn with(packs: &[Pack]) -> Store {
        let mut store = Store::default();
        store.add(packs);
        store
    }

    pub fn add(&mut self, packs: &[Pack]) {
        for pack in packs {
            assert_eq!(Digest::of(&pack.bytes), pack.digest);
            self.packs.insert(pack.digest, pack.bytes.clone());
        }
    }

    /// The content of every file, by way of frames and chunks, each verified.
    pub fn reassemble(&self, index: &Index) -> HashMap<String, Vec<u8>> {
        let frames: Vec<Vec<u8>> = index
            .frames
            .iter()
            .map(|frame| {
                let pack = &self.packs[&index.packs[frame.pack as usize].digest];
                let start = frame.offset as usize;
                decode_frame(frame, &pack[start..start + frame.stored_bytes as usize]).unwrap()
            })
            .collect();
        let mut files = HashMap::new();
        for entry in &index.entries {
            let EntryKind::File { bytes, refs } = &entry.kind else { continue };
            let mut content = Vec::new();
            for chunk in index.chunks_of(refs) {
                let start = chunk.offset as usize;
                let piece = &frames[chunk.frame as usize][start..start + chunk.bytes as usize];
                assert_eq!(Digest::of(piece), chunk.digest);
                content.extend_from_slice(piece);
            }
            assert_eq!(content.len() as u64, *bytes);
            files.insert(entry.path.clone(), content);
        }
        files
    }
}

pub fn build(sources: &[FileSource], previous: Option<&Index>) -> (Built, Vec<Pack>) {
    package::build::build_simply(sources, previous).unwrap()
}

pub fn paths(index: &Index) -> Vec<&str> {
    index.entries.iter().map(|entry| entry.path.as_str()).collect()
}

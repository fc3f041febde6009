//! Revisions made by hand, their frames in memory, and a site's folder to install them in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use package::extras::Account;
use package::tree::{self, FrameFault, Frames, Install, Installed, Policy, Progress, Step, TreeError};
use package::{Attribute, Chunk, Entry, EntryKind, Frame, HardLink, Index, Keeps};
use schemas::definitions::Unchanged;
use schemas::{Digest, PackRef, RevisionRef};

pub const CHUNK: usize = 1024;
const FRAME_CHUNKS: usize = 4;
const PACK_BYTES: u64 = 16 << 20;
pub const MTIME: i64 = 1_600_000_000_123_456_789;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    Directory,
    File(Vec<u8>),
    Link(String),
}

/// A tree as a person would say it.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    pub things: BTreeMap<String, (Thing, u32, i64)>,
    /// Further names of files, with the first one's.
    pub names: BTreeMap<String, String>,
    pub sparse: BTreeSet<String>,
    pub keeps: Keeps,
    pub attributes: BTreeMap<String, Vec<Attribute>>,
    /// Of every entry, if it is there.
    pub owner: Option<(Account, Account)>,
}

impl Tree {
    pub fn new() -> Tree {
        Tree::default().with("", Thing::Directory, 0o755)
    }

    pub fn with(mut self, path: &str, thing: Thing, mode: u32) -> Tree {
        self.things.insert(path.into(), (thing, mode, MTIME));
        self
    }

    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Tree {
        self.with(path, Thing::File(content.as_ref().to_vec()), 0o644)
    }

    pub fn directory(self, path: &str) -> Tree {
        self.with(path, Thing::Directory, 0o755)
    }

    pub fn link(self, path: &str, to: &str) -> Tree {
        self.with(path, Thing::Link(to.into()), 0o777)
    }

    /// `path` becomes a further name of the file `first`, which comes before it.
    pub fn name(mut self, path: &str, first: &str) -> Tree {
        assert!(first < path);
        let same = self.things[first].clone();
        self.things.insert(path.into(), same);
        self.names.insert(path.into(), first.into());
        self
    }

    pub fn sparse(mut self, path: &str) -> Tree {
        self.sparse.insert(path.into());
        self
    }

    pub fn keeping(mut self, keeps: Keeps) -> Tree {
        self.keeps = self.keeps.with(keeps);
        self
    }

    /// Keeps its kind as well; they are given in order of their names.
    pub fn attribute(mut self, path: &str, name: &str, value: &str) -> Tree {
        let attribute = Attribute { name: name.into(), value: value.into() };
        self.attributes.entry(path.into()).or_default().push(attribute);
        self
    }

    pub fn owner(mut self, user: Account, group: Account) -> Tree {
        self.owner = Some((user, group));
        self.keeping(Keeps::OWNERS)
    }

    pub fn without(mut self, path: &str) -> Tree {
        self.names.remove(path);
        self.things.remove(path);
        self
    }

    pub fn time(mut self, path: &str, mtime_ns: i64) -> Tree {
        self.things.get_mut(path).unwrap().2 = mtime_ns;
        self
    }

    pub fn revision(&self, number: u64) -> Revision {
        Revision::of(self, number)
    }
}

/// An index with its content, and a record of which frames were asked for.
pub struct Revision {
    pub at: RevisionRef,
    pub index: Index,
    pub content: Vec<Arc<Vec<u8>>>,
    pub asked: AtomicU64,
    pub missing: Vec<u32>,
}

impl Revision {
    fn of(tree: &Tree, number: u64) -> Revision {
        let mut made = Maker::default();
        for (path, (thing, mode, mtime_ns)) in &tree.things {
            made.add(path, thing, *mode, *mtime_ns);
        }
        made.extras(tree);
        made.finish(number)
    }

    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Frames for Revision {
    fn frame(&self, frame: u32) -> Result<Arc<Vec<u8>>, FrameFault> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.missing.contains(&frame) {
            return Err(FrameFault::Missing);
        }
        Ok(self.content[frame as usize].clone())
    }
}

#[derive(Default)]
struct Maker {
    index: Index,
    known: HashMap<Digest, u32>,
    pieces: Vec<Vec<u8>>,
}

impl Maker {
    fn add(&mut self, path: &str, thing: &Thing, mode: u32, mtime_ns: i64) {
        let kind = match thing {
            Thing::Directory => EntryKind::Directory,
            Thing::Link(target) => EntryKind::Link { target: target.clone() },
            Thing::File(content) => {
                let start = self.index.chunk_refs.len() as u32;
                content.chunks(CHUNK).for_each(|piece| self.chunk(piece));
                EntryKind::File { bytes: content.len() as u64, refs: start..self.index.chunk_refs.len() as u32 }
            }
        };
        self.index.entries.push(Entry { path: path.into(), kind, mode, mtime_ns });
    }

    fn extras(&mut self, tree: &Tree) {
        let at = |path: &String| tree.things.keys().position(|other| other == path).unwrap() as u32;
        let extras = &mut self.index.extras;
        extras.keeps = tree.keeps;
        extras.hard_links = tree.names.iter().map(|(path, of)| HardLink { entry: at(path), first: at(of) }).collect();
        extras.sparse = tree.sparse.iter().map(at).collect();
        for (set, (path, attributes)) in tree.attributes.iter().enumerate() {
            extras.attribute_sets.push(attributes.clone());
            extras.attributes.push((at(path), set as u32));
        }
        if let Some((user, group)) = &tree.owner {
            extras.owners.users.push(user.clone());
            extras.owners.groups.push(group.clone());
            extras.owners.of = vec![(0, 0); tree.things.len()];
        }
    }

    fn chunk(&mut self, piece: &[u8]) {
        let digest = Digest::of(piece);
        let at = *self.known.entry(digest).or_insert_with(|| {
            self.pieces.push(piece.to_vec());
            self.pieces.len() as u32 - 1
        });
        self.index.chunk_refs.push(at);
    }

    fn finish(mut self, number: u64) -> Revision {
        let mut content = Vec::new();
        let (mut pack, mut offset_in_pack) = (0, 0);
        for (frame, pieces) in self.pieces.chunks(FRAME_CHUNKS).enumerate() {
            let mut bytes = Vec::new();
            for piece in pieces {
                let offset = bytes.len() as u32;
                let digest = Digest::of(piece);
                self.index.chunks.push(Chunk { digest, bytes: piece.len() as u32, frame: frame as u32, offset });
                bytes.extend_from_slice(piece);
            }
            let length = bytes.len() as u32;
            if offset_in_pack + u64::from(length) > PACK_BYTES {
                (pack, offset_in_pack) = (pack + 1, 0);
            }
            let (digest, offset) = (Digest::of(&bytes), offset_in_pack);
            self.index.frames.push(Frame { digest, pack, offset, stored_bytes: length, raw_bytes: length });
            offset_in_pack += u64::from(length);
            self.index.packs.resize(pack as usize + 1, PackRef { digest: Digest::of(&pack.to_le_bytes()), bytes: 0 });
            self.index.packs[pack as usize].bytes = offset_in_pack;
            content.push(Arc::new(bytes));
        }
        let header = Digest::of(&[&self.index.encode()[..], &number.to_le_bytes()].concat());
        Revision {
            at: RevisionRef { number, header },
            index: self.index,
            content,
            asked: AtomicU64::new(0),
            missing: Vec::new(),
        }
    }
}

/// A site: a folder with a target and its records.
pub struct Site {
    pub folder: tempfile::TempDir,
    pub policy: Policy,
    pub adopt: bool,
    pub pin: bool,
    pub unchanged: Unchanged,
    pub floor: u64,
}

impl Drop for Site {
    /// Lets the folder be removed by an owner without privileges, too.
    fn drop(&mut self) {
        let _ = std::process::Command::new("chmod").args(["-R", "u+rwX"]).arg(self.folder.path()).status();
    }
}

pub type Way = fn(&Install) -> Result<Installed, TreeError>;
pub const MIRROR: Way = tree::mirror;
pub const MERGE: Way = tree::merge;

impl Site {
    pub fn new() -> Site {
        let folder = tempfile::tempdir().unwrap();
        Site { folder, policy: Policy::default(), adopt: false, pin: false, unchanged: Unchanged::Link, floor: 0 }
    }

    pub fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    pub fn standby(&self) -> PathBuf {
        self.folder.path().join(".target.tidegate-standby")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn mirror(&self, revision: &Revision) -> Result<Installed, TreeError> {
        self.run(MIRROR, revision, &|_| Ok(()))
    }

    pub fn prepare(&self, revision: &Revision) -> Result<bool, TreeError> {
        prepare_at(&self.target(), &self.state_dir(), self, revision, &AtomicBool::new(false))
    }

    pub fn merge(&self, revision: &Revision) -> Result<Installed, TreeError> {
        self.run(MERGE, revision, &|_| Ok(()))
    }

    pub fn run(
        &self,
        way: Way,
        revision: &Revision,
        observe: &(dyn Fn(Step) -> std::io::Result<()> + Sync),
    ) -> Result<Installed, TreeError> {
        install_at(&self.target(), &self.state_dir(), self, way, revision, observe)
    }

    pub fn verified(&self, revision: &Revision) -> bool {
        let differences = tree::verify(&self.target(), &revision.index).unwrap();
        if !differences.is_empty() {
            eprintln!("{differences:?}");
        }
        differences.is_empty()
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.target().join(path)).unwrap()
    }

    pub fn write(&self, path: &str, content: &str) {
        fs::write(self.target().join(path), content).unwrap();
    }

    pub fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.target().join(path)).is_ok()
    }

    pub fn mode(&self, path: &str) -> u32 {
        fs::symlink_metadata(self.target().join(path)).unwrap().permissions().mode() & 0o7777
    }
}

pub fn install_at(
    target: &Path,
    state_dir: &Path,
    site: &Site,
    way: Way,
    revision: &Revision,
    observe: &(dyn Fn(Step) -> std::io::Result<()> + Sync),
) -> Result<Installed, TreeError> {
    call(way, (target, state_dir), site, (revision, revision), &AtomicBool::new(false), observe)
}

pub fn prepare_at(
    target: &Path,
    state_dir: &Path,
    site: &Site,
    revision: &Revision,
    cancel: &AtomicBool,
) -> Result<bool, TreeError> {
    call(tree::prepare, (target, state_dir), site, (revision, revision), cancel, &|_| Ok(()))
}

/// The revision goes with where its frames come from.
pub fn call<T>(
    way: fn(&Install) -> Result<T, TreeError>,
    (target, state_dir): (&Path, &Path),
    site: &Site,
    (revision, frames): (&Revision, &dyn Frames),
    cancel: &AtomicBool,
    observe: &(dyn Fn(Step) -> std::io::Result<()> + Sync),
) -> Result<T, TreeError> {
    way(&Install {
        target,
        state_dir,
        revision: revision.at,
        index: &Arc::new(revision.index.clone()),
        policy: &site.policy,
        frames,
        adopt: site.adopt,
        pin: site.pin,
        unchanged: site.unchanged,
        floor: site.floor,
        cancel,
        progress: &Progress::default(),
        observe,
    })
}

pub fn code(result: Result<Installed, TreeError>) -> &'static str {
    result.expect_err("it must be refused").code()
}

/// Everything in a folder, with content, so that "nothing was written" can be asserted.
pub fn picture(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                open.push(path.clone());
            }
            found.insert(path.clone(), meta.is_file().then(|| fs::read(&path).unwrap()));
        }
    }
    found
}

/// Content that compresses no better for being of one file, the same for the same seed.
pub fn content(seed: u64, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    let mut hasher = seed.to_le_bytes().to_vec();
    for piece in out.chunks_mut(32) {
        let digest = Digest::of(&hasher);
        piece.copy_from_slice(&digest.0[..piece.len()]);
        hasher = digest.0.to_vec();
    }
    out
}

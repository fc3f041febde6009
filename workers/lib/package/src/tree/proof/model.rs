//! A file system in memory, in which a recorded operation either happened or did not. It knows paths, names of one
//! file, content, modes and times; and how the kernel described each thing last.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::tree::beneath;
use crate::tree::node::{Node, Stamp};

use super::recorder::{Op, Record, stamp_of};

#[derive(Debug, Clone)]
enum Kind {
    Directory(BTreeMap<OsString, usize>),
    File(Vec<u8>),
    Link(String),
}

#[derive(Debug, Clone)]
struct Thing {
    kind: Kind,
    mode: u32,
    mtime_ns: i64,
    stamp: Stamp,
    node: Option<Node>,
}

#[derive(Debug, Clone)]
pub struct Model {
    things: Vec<Thing>,
}

/// What became of a write that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    Written,
    Lost,
    /// The length reached the disk, the bytes did not.
    Zeros,
}

/// How the kernel described things in the recorded run, and how it describes them where the model was laid out.
#[derive(Default)]
pub struct Laid {
    pub nodes: Vec<(Node, Node)>,
    pub stamps: Vec<(Stamp, Stamp)>,
}

const ROOT: usize = 0;

impl Model {
    pub fn load(folder: &Path) -> Model {
        let mut model = Model { things: Vec::new() };
        model.add(folder, &mut HashMap::new());
        model
    }

    fn add(&mut self, path: &Path, known: &mut HashMap<u64, usize>) -> usize {
        let meta = fs::symlink_metadata(path).unwrap();
        if let Some(&at) = known.get(&meta.ino()) {
            return at;
        }
        let at = self.things.len();
        known.insert(meta.ino(), at);
        let node = meta.is_dir().then(|| Node::of(fs::File::open(path).unwrap()).unwrap());
        let stamp = stamp_of(path).unwrap();
        let (mode, mtime_ns) = (meta.permissions().mode() & 0o7777, stamp.mtime_ns);
        self.things.push(Thing { kind: Kind::Directory(BTreeMap::new()), mode, mtime_ns, stamp, node });
        let kind = match meta.file_type() {
            of if of.is_dir() => {
                let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
                Kind::Directory(names.map(|name| (name.clone(), self.add(&path.join(name), known))).collect())
            }
            of if of.is_file() => Kind::File(fs::read(path).unwrap()),
            _ => Kind::Link(fs::read_link(path).unwrap().to_str().unwrap().into()),
        };
        self.things[at].kind = kind;
        at
    }

    fn names(&mut self, at: usize) -> Option<&mut BTreeMap<OsString, usize>> {
        match &mut self.things[at].kind {
            Kind::Directory(names) => Some(names),
            _ => None,
        }
    }

    fn find(&mut self, path: &Path) -> Option<usize> {
        path.iter().try_fold(ROOT, |at, name| self.names(at)?.get(name).copied())
    }

    /// The directory of a path, and its last part.
    fn place(&mut self, path: &Path) -> Option<(usize, OsString)> {
        let directory = self.find(path.parent()?)?;
        self.names(directory)?;
        Some((directory, path.file_name()?.to_owned()))
    }

    fn take(&mut self, path: &Path) -> Option<usize> {
        let (directory, name) = self.place(path)?;
        self.names(directory)?.remove(&name)
    }

    fn put(&mut self, path: &Path, at: usize) -> Option<()> {
        let (directory, name) = self.place(path)?;
        self.names(directory)?.insert(name, at);
        Some(())
    }

    fn make(&mut self, record: &Record, path: &Path, kind: Kind, mode: u32) -> Option<()> {
        let stamp = record.stamp?;
        if let Some(at) = self.find(path) {
            // A file that is emptied to be written again; anything else cannot be made where something stands.
            let is_emptied = matches!((&kind, &self.things[at].kind), (Kind::File(_), Kind::File(_)));
            return is_emptied.then(|| self.things[at].kind = kind);
        }
        let at = self.things.len();
        self.things.push(Thing { kind, mode, mtime_ns: stamp.mtime_ns, stamp, node: record.node });
        self.put(path, at)
    }

    /// The thing itself, if that is what stands at the path: not another one whose name was not yet taken away.
    fn changed(&mut self, record: &Record, path: &Path) -> Option<&mut Thing> {
        let (at, stamp) = (self.find(path)?, record.stamp?);
        let thing = &mut self.things[at];
        (thing.stamp.ino == stamp.ino).then_some(thing)
    }

    /// What cannot happen without something that was lost does not happen.
    pub fn apply(&mut self, record: &Record, data: Data) {
        let _ = self.try_apply(record, data);
    }

    fn try_apply(&mut self, record: &Record, data: Data) -> Option<()> {
        match &record.op {
            Op::Create { path } => self.make(record, path, Kind::File(Vec::new()), 0o600)?,
            Op::MakeDirectory { path } => self.make(record, path, Kind::Directory(BTreeMap::new()), 0o700)?,
            Op::MakeLink { path, says } => self.make(record, path, Kind::Link(says.clone()), 0o777)?,
            Op::Write { path, offset, bytes } => {
                let Kind::File(content) = &mut self.changed(record, path)?.kind else { return None };
                let end = *offset as usize + bytes.len();
                if data != Data::Lost && content.len() < end {
                    content.resize(end, 0);
                }
                if data == Data::Written {
                    content[*offset as usize..end].copy_from_slice(bytes);
                }
            }
            Op::Truncate { path, bytes } => match &mut self.changed(record, path)?.kind {
                Kind::File(content) => content.resize(*bytes as usize, 0),
                _ => return None,
            },
            Op::Mode { path, mode } => self.changed(record, path)?.mode = *mode,
            Op::Time { path, mtime_ns } => self.changed(record, path)?.mtime_ns = *mtime_ns,
            Op::Name { from, to } => {
                let at = self.find(from)?;
                self.put(to, at)?;
            }
            Op::Unlink { path } => {
                let at = self.take(path)?;
                self.things[at].stamp = record.stamp?;
            }
            Op::RemoveDirectory { path } => {
                let at = self.find(path)?;
                let is_empty = self.names(at)?.is_empty();
                is_empty.then(|| self.take(path))??;
            }
            Op::Rename { from, to, exchange } => {
                let (one, other) = (self.find(from)?, self.find(to));
                match (exchange, other) {
                    (true, Some(other)) => self.put(from, other)?,
                    (true, None) => return None,
                    (false, _) => drop(self.take(from)),
                }
                self.put(to, one)?;
            }
            Op::Sync { .. } | Op::SyncAll => return Some(()),
        }
        if let (Some(path), Some(stamp)) = (path_of(&record.op), record.stamp)
            && let Some(at) = self.find(path)
            && self.things[at].stamp.ino == stamp.ino
        {
            self.things[at].stamp = stamp;
        }
        Some(())
    }

    /// Makes it real in an empty folder.
    pub fn lay_out(&self, folder: &Path) -> Laid {
        let mut places: HashMap<usize, PathBuf> = HashMap::new();
        self.lay(ROOT, folder, &mut places);
        let mut laid = Laid::default();
        for (&at, path) in &places {
            let thing = &self.things[at];
            match (&thing.node, &thing.kind) {
                (Some(node), _) => laid.nodes.push((*node, Node::of(fs::File::open(path).unwrap()).unwrap())),
                _ => laid.stamps.push((thing.stamp, stamp_of(path).unwrap())),
            }
        }
        laid
    }

    fn lay(&self, at: usize, path: &Path, places: &mut HashMap<usize, PathBuf>) {
        let thing = &self.things[at];
        if let Some(other) = places.get(&at) {
            return fs::hard_link(other, path).unwrap();
        }
        places.insert(at, path.into());
        match &thing.kind {
            Kind::File(content) => fs::write(path, content).unwrap(),
            Kind::Link(says) => symlink(says, path).unwrap(),
            Kind::Directory(names) => {
                fs::create_dir_all(path).unwrap();
                names.iter().for_each(|(name, &at)| self.lay(at, &path.join(name), places));
            }
        }
        if !matches!(thing.kind, Kind::Link(_)) {
            fs::set_permissions(path, fs::Permissions::from_mode(thing.mode)).unwrap();
        }
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, path, &beneath::times(thing.mtime_ns), flags).unwrap();
    }
}

fn path_of(op: &Op) -> Option<&Path> {
    match op {
        Op::Create { path }
        | Op::MakeDirectory { path }
        | Op::MakeLink { path, .. }
        | Op::Write { path, .. }
        | Op::Truncate { path, .. }
        | Op::Mode { path, .. }
        | Op::Time { path, .. } => Some(path),
        Op::Name { to, .. } | Op::Rename { to, .. } => Some(to),
        Op::Unlink { .. } | Op::RemoveDirectory { .. } | Op::Sync { .. } | Op::SyncAll => None,
    }
}

//! A file system in memory, in which a recorded operation either happened, or happened in part, or did not. It knows names,
//! files and their bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::recorder::Op;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Directory,
    File(u64),
}

#[derive(Debug, Clone, Default)]
pub struct Model {
    names: BTreeMap<PathBuf, Entry>,
    files: HashMap<u64, Vec<u8>>,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Done,
    Lost,
    /// Of a write: the length reached the disk, the bytes did not.
    Zeros,
    /// Of a write: what came first did, and the file ends there.
    FirstHalf,
    /// Of a write: what came last did, and before it are zeros.
    LastHalf,
}

impl Model {
    pub fn load(folder: &Path) -> Model {
        let mut model = Model::default();
        model.add(folder, Path::new(""));
        model
    }

    fn add(&mut self, folder: &Path, below: &Path) {
        self.names.insert(below.to_owned(), Entry::Directory);
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = below.join(path.file_name().unwrap());
            if path.is_dir() {
                self.add(&path, &name);
                continue;
            }
            let file = fs::metadata(&path).unwrap().ino();
            self.names.insert(name, Entry::File(file));
            self.files.insert(file, fs::read(&path).unwrap());
        }
    }

    /// What cannot happen without something that was lost does not happen.
    pub fn apply(&mut self, op: &Op, fate: Fate) {
        let is_done = fate != Fate::Lost;
        match op {
            Op::Create { path, file } => {
                self.files.entry(*file).or_default();
                if is_done {
                    self.name(path, Entry::File(*file));
                }
            }
            Op::MakeDirectory { path } if is_done => self.name(path, Entry::Directory),
            Op::Write { file, offset, bytes } => self.write(*file, *offset, bytes, fate),
            Op::SetLength { file, bytes } if is_done => {
                if let Some(content) = self.files.get_mut(file) {
                    content.resize(*bytes as usize, 0);
                }
            }
            // A name that leads somewhere leads to a file that is there, whatever became of the name that it had before.
            Op::Rename { from, to, file } if is_done => {
                if self.names.get(from) == Some(&Entry::File(*file)) {
                    self.names.remove(from);
                }
                self.name(to, Entry::File(*file));
            }
            Op::Remove { path } if is_done => drop(self.names.remove(path)),
            Op::RemoveDirectory { path } if is_done => {
                let is_empty = !self.names.keys().any(|name| name.parent() == Some(path));
                is_empty.then(|| self.names.remove(path));
            }
            _ => {}
        }
    }

    fn name(&mut self, path: &Path, entry: Entry) {
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.names.get(parent) == Some(&Entry::Directory) {
            self.names.insert(path.to_owned(), entry);
        }
    }

    fn write(&mut self, file: u64, offset: u64, bytes: &[u8], fate: Fate) {
        let Some(content) = self.files.get_mut(&file) else { return };
        let (start, half) = (offset as usize, bytes.len().div_ceil(2));
        let (put, end) = match fate {
            Fate::Lost => return,
            Fate::Done => (0..bytes.len(), start + bytes.len()),
            Fate::Zeros => (0..0, start + bytes.len()),
            Fate::FirstHalf => (0..half, start + half),
            Fate::LastHalf => (half..bytes.len(), start + bytes.len()),
        };
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start + put.start..start + put.end].copy_from_slice(&bytes[put]);
    }

    /// Makes it real in an empty folder.
    pub fn lay_out(&self, folder: &Path) {
        for (name, entry) in &self.names {
            match entry {
                Entry::Directory => fs::create_dir_all(folder.join(name)).unwrap(),
                Entry::File(file) => fs::write(folder.join(name), &self.files[file]).unwrap(),
            }
        }
    }
}

//! The calls by which files come to a disk, change there and leave it. Whoever promises that something is durable takes
//! them as an argument, so that a test can write them down and cut them off anywhere. It knows no key.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub trait Calls {
    fn create_new(&self, path: &Path) -> io::Result<File> {
        File::create_new(path)
    }

    /// For reading and writing; what is there stays.
    fn open_or_create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn set_length(&self, file: &File, bytes: u64) -> io::Result<()> {
        file.set_len(bytes)
    }

    /// Content, and what it takes to read it again.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// The names in it.
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }
}

/// As the kernel does them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl Calls for Kernel {}

//! A log file of bounded size: full, it becomes `NAME.1`, that one `NAME.2`, and the oldest goes. It knows no event.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// A file that would grow beyond it is put aside first.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files that are kept beside the one that is written.
const OLD_FILES_MAX: u32 = 4;
/// Owner and group: a log may tell paths and names.
const MODE: u32 = 0o640;

/// Where lines go; shared by its clones. Closed, it swallows them.
#[derive(Clone, Default)]
pub struct Sink {
    file: Arc<Mutex<Option<LogFile>>>,
}

struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl Sink {
    /// Makes the folder if it is not there, and goes on after what the file holds. A file that cannot be opened closes the sink.
    pub fn open(&self, path: &Path) -> io::Result<()> {
        let opened = LogFile::open(path, FILE_BYTES_MAX);
        let mut place = self.lock();
        *place = None;
        *place = Some(opened?);
        Ok(())
    }

    pub fn close(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<LogFile>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.lock().as_mut() {
            Some(file) => file.write_line(line).map(|()| line.len()),
            None => Ok(line.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Sink;

    fn make_writer(&'a self) -> Sink {
        self.clone()
    }
}

impl LogFile {
    fn open(path: &Path, bytes_max: u64) -> io::Result<LogFile> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).mode(MODE).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(LogFile { path: path.to_owned(), file, bytes, bytes_max })
    }

    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.bytes_max {
            self.put_aside()?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        for n in (1..OLD_FILES_MAX).rev() {
            rename_if_there(&self.old(n), &self.old(n + 1))?;
        }
        rename_if_there(&self.path, &self.old(1))?;
        *self = LogFile::open(&self.path, self.bytes_max)?;
        Ok(())
    }

    fn old(&self, n: u32) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{n}"));
        name.into()
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.log");
        let mut log = LogFile::open(&path, 10).unwrap();
        for n in 0..20 {
            log.write_line(format!("line {n:02}\n").as_bytes()).unwrap();
        }
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!(read(path.clone()), "line 19\n");
        assert_eq!([read(log.old(1)), read(log.old(4))], ["line 18\n", "line 15\n"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
    }

    #[test]
    fn an_opened_file_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.log");
        for line in [&b"one\n"[..], b"two\n"] {
            LogFile::open(&path, 100).unwrap().write_line(line).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }
}

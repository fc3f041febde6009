//! Extended attributes of open files and directories, read, compared and set. Of which kinds, its callers say.

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::extras::{Attribute, Keeps};
use crate::limits::ATTRIBUTE_BYTES_MAX;

/// Attributes may come and go between asking for their size and reading them.
const READS_MAX: u32 = 8;

/// Those of the kinds that are kept, sorted by name. A file system without attributes has none.
pub(crate) fn read(file: impl AsFd, keeps: Keeps) -> Result<Vec<Attribute>, Errno> {
    let mut found = Vec::new();
    for name in names(&file, keeps)? {
        if let Some(value) = value(&file, &name)? {
            found.push(Attribute { name, value });
        }
    }
    Ok(found)
}

/// True if the file has these and, of the kinds that are kept, no others.
pub(crate) fn are(file: impl AsFd, keeps: Keeps, wanted: &[Attribute]) -> Result<bool, Errno> {
    Ok(!keeps.attributes() || read(file, keeps)? == wanted)
}

/// Makes it so that the file has these and, of the kinds that are kept, no others. The error is with the name of the
/// attribute that could not be set; a fresh file may have some from a directory's default list.
pub(crate) fn set(file: impl AsFd, keeps: Keeps, wanted: &[Attribute]) -> Result<(), (String, Errno)> {
    if !keeps.attributes() {
        return Ok(());
    }
    let there = names(&file, keeps).map_err(|errno| (String::new(), errno))?;
    for name in there.into_iter().filter(|name| !wanted.iter().any(|wanted| wanted.name == *name)) {
        match rustix::fs::fremovexattr(&file, name.as_str()) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(errno) => return Err((name, errno)),
        }
    }
    for Attribute { name, value } in wanted {
        rustix::fs::fsetxattr(&file, name.as_str(), value, rustix::fs::XattrFlags::empty())
            .map_err(|errno| (name.clone(), errno))?;
    }
    Ok(())
}

fn names(file: impl AsFd, keeps: Keeps) -> Result<Vec<String>, Errno> {
    if !keeps.attributes() {
        return Ok(Vec::new());
    }
    let mut buffer = vec![0u8; 256];
    for _ in 0..READS_MAX {
        match rustix::fs::flistxattr(&file, buffer.as_mut_slice()) {
            Ok(bytes) => return Ok(split(&buffer[..bytes], keeps)),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(Errno::RANGE) => buffer.resize(ATTRIBUTE_BYTES_MAX, 0),
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::RANGE)
}

/// A name that is not UTF-8 is of no kind that is kept: those are text by rule.
fn split(list: &[u8], keeps: Keeps) -> Vec<String> {
    let names = list.split(|&byte| byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let mut kept: Vec<String> = names.filter(|name| keeps.keeps(name)).map(str::to_owned).collect();
    kept.sort_unstable();
    kept
}

/// None if it went meanwhile.
fn value(file: impl AsFd, name: &str) -> Result<Option<Vec<u8>>, Errno> {
    let mut buffer = vec![0u8; 256];
    for _ in 0..READS_MAX {
        match rustix::fs::fgetxattr(&file, name, buffer.as_mut_slice()) {
            Ok(bytes) => {
                buffer.truncate(bytes);
                return Ok(Some(buffer));
            }
            Err(Errno::NODATA) => return Ok(None),
            Err(Errno::RANGE) => buffer.resize(ATTRIBUTE_BYTES_MAX, 0),
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::RANGE)
}

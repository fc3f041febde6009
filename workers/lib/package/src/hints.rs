//! What the last build on this machine remembers of files, so that the next one reads only what changed. A hint is
//! never needed and never trusted beyond its stat: lost, foreign or damaged ones cost reading, not correctness.

use schemas::Digest;

use crate::walk::Stat;
use crate::wire::{DIGEST_BYTES, Reader, put_signed, put_varint};

const MAGIC: &[u8; 8] = b"TIDEHNT\x01";

/// A file changed again within one tick of its file system's clock looks unchanged. So a file whose times lie less
/// than this before the build began is not remembered (2 s: the coarsest clock in use, FAT's).
pub const CLOCK_GRAIN_NS: i64 = 2_000_000_000;

/// Names the content of a file: from the digests of its chunks, in order.
pub type ContentId = [u8; 16];

pub fn content_id<'a>(mut chunks: impl ExactSizeIterator<Item = &'a Digest>) -> ContentId {
    let whole = match chunks.len() {
        1 => chunks.next().expect("one chunk").0,
        _ => {
            let mut hasher = blake3::Hasher::new();
            chunks.for_each(|digest| {
                hasher.update(&digest.0);
            });
            *hasher.finalize().as_bytes()
        }
    };
    whole.first_chunk().copied().expect("32 bytes hold 16")
}

/// Writes files in order of their paths.
pub struct HintsWriter {
    out: Vec<u8>,
    last_path: Vec<u8>,
    began_ns: i64,
}

impl HintsWriter {
    /// `machine` names whose file systems the stats are of; `began_ns` is the time at which the build began to look.
    pub fn new(machine: &str, began_ns: i64) -> HintsWriter {
        let mut out = MAGIC.to_vec();
        put_varint(&mut out, machine.len() as u64);
        out.extend_from_slice(machine.as_bytes());
        HintsWriter { out, last_path: Vec::new(), began_ns }
    }

    pub fn add(&mut self, path: &str, stat: &Stat, content: &ContentId) {
        if stat.mtime_ns.max(stat.ctime_ns).saturating_add(CLOCK_GRAIN_NS) > self.began_ns {
            return;
        }
        let shared = path.bytes().zip(&self.last_path).take_while(|(a, b)| a == *b).count();
        put_varint(&mut self.out, shared as u64);
        put_varint(&mut self.out, (path.len() - shared) as u64);
        self.out.extend_from_slice(&path.as_bytes()[shared..]);
        self.last_path.truncate(shared);
        self.last_path.extend_from_slice(&path.as_bytes()[shared..]);
        put_varint(&mut self.out, stat.bytes);
        put_signed(&mut self.out, stat.mtime_ns);
        put_signed(&mut self.out, stat.ctime_ns.wrapping_sub(stat.mtime_ns));
        put_varint(&mut self.out, stat.inode);
        put_varint(&mut self.out, stat.device);
        self.out.extend_from_slice(content);
    }

    pub fn finish(mut self) -> Vec<u8> {
        let digest = Digest::of(&self.out);
        self.out.extend_from_slice(&digest.0);
        self.out
    }
}

/// Hints of one machine, read from front to back.
pub struct Hints {
    bytes: Vec<u8>,
    start: usize,
}

impl Hints {
    /// `None` if they are damaged, of another version or of another machine.
    pub fn open(mut bytes: Vec<u8>, machine: &str) -> Option<Hints> {
        let end = bytes.len().checked_sub(DIGEST_BYTES)?;
        let digest = Digest(*bytes[end..].as_array()?);
        bytes.truncate(end);
        if Digest::of(&bytes) != digest {
            return None;
        }
        let mut reader = Reader::new(bytes.strip_prefix(MAGIC)?);
        let machine_bytes = usize::try_from(reader.varint().ok()?).ok()?;
        if reader.take(machine_bytes).ok()? != machine.as_bytes() {
            return None;
        }
        let start = bytes.len() - reader.left();
        Some(Hints { bytes, start })
    }

    pub(crate) fn read(&self) -> HintsReader<'_> {
        let reader = Reader::new(&self.bytes[self.start..]);
        HintsReader { reader, path: Vec::new(), current: None }
    }
}

/// Asked for paths in ascending order.
pub(crate) struct HintsReader<'a> {
    reader: Reader<'a>,
    path: Vec<u8>,
    current: Option<(Stat, ContentId)>,
}

impl HintsReader<'_> {
    /// The content of the file, if its stat is the remembered one.
    pub fn content_of(&mut self, path: &str, stat: &Stat) -> Option<ContentId> {
        while self.current.is_none() || self.path.as_slice() < path.as_bytes() {
            self.current = Some(self.next()?);
        }
        let (remembered, content) = self.current?;
        (self.path == path.as_bytes() && remembered == *stat).then_some(content)
    }

    fn next(&mut self) -> Option<(Stat, ContentId)> {
        let reader = &mut self.reader;
        let shared = usize::try_from(reader.varint().ok()?).ok()?;
        let rest = usize::try_from(reader.varint().ok()?).ok()?;
        self.path.truncate(shared);
        self.path.extend_from_slice(reader.take(rest).ok()?);
        let bytes = reader.varint().ok()?;
        let mtime_ns = reader.signed().ok()?;
        let ctime_ns = mtime_ns.wrapping_add(reader.signed().ok()?);
        let (inode, device) = (reader.varint().ok()?, reader.varint().ok()?);
        let content = *reader.take(16).ok()?.as_array()?;
        Some((Stat { bytes, mtime_ns, ctime_ns, inode, device }, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD_NS: i64 = 1_000_000_000_000;

    fn stat(inode: u64) -> Stat {
        Stat { bytes: 7, mtime_ns: OLD_NS, ctime_ns: OLD_NS + 5, inode, device: 3 }
    }

    fn two() -> Vec<u8> {
        let mut writer = HintsWriter::new("m1", OLD_NS + 10 * CLOCK_GRAIN_NS);
        writer.add("a/x", &stat(1), &[1; 16]);
        writer.add("a/y", &stat(2), &[2; 16]);
        writer.finish()
    }

    #[test]
    fn a_file_is_known_only_with_exactly_its_stat() {
        let hints = Hints::open(two(), "m1").unwrap();
        let asked = |path, stat: Stat| hints.read().content_of(path, &stat);
        assert_eq!(asked("a/x", stat(1)), Some([1; 16]));
        assert_eq!(asked("a/y", stat(2)), Some([2; 16]));
        for other in [
            Stat { bytes: 8, ..stat(1) },
            Stat { mtime_ns: OLD_NS + 1, ..stat(1) },
            Stat { ctime_ns: OLD_NS, ..stat(1) },
            Stat { device: 4, ..stat(1) },
            stat(2),
        ] {
            assert_eq!(asked("a/x", other), None);
        }
        assert_eq!(asked("a", stat(1)), None);
        assert_eq!(asked("b", stat(1)), None);
    }

    #[test]
    fn a_reader_goes_on_over_paths_that_are_new_or_gone() {
        let hints = Hints::open(two(), "m1").unwrap();
        let mut reader = hints.read();
        assert_eq!(reader.content_of("a/new", &stat(1)), None);
        assert_eq!(reader.content_of("a/xx", &stat(1)), None);
        assert_eq!(reader.content_of("a/y", &stat(2)), Some([2; 16]));
        assert_eq!(reader.content_of("z", &stat(2)), None);
    }

    #[test]
    fn a_file_changed_within_the_clock_grain_of_the_build_is_not_remembered() {
        for (age_ns, known) in [(CLOCK_GRAIN_NS - 1, false), (CLOCK_GRAIN_NS, true)] {
            let mut writer = HintsWriter::new("m1", stat(1).ctime_ns + age_ns);
            writer.add("a", &stat(1), &[1; 16]);
            let hints = Hints::open(writer.finish(), "m1").unwrap();
            assert_eq!(hints.read().content_of("a", &stat(1)).is_some(), known, "{age_ns}");
        }
    }

    #[test]
    fn damaged_and_foreign_hints_are_no_hints() {
        let good = two();
        assert!(Hints::open(good.clone(), "m2").is_none());
        for at in 0..good.len() {
            assert!(Hints::open(good[..at].to_vec(), "m1").is_none());
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(Hints::open(bad, "m1").is_none());
        }
    }
}

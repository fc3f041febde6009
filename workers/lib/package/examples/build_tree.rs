//! Builds a directory into a folder of objects and says what it cost:
//! `build_tree SOURCE OUT [PREVIOUS_INDEX [HINTS]]`. What it writes to OUT: packs, `index`, `hints`.

use std::collections::HashSet;
use std::fs;
use std::io::{Error, Result};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use package::build::{Input, build};
use package::hints::Hints;
use package::walk::walk;
use package::{Index, Pack, Watch};
use schemas::definitions::FileSource;

const MACHINE: &str = "example";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [source, out, rest @ ..] = args.as_slice() else {
        return Err(Error::other("usage: build_tree SOURCE OUT [PREVIOUS_INDEX [HINTS]]"));
    };
    fs::create_dir_all(out)?;
    let began = Instant::now();
    let began_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i64;
    let previous = rest.first().map(|path| Index::decode(&fs::read(path)?).map_err(Error::other)).transpose()?;
    let hints = rest.get(1).and_then(|path| Hints::open(fs::read(path).ok()?, MACHINE));
    let (watch, threads) = (Watch::default(), thread::available_parallelism().map_or(2, usize::from));
    let loaded = began.elapsed();
    let of =
        FileSource { path: source.clone(), subscriber: None, into: None, include: Vec::new(), exclude: Vec::new() };
    let tree = walk(&[of], threads, &watch).map_err(Error::other)?;
    let listed = began.elapsed();
    let (mut line, packs) = sync_channel(1);
    let built = thread::scope(|scope| {
        let writer = scope.spawn(|| write_packs(Path::new(out), packs));
        let input = Input {
            tree,
            previous: previous.as_ref(),
            lost: &HashSet::new(),
            hints: hints.as_ref(),
            threads,
            watch: &watch,
        };
        let built = build(input, &mut line).map_err(Error::other);
        drop(line);
        writer.join().map_err(|_| Error::other("the writer panicked"))??;
        built
    })?;
    let read = began.elapsed();
    let index = built.index.seal();
    fs::write(Path::new(out).join("index"), &index.bytes)?;
    fs::write(Path::new(out).join("hints"), built.hints(MACHINE, began_ns))?;
    let (totals, all) = (built.index.totals(), began.elapsed());
    println!("{} files, {} bytes, {} read", totals.files, totals.bytes, built.bytes_read);
    let new: u64 = built.index.packs.iter().filter(|p| built.new_packs.contains(&p.digest)).map(|p| p.bytes).sum();
    println!("{} frames of {} chunks", built.index.frames.len(), built.index.chunks.len());
    println!(
        "{} bytes stored in all, {new} new, index {} of {}",
        totals.stored_bytes, index.at.bytes, index.at.raw_bytes
    );
    println!(
        "load {loaded:.3?} list {:.3?} build {:.3?} index {:.3?}: {all:.3?}",
        listed - loaded,
        read - listed,
        all - read
    );
    Ok(())
}

fn write_packs(out: &Path, packs: Receiver<Pack>) -> Result<()> {
    packs.iter().try_for_each(|pack| fs::write(out.join(pack.digest.hex()), &pack.bytes))
}

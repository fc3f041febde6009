//! A tree of tens of thousands of files and hundreds of megabytes, made from a seed in seconds: mostly small files, some larger,
//! a few large; every other one does not compress. It knows nothing of how it is distributed.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::chance::Chance;
use crate::tree::{NAMES, WORDS, folder, oddities};

const FILES: usize = 20_200;
const THREADS: usize = 2;
const FILES_PER_FOLDER: usize = 40;
const SMALL_BYTES_MAX: usize = 12 << 10;
const MEDIUM_BYTES_MAX: usize = 512 << 10;
const LARGE_BYTES_MAX: usize = 16 << 20;
/// Of so many files one is of that size; odd, so that both kinds of content come in it.
const MEDIUM_EVERY: usize = 51;
const LARGE_EVERY: usize = 1_249;
const NOISE_BYTES: usize = 1 << 20;
const PHRASES: usize = 16_384;
const WORDS_PER_PHRASE: usize = 6;

/// The root must not exist.
pub fn make(root: &Path, seed: u64) {
    for number in 0..FILES.div_ceil(FILES_PER_FOLDER) {
        fs::create_dir_all(folder(root, number)).unwrap();
    }
    let matter = Matter::new(seed);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let matter = &matter;
            scope.spawn(move || {
                for number in (thread..FILES).step_by(THREADS) {
                    matter.write(root, number);
                }
            });
        }
    });
    oddities(root);
}

/// What all files are made of: noise that each takes under a key of its own, and phrases that each puts in an order of its own.
struct Matter {
    seed: u64,
    noise: Vec<u8>,
    phrases: Vec<String>,
}

impl Matter {
    fn new(seed: u64) -> Matter {
        let mut chance = Chance::new(seed);
        let noise = (0..NOISE_BYTES / 8).flat_map(|_| chance.number().to_le_bytes()).collect();
        let mut phrase = || (0..WORDS_PER_PHRASE).map(|_| *chance.pick(&WORDS)).collect();
        let phrases = (0..PHRASES).map(|_| phrase()).collect();
        Matter { seed, noise, phrases }
    }

    fn write(&self, root: &Path, number: usize) {
        let mut chance = Chance::new(self.seed ^ (number as u64) << 32);
        let path = folder(root, number / FILES_PER_FOLDER).join(format!("{}-{number}", chance.pick(&NAMES)));
        let bytes = bytes_of(number, &mut chance);
        let content =
            if number.is_multiple_of(2) { self.noise(&mut chance, bytes) } else { self.prose(&mut chance, bytes) };
        let mut file = File::create(path).unwrap();
        file.write_all(&content).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + number as u64)).unwrap();
    }

    /// Another key for each stretch: nothing occurs twice.
    fn noise(&self, chance: &mut Chance, bytes: usize) -> Vec<u8> {
        let mut content = Vec::with_capacity(bytes.next_multiple_of(8));
        while content.len() < bytes {
            let key = chance.number();
            let stretch = (bytes - content.len()).next_multiple_of(8).min(NOISE_BYTES);
            for word in self.noise[..stretch].chunks_exact(8) {
                let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
                content.extend_from_slice(&(word ^ key).to_le_bytes());
            }
        }
        content.truncate(bytes);
        content
    }

    fn prose(&self, chance: &mut Chance, bytes: usize) -> Vec<u8> {
        let mut content = Vec::with_capacity(bytes + 1_024);
        while content.len() < bytes {
            content.extend_from_slice(chance.pick(&self.phrases).as_bytes());
        }
        content.truncate(bytes);
        content
    }
}

/// From half of the largest of its kind up.
fn bytes_of(number: usize, chance: &mut Chance) -> usize {
    let max = match number {
        n if n % LARGE_EVERY == 1 => LARGE_BYTES_MAX,
        n if n % MEDIUM_EVERY == 2 => MEDIUM_BYTES_MAX,
        _ => SMALL_BYTES_MAX,
    };
    max / 2 + chance.below(max / 2)
}

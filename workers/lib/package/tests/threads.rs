//! One large file on many threads: the same packs and index as on one, and no more in memory than is allowed for.

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use package::build::{Input, build};
use package::limits::PACK_BYTES_TARGET;
use package::walk::walk;
use package::{Built, Pack, PackSink, SinkClosed, Watch};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{Source, noise};

/// What a large file is made of, one after the other.
#[derive(Debug, Clone)]
enum Stretch {
    Noise {
        seed: u8,
        bytes: usize,
    },
    Run {
        byte: u8,
        bytes: usize,
    },
    /// A short word again and again: cuts fall where they fall in every part.
    Words {
        seed: u8,
        period: usize,
        bytes: usize,
    },
}

fn stretch() -> impl Strategy<Value = Stretch> {
    let bytes = || 1_000..3_000_000usize;
    prop_oneof![
        3 => (0..4u8, bytes()).prop_map(|(seed, bytes)| Stretch::Noise { seed, bytes }),
        1 => (0..3u8, bytes()).prop_map(|(byte, bytes)| Stretch::Run { byte, bytes }),
        2 => (0..4u8, 10..9_000usize, bytes()).prop_map(|(seed, period, bytes)| Stretch::Words { seed, period, bytes }),
    ]
}

fn content(stretches: &[Stretch]) -> Vec<u8> {
    let one = |stretch: &Stretch| match stretch {
        Stretch::Noise { seed, bytes } => noise(&seed.to_string(), *bytes),
        Stretch::Run { byte, bytes } => vec![*byte; *bytes],
        Stretch::Words { seed, period, bytes } => {
            noise(&seed.to_string(), *period).into_iter().cycle().take(*bytes).collect()
        }
    };
    stretches.iter().flat_map(one).collect()
}

fn built(source: &Source, threads: usize) -> (Built, Vec<Pack>) {
    let watch = Watch::default();
    let tree = walk(&source.sources(), threads, &watch).unwrap();
    let mut packs = Vec::new();
    let built =
        build(Input { tree, previous: None, lost: &HashSet::new(), hints: None, threads, watch: &watch }, &mut packs)
            .unwrap();
    (built, packs)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_single_large_file_gives_the_same_packs_and_index_on_any_number_of_threads(stretches in vec(stretch(), 4..9)) {
        let source = Source::new();
        source.write("image", content(&stretches));
        let (one, packs) = built(&source, 1);
        for threads in [2, 3] {
            let (many, packs_of_many) = built(&source, threads);
            prop_assert_eq!(&many.index, &one.index, "{} threads", threads);
            prop_assert!(packs_of_many == packs, "{} threads", threads);
        }
    }
}

/// Takes nothing until no thread of the build does anything more.
struct Stuck<'a> {
    watch: &'a Watch,
    taken: u64,
    ahead_most: Arc<AtomicUsize>,
}

const PATIENCE: Duration = Duration::from_secs(30);
const STILL: Duration = Duration::from_millis(300);

impl PackSink for Stuck<'_> {
    fn put(&mut self, pack: Pack) -> Result<(), SinkClosed> {
        let begun = Instant::now();
        let (mut seen, mut since) = (self.watch.seen().bytes_done, Instant::now());
        while since.elapsed() < STILL && begun.elapsed() < PATIENCE {
            std::thread::yield_now();
            let now = self.watch.seen().bytes_done;
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        self.ahead_most.fetch_max((seen - self.taken) as usize, Ordering::Relaxed);
        self.taken += pack.bytes.len() as u64;
        Ok(())
    }
}

/// A portion is at most 4 MiB and a frame 512 KiB; of these three and 24 wait for each thread.
const AHEAD_MAX_PER_THREAD: usize = 3 * (4 << 20) + 24 * (512 << 10);

#[test]
fn while_nobody_takes_its_packs_a_build_reads_no_more_than_it_may_hold() {
    let source = Source::new();
    source.write("image", noise("image", 90_000_000));
    for threads in [1, 2] {
        let (watch, ahead_most) = (Watch::default(), Arc::new(AtomicUsize::new(0)));
        let tree = walk(&source.sources(), threads, &watch).unwrap();
        let mut sink = Stuck { watch: &watch, taken: 0, ahead_most: ahead_most.clone() };
        build(Input { tree, previous: None, lost: &HashSet::new(), hints: None, threads, watch: &watch }, &mut sink)
            .unwrap();
        let (ahead, most) = (ahead_most.load(Ordering::Relaxed), AHEAD_MAX_PER_THREAD * threads + PACK_BYTES_TARGET);
        assert!(
            ahead > PACK_BYTES_TARGET && ahead <= most,
            "{ahead} bytes read ahead on {threads} threads, {most} allowed"
        );
    }
}

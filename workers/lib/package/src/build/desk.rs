//! Hands work to threads and takes results back in order. What waits is bounded: portions read ahead and frames in
//! compression each have a limit, and both stand still while the sink is busy.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::buffer::Pool;
use super::pack::Packer;
use super::read::{ReadUnit, Reading};
use super::sequence::{RawFrame, Sequence};
use crate::frame::{FrameEncoder, Stored};
use crate::source_error::BuildError;
use crate::watch::Watch;

/// Portions read and not yet ordered, for each thread. A portion has at most 4 MiB.
const UNITS_AHEAD_PER_THREAD: usize = 3;
/// Frames closed and not yet packed, for each thread. A frame has about 256 KiB of content.
const FRAMES_AHEAD_PER_THREAD: usize = 24;
/// How soon a cancelled build notices while nothing else happens.
const CANCEL_LOOK: Duration = Duration::from_millis(100);

pub(super) struct Desk {
    state: Mutex<State>,
    /// For the threads that work.
    more: Condvar,
    /// For the thread that orders.
    news: Condvar,
    units: usize,
    units_ahead: usize,
    frames_ahead: u32,
    /// Buffers for reading; they come back when their chunks are compressed.
    pub buffers: Pool,
    outputs: Pool,
}

#[derive(Default)]
struct State {
    frames_todo: VecDeque<(u32, RawFrame)>,
    next_unit: usize,
    units_ordered: usize,
    units_done: HashMap<usize, Result<ReadUnit, BuildError>>,
    frames_done: HashMap<u32, Stored>,
    stop: bool,
    panicked: bool,
}

enum Work {
    Read(usize),
    Compress(u32, RawFrame),
}

impl Desk {
    pub fn new(threads: usize, units: usize) -> Desk {
        Desk {
            state: Mutex::default(),
            more: Condvar::new(),
            news: Condvar::new(),
            units,
            units_ahead: UNITS_AHEAD_PER_THREAD * threads,
            frames_ahead: (FRAMES_AHEAD_PER_THREAD * threads) as u32,
            buffers: Pool::default(),
            outputs: Pool::default(),
        }
    }

    /// One thread's share, until nothing is left.
    pub fn work(&self, reading: &Reading) {
        let _guard = StopOnPanic(self);
        let mut encoder = FrameEncoder::new();
        let mut raw = Vec::new();
        while let Some(work) = self.next_work() {
            match work {
                Work::Read(unit) => {
                    let result = reading.read(unit, self.buffers.take());
                    self.lock().units_done.insert(unit, result);
                }
                Work::Compress(number, frame) => {
                    raw.clear();
                    frame.slices.iter().for_each(|(buffer, range)| raw.extend_from_slice(&buffer[range.clone()]));
                    drop(frame);
                    let stored = encoder.encode(&raw, self.outputs.take());
                    self.lock().frames_done.insert(number, stored);
                }
            }
            self.news.notify_one();
        }
    }

    /// Compressing goes before reading: it frees memory, reading takes some.
    fn next_work(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.stop {
                return None;
            }
            if let Some((number, frame)) = state.frames_todo.pop_front() {
                return Some(Work::Compress(number, frame));
            }
            if state.next_unit < self.units && state.next_unit < state.units_ordered + self.units_ahead {
                state.next_unit += 1;
                return Some(Work::Read(state.next_unit - 1));
            }
            state = self.more.wait(state).expect("no panic at the desk");
        }
    }

    /// The caller's share: ends when every portion is ordered and every frame packed.
    pub fn order(&self, sequence: &mut Sequence, packer: &mut Packer, watch: &Watch) -> Result<(), BuildError> {
        let result = self.order_all(sequence, packer, watch);
        self.lock().stop = true;
        self.more.notify_all();
        result
    }

    fn order_all(&self, sequence: &mut Sequence, packer: &mut Packer, watch: &Watch) -> Result<(), BuildError> {
        let (mut unit, mut packed, mut numbered) = (0, 0u32, 0u32);
        loop {
            let (read, stored) = self.wait_for_news(unit, packed, numbered, watch)?;
            for frame in stored {
                packer.add(frame, &self.outputs)?;
                packed += 1;
            }
            let mut full = Vec::new();
            if let Some(read) = read {
                sequence.take(read?, &mut full);
                unit += 1;
            }
            if unit == self.units {
                sequence.finish(&mut full);
            }
            let mut state = self.lock();
            state.units_ordered = unit;
            for frame in full {
                state.frames_todo.push_back((numbered, frame));
                numbered += 1;
            }
            drop(state);
            self.more.notify_all();
            if unit == self.units && packed == numbered {
                return Ok(());
            }
        }
    }

    /// The next portion, if it is read and there is room for its frames, and all frames whose turn it is.
    #[allow(clippy::type_complexity)]
    fn wait_for_news(
        &self,
        unit: usize,
        packed: u32,
        numbered: u32,
        watch: &Watch,
    ) -> Result<(Option<Result<ReadUnit, BuildError>>, Vec<Stored>), BuildError> {
        let mut state = self.lock();
        loop {
            watch.check()?;
            assert!(!state.panicked, "a thread of the build panicked");
            let stored: Vec<Stored> = (packed..).map_while(|number| state.frames_done.remove(&number)).collect();
            let room = numbered - packed < self.frames_ahead;
            let read = if room { state.units_done.remove(&unit) } else { None };
            if read.is_some() || !stored.is_empty() || self.units == 0 {
                return Ok((read, stored));
            }
            state = self.news.wait_timeout(state, CANCEL_LOOK).expect("no panic at the desk").0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic at the desk")
    }
}

/// Else the thread that orders would wait for ever for what a panicked one had in hand.
struct StopOnPanic<'a>(&'a Desk);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(mut state) = self.0.state.lock()
        {
            state.panicked = true;
            state.stop = true;
            self.0.news.notify_all();
            self.0.more.notify_all();
        }
    }
}

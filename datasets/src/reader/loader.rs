//! Reading ahead for training: threads that prepare the next frames while one is used.

use super::items::Reader;
use super::order::Order;
use super::value::Item;
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Frames that one thread reads in a row. Neighbours share key frames, so in sequence longer runs
/// decode less; scattered frames share nothing.
const RUN_SEQUENTIAL: u64 = 8;
const RUN_SHUFFLED: u64 = 2;
/// More threads than any machine of today can use.
const THREAD_LIMIT: usize = 256;

/// How frames are read ahead.
#[derive(Debug, Clone)]
pub struct LoaderOptions {
    /// The order of the frames.
    pub order: Order,
    /// Reading threads, at least 1.
    pub threads: usize,
    /// Most frames that wait, beyond those that threads work on.
    pub ahead: usize,
    /// Episodes to visit; `None` for all.
    pub episodes: Option<Vec<u64>>,
    /// Frames to leave out at the end of each episode, e.g. those without a whole action window.
    pub drop_last: u64,
    /// Where in the order to begin: a run is resumed by the number of frames it has used.
    pub start: u64,
}

impl Default for LoaderOptions {
    /// All frames in sequence, one thread a core, 32 frames ahead.
    fn default() -> Self {
        Self {
            order: Order::Sequential,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            ahead: 32,
            episodes: None,
            drop_last: 0,
            start: 0,
        }
    }
}

/// Gives frames one after the other. The order depends on the options alone, never on timing. After
/// an error about one frame the next ones still come.
#[derive(Debug)]
pub struct Loader {
    count: u64,
    position: u64,
    run: u64,
    /// What came of the current run, last frame first.
    ready: Vec<Result<Item>>,
    workers: Vec<Worker>,
    stop: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Worker {
    results: Option<Receiver<Vec<Result<Item>>>>,
    thread: Option<JoinHandle<()>>,
}

/// What all threads need to know.
#[derive(Debug)]
struct Job {
    reader: Reader,
    order: Order,
    frames: Selection,
    start: u64,
    run: u64,
    threads: u64,
}

/// The frames to visit, as ranges of dataset-wide numbers.
#[derive(Debug)]
struct Selection {
    ranges: Vec<Range<u64>>,
    /// Frames before each range.
    before: Vec<u64>,
    count: u64,
}

impl Selection {
    fn new(reader: &Reader, options: &LoaderOptions) -> Result<Self> {
        let dataset = reader.dataset();
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut add = |entry: &crate::episodes::Episode| {
            let end = entry.to_index.saturating_sub(options.drop_last);
            if end > entry.from_index {
                ranges.push(entry.from_index..end);
            }
        };
        match &options.episodes {
            None => dataset.episodes().iter().for_each(&mut add),
            Some(chosen) => {
                for episode in chosen {
                    add(dataset.episode(*episode)?);
                }
            }
        }
        let mut count = 0_u64;
        let before = ranges
            .iter()
            .map(|r| {
                let before = count;
                count = count.saturating_add(r.end - r.start);
                before
            })
            .collect();
        Ok(Self {
            before,
            ranges,
            count,
        })
    }

    fn index(&self, at: u64) -> u64 {
        let range = self
            .before
            .partition_point(|before| *before <= at)
            .saturating_sub(1);
        self.ranges
            .get(range)
            .map_or(u64::MAX, |r| r.start + (at - self.before[range]))
    }
}

impl Reader {
    /// Starts to read ahead.
    ///
    /// # Errors
    /// If an episode is asked for that is not there, or no thread can be started.
    pub fn load(&self, options: &LoaderOptions) -> Result<Loader> {
        let frames = Selection::new(self, options)?;
        let count = frames.count.saturating_sub(options.start);
        let run = match options.order {
            Order::Sequential => RUN_SEQUENTIAL,
            Order::Shuffled { .. } => RUN_SHUFFLED,
        };
        let threads = options.threads.clamp(1, THREAD_LIMIT);
        let job = Arc::new(Job {
            reader: self.clone(),
            order: options.order,
            frames,
            start: options.start,
            run,
            threads: threads as u64,
        });
        let waiting = options.ahead.div_ceil(run as usize * threads).max(1);
        let stop = Arc::new(AtomicBool::new(false));
        let mut loader = Loader {
            count,
            position: 0,
            run,
            ready: Vec::new(),
            workers: Vec::new(),
            stop: stop.clone(),
        };
        for number in 0..threads as u64 {
            let (sender, results) = sync_channel(waiting);
            let (job, stop) = (job.clone(), stop.clone());
            let thread = std::thread::Builder::new()
                .name(format!("sinew-read-{number}"))
                .spawn(move || job.work(number, &sender, &stop))
                .map_err(|e| Error::Thread {
                    problem: format!("no reading thread: {e}"),
                })?;
            loader.workers.push(Worker {
                results: Some(results),
                thread: Some(thread),
            });
        }
        Ok(loader)
    }
}

impl Job {
    /// Thread `number` reads each `threads`-th run, so that the order needs no sorting and nobody
    /// runs further ahead than its channel holds.
    fn work(&self, number: u64, sender: &SyncSender<Vec<Result<Item>>>, stop: &AtomicBool) {
        let total = self.frames.count;
        let mut first = self.start.saturating_add(number.saturating_mul(self.run));
        while first < total {
            let mut items = Vec::with_capacity(self.run as usize);
            for position in first..total.min(first.saturating_add(self.run)) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let index = self.frames.index(self.order.at(position, total));
                items.push(self.reader.read(index, false));
            }
            items.reverse();
            if sender.send(items).is_err() {
                return;
            }
            first = first.saturating_add(self.run.saturating_mul(self.threads));
        }
    }
}

impl Loader {
    /// Frames that are still to come.
    pub fn remaining(&self) -> u64 {
        self.count - self.position
    }
}

impl Iterator for Loader {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        if self.position >= self.count {
            return None;
        }
        if self.ready.is_empty() {
            let turn = (self.position / self.run) as usize % self.workers.len();
            let received = self.workers[turn].results.as_ref().map(Receiver::recv);
            let Some(Ok(items)) = received else {
                // Only a panic ends a thread early; what it had to read is lost.
                self.position = self.count;
                return Some(Err(Error::Thread {
                    problem: "a reading thread ended early".into(),
                }));
            };
            self.ready = items;
        }
        self.position += 1;
        self.ready.pop()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.remaining());
        (left.unwrap_or(usize::MAX), left.ok())
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in &mut self.workers {
            // Closing the channel frees a thread that waits to send.
            worker.results = None;
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

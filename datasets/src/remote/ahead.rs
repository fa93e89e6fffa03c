//! Reading ahead: who reads a file in sequence gets the next blocks before asking for them.
//!
//! Never more is fetched ahead than was read in sequence before, so that random access wastes
//! little and a long sequence soon has megabytes on the way.

use super::blocks::BLOCK_BYTES;
use super::files::HubFile;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Threads that fetch ahead.
const THREADS: usize = 3;
/// Requests that wait for them; more are forgotten, and come when they are needed.
const WAITING: usize = 16;
/// Most blocks ahead of a reader.
const MOST_BLOCKS: u64 = (4 << 20) / BLOCK_BYTES;
/// Blocks in sequence before anything is fetched ahead.
const FIRST_BLOCKS: u64 = 2;
/// Readers of one file that are told apart.
const STREAMS: usize = 8;

/// Blocks of a file that should be here soon.
type Job = (Arc<HubFile>, Range<u64>);

/// The threads that fetch ahead.
#[derive(Debug)]
pub(super) struct Ahead {
    jobs: SyncSender<Job>,
}

impl Ahead {
    /// Starts the threads; they end when this is dropped. Without threads nothing is fetched ahead.
    pub(super) fn start() -> Self {
        let (jobs, waiting) = sync_channel(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..THREADS {
            let waiting = waiting.clone();
            let builder = std::thread::Builder::new().name(format!("sinew-ahead-{number}"));
            if let Err(error) = builder.spawn(move || work(&waiting)) {
                tracing::debug!(%error, "no thread to read ahead");
            }
        }
        Self { jobs }
    }

    /// Asks for blocks, unless the threads have enough to do.
    pub(super) fn ask(&self, file: Arc<HubFile>, blocks: Range<u64>) {
        let _ = self.jobs.try_send((file, blocks));
    }
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        let job = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok((file, blocks)) = job else {
            return;
        };
        if let Err(error) = file.bring(blocks) {
            // Whoever needs these blocks tries again and is told.
            tracing::debug!(%error, "reading ahead failed");
        }
    }
}

/// The readers of a file, as far as their reads show them.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// The one that read last comes last.
    recent: Vec<Stream>,
}

/// One reader.
#[derive(Debug, Clone, Copy)]
struct Stream {
    /// The block after the last one read.
    next: u64,
    /// Blocks read in sequence.
    read: u64,
    /// The block after the last one asked for.
    asked: u64,
}

impl Streams {
    /// Notes that blocks were read; the blocks to fetch ahead, in a file of `count` blocks.
    pub(super) fn note(&mut self, blocks: &Range<u64>, count: u64) -> Option<Range<u64>> {
        let goes_on = |s: &Stream| blocks.start <= s.next && blocks.start + 1 >= s.next;
        let known = self.recent.iter().rposition(goes_on);
        let mut stream = match known {
            Some(at) => self.recent.remove(at),
            None => Stream {
                next: blocks.start,
                read: 0,
                asked: blocks.end,
            },
        };
        stream.read += blocks.end.saturating_sub(stream.next);
        stream.next = stream.next.max(blocks.end);
        stream.asked = stream.asked.max(stream.next);
        let wanted = stream.read.min(MOST_BLOCKS);
        let mut ahead = None;
        if stream.read > FIRST_BLOCKS && stream.asked - stream.next <= wanted / 2 {
            let end = (stream.next + wanted).min(count);
            if stream.asked < end {
                ahead = Some(stream.asked..end);
                stream.asked = end;
            }
        }
        if self.recent.len() >= STREAMS {
            self.recent.remove(0);
        }
        self.recent.push(stream);
        ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_read_ahead_ever_further_and_nothing_is_asked_for_twice() {
        let mut streams = Streams::default();
        let mut asked: Vec<Range<u64>> = Vec::new();
        for block in 0..1000 {
            asked.extend(streams.note(&(block..block + 1), 1000));
        }
        assert_eq!(asked.first(), Some(&(3..6)));
        assert!(asked.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(
            asked
                .iter()
                .all(|blocks| blocks.end - blocks.start <= MOST_BLOCKS)
        );
        assert_eq!(asked.last().map(|blocks| blocks.end), Some(1000));
        assert!(asked.len() < 40, "{} requests", asked.len());
    }

    #[test]
    fn jumps_are_not_read_ahead_and_readers_are_told_apart() {
        let mut streams = Streams::default();
        for jump in 0..100 {
            let block = jump * 37 % 101 * 5;
            assert_eq!(streams.note(&(block..block + 2), 1000), None);
        }
        let mut streams = Streams::default();
        let mut ahead = [0, 0];
        for step in 0..50 {
            for (reader, start) in [0, 500].into_iter().enumerate() {
                let block = start + step;
                let asked = streams.note(&(block..block + 1), 1000);
                ahead[reader] += u64::from(asked.is_some());
            }
        }
        assert!(ahead.iter().all(|n| *n > 3), "{ahead:?}");
    }
}

//! The recorder on a thread of its own, fed by the control loop through a wait-free ring.
//!
//! The loop offers rows: fixed-size values and shared frames, no allocation, no lock, no wait.
//! When the ring is full the row is dropped with its frames, counted and marked in the dataset (see
//! [`crate::EpisodeMarks`]), so that rows and frames always stay together; the ring is long enough
//! that this takes seconds of a stuck disk. [`Overload`] chooses otherwise.

use crate::error::{Error, Result};
use crate::recorder::{EpisodeSummary, Recorder};
use crate::spec::{ExtraSpec, ExtraType};
use crate::values::{self, Values};
use rtrb::{Consumer, Producer, RingBuffer};
use sinew_runtime::control::MAX_CAMERAS;
use sinew_runtime::frame::Frame;
use sinew_runtime::joints::MAX_JOINTS;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Most numbers of extra columns in one row.
pub const MAX_EXTRA: usize = 64;
/// Most texts of extra columns in one row.
pub const MAX_TEXTS: usize = 4;
/// How often the recorder's thread looks into the ring.
const POLL: Duration = Duration::from_millis(2);

/// One row as the loop gives it. Entries past the spec's lengths are ignored.
#[derive(Debug, Clone)]
pub struct LoopRow {
    /// State values.
    pub state: [f32; MAX_JOINTS],
    /// Action values.
    pub action: [f32; MAX_JOINTS],
    /// Numbers of the extra columns, one after the other: whole ones as they are up to 2^53, truth as
    /// 0 and 1.
    pub extra: [f64; MAX_EXTRA],
    /// Texts of the extra columns, one after the other; `None` for an empty one.
    pub texts: [Option<Arc<str>>; MAX_TEXTS],
    /// The row's task, if it is not that of the row before.
    pub task: Option<Arc<str>>,
    /// One frame a camera.
    pub frames: [Option<Arc<Frame>>; MAX_CAMERAS],
}

impl Default for LoopRow {
    fn default() -> Self {
        Self {
            state: [0.0; MAX_JOINTS],
            action: [0.0; MAX_JOINTS],
            extra: [0.0; MAX_EXTRA],
            texts: Default::default(),
            task: None,
            frames: Default::default(),
        }
    }
}

/// What became of an offered row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// On its way to the disk.
    Taken,
    /// No episode is being recorded, or it ended early.
    Idle,
    /// The ring was full; counted in [`SavedEpisode::dropped_rows`].
    Dropped,
}

/// What happens when the recorder cannot keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overload {
    /// Rows are dropped with their frames, counted, and the episode is marked with the places.
    #[default]
    DropRows,
    /// The episode ends before the first row that would be dropped.
    EndEpisode,
}

/// A row in the ring.
#[derive(Debug)]
struct Offer {
    take: u64,
    /// Rows dropped since the one before.
    dropped_before: u64,
    row: LoopRow,
}

/// The loop's end.
#[derive(Debug)]
pub struct RowSender {
    ring: Producer<Offer>,
    shared: Arc<Shared>,
    /// Take of the last offer.
    take: u64,
    /// Rows of that take dropped since the last that the ring took.
    dropped: u64,
}

#[derive(Debug, Default)]
struct Shared {
    /// Number of the take being recorded; 0 when none is.
    take: AtomicU64,
    /// Rows dropped in this take.
    dropped: AtomicU64,
    /// Why the take ended before it was to end.
    ended_early: Mutex<Option<String>>,
}

impl Shared {
    fn set_ended(&self, reason: Option<String>) {
        *self
            .ended_early
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

impl RowSender {
    /// Offers a row. Never waits, locks or allocates.
    pub fn offer(&mut self, row: LoopRow) -> Offered {
        let take = self.shared.take.load(Ordering::Acquire);
        if take == 0 {
            return Offered::Idle;
        }
        if self.take != take {
            (self.take, self.dropped) = (take, 0);
        }
        let offer = Offer {
            take,
            dropped_before: self.dropped,
            row,
        };
        if self.ring.push(offer).is_err() {
            self.dropped += 1;
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return Offered::Dropped;
        }
        self.dropped = 0;
        Offered::Taken
    }
}

/// A saved episode, and what the ring lost of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedEpisode {
    /// What was saved.
    pub summary: EpisodeSummary,
    /// Rows that the loop offered and the ring had no room for. Each leaves a gap of one period.
    pub dropped_rows: u64,
}

enum Command {
    Start(String, SyncSender<Result<()>>),
    Task(String, SyncSender<Result<()>>),
    Save(SyncSender<Result<SavedEpisode>>),
    Discard(SyncSender<Result<()>>),
    Finish(SyncSender<Result<crate::Info>>),
}

/// The control side: starts, saves and discards episodes. Its calls wait for disk and encoders, so
/// they must not come from the loop's thread.
#[derive(Debug)]
pub struct RecorderThread {
    commands: SyncSender<Command>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl RecorderThread {
    /// Moves `recorder` to a new thread behind a ring of `ring_rows` rows.
    pub fn spawn(recorder: Recorder, ring_rows: usize) -> Result<(Self, RowSender)> {
        Self::spawn_with(recorder, ring_rows, Overload::default())
    }

    /// [`Self::spawn`] with another policy for a recorder that cannot keep up.
    pub fn spawn_with(
        recorder: Recorder,
        ring_rows: usize,
        overload: Overload,
    ) -> Result<(Self, RowSender)> {
        let spec = recorder.spec();
        let joints = spec.state_names.len().max(spec.action_names.len());
        let is_text = |extra: &&ExtraSpec| extra.dtype == ExtraType::Text;
        let texts = spec.extras.iter().filter(is_text).count();
        let numbers = spec.extras.iter().filter(|e| !is_text(e));
        let numbers: usize = numbers.map(ExtraSpec::width).sum();
        let limits = [
            ("joints", joints, MAX_JOINTS),
            ("extra numbers", numbers, MAX_EXTRA),
            ("extra texts", texts, MAX_TEXTS),
            ("cameras", spec.cameras.len(), MAX_CAMERAS),
        ];
        if let Some((what, has, limit)) = limits.into_iter().find(|(_, has, limit)| has > limit) {
            return Err(Error::spec(format!(
                "a row of the control loop may have {limit} {what}; this has {has}"
            )));
        }
        let (producer, consumer) = RingBuffer::new(ring_rows.max(1));
        // One command at a time: each waits for its answer.
        let (commands, inbox) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let worker = Worker {
            recorder,
            ring: consumer,
            shared: shared.clone(),
            overload,
            take: 0,
            failure: None,
        };
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || worker.run(&inbox));
        let thread = thread.map_err(|e| Error::Thread {
            problem: e.to_string(),
        })?;
        Ok((
            Self {
                commands,
                thread: Some(thread),
                shared: shared.clone(),
            },
            RowSender {
                ring: producer,
                shared,
                take: 0,
                dropped: 0,
            },
        ))
    }

    /// Begins an episode: from now on rows are taken.
    pub fn start_episode(&self, task: &str) -> Result<()> {
        self.ask(|reply| Command::Start(task.to_owned(), reply))
    }

    /// Says that the rows offered from now on have another task. Without an episode, does nothing.
    pub fn set_task(&self, task: &str) -> Result<()> {
        self.ask(|reply| Command::Task(task.to_owned(), reply))
    }

    /// Stops taking rows, records those in the ring, and commits the episode.
    ///
    /// If the disk filled up, a camera was lost or an encoder failed, what was good until then is
    /// saved and [`EpisodeSummary::ended_early`] says why. When nothing was good, the error does.
    pub fn save_episode(&self) -> Result<SavedEpisode> {
        self.ask(Command::Save)
    }

    /// Stops taking rows and throws the episode away.
    pub fn discard_episode(&self) -> Result<()> {
        self.ask(Command::Discard)
    }

    /// Ends the recording and the thread; an episode in progress is thrown away.
    pub fn finish(mut self) -> Result<crate::Info> {
        let info = self.ask(Command::Finish);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| Error::Thread {
                problem: "it panicked".into(),
            })?;
        }
        info
    }

    /// Why the episode in progress takes no more rows, although nobody ended it. Save it to keep
    /// what came before.
    pub fn ended_early(&self) -> Option<String> {
        let ended = self.shared.ended_early.lock();
        ended.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ask<T>(&self, command: impl FnOnce(SyncSender<Result<T>>) -> Command) -> Result<T> {
        let gone = || Error::Thread {
            problem: "it ended earlier; see the log".into(),
        };
        let (reply, answer) = sync_channel(1);
        self.commands.send(command(reply)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

struct Worker {
    recorder: Recorder,
    ring: Consumer<Offer>,
    shared: Arc<Shared>,
    overload: Overload,
    take: u64,
    /// Why the take ended early.
    failure: Option<Error>,
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Command>) {
        loop {
            match inbox.recv_timeout(POLL) {
                Ok(Command::Finish(reply)) => {
                    self.close();
                    let _ = reply.send(self.recorder.finalize());
                    return;
                }
                Ok(command) => self.obey(command),
                Err(RecvTimeoutError::Timeout) => self.drain(),
                // The control side is gone without `finish`: what was saved is saved.
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
        }
    }

    // Replies to somebody who stopped waiting go nowhere, which is fine.
    fn obey(&mut self, command: Command) {
        match command {
            Command::Start(task, reply) => drop(reply.send(self.start(&task))),
            Command::Task(task, reply) => {
                self.drain();
                drop(reply.send(self.recorder.set_task(&task)));
            }
            Command::Save(reply) => drop(reply.send(self.save())),
            Command::Discard(reply) => {
                self.close();
                drop(reply.send(self.recorder.discard_episode()));
            }
            Command::Finish(_) => {}
        }
    }

    fn start(&mut self, task: &str) -> Result<()> {
        self.recorder.start_episode(task)?;
        self.take += 1;
        self.failure = None;
        self.shared.set_ended(None);
        self.shared.dropped.store(0, Ordering::Relaxed);
        self.shared.take.store(self.take, Ordering::Release);
        Ok(())
    }

    fn save(&mut self) -> Result<SavedEpisode> {
        self.close();
        let dropped_rows = self.shared.dropped.load(Ordering::Relaxed);
        if let Some(failure) = self.failure.take()
            && self.recorder.rows() == Some(0)
        {
            self.recorder.discard_episode()?;
            return Err(failure);
        }
        // The ring's own count includes those after the last row, which no row tells of.
        self.recorder.set_dropped(dropped_rows);
        let summary = self.recorder.save_episode()?;
        Ok(SavedEpisode {
            summary,
            dropped_rows,
        })
    }

    /// Takes no more rows and records those that are in the ring.
    fn close(&mut self) {
        self.shared.take.store(0, Ordering::Release);
        self.drain();
    }

    fn drain(&mut self) {
        while let Ok(offer) = self.ring.pop() {
            // A row that was on its way when its take ended belongs to no other.
            let wanted = offer.take == self.take && self.recorder.rows().is_some();
            if wanted
                && self.failure.is_none()
                && let Err(failure) = self.take_row(offer)
            {
                self.end(failure);
            }
        }
    }

    fn take_row(&mut self, offer: Offer) -> Result<()> {
        if offer.dropped_before > 0 && self.overload == Overload::EndEpisode {
            return Err(Error::EndedEarly {
                problem: "the machine could not keep up with recording".into(),
            });
        }
        self.recorder.note_dropped(offer.dropped_before);
        self.add(offer.row)
    }

    /// Takes no more rows of this take; those before `failure` can be saved.
    fn end(&mut self, failure: Error) {
        self.shared.take.store(0, Ordering::Release);
        let reason = match &failure {
            Error::EndedEarly { problem } => problem.clone(),
            other => other.to_string(),
        };
        self.recorder.end_early(&reason);
        self.shared.set_ended(Some(reason));
        self.failure = Some(failure);
    }

    fn add(&mut self, row: LoopRow) -> Result<()> {
        if let Some(task) = &row.task {
            self.recorder.set_task(task)?;
        }
        let spec = self.recorder.spec();
        let (states, actions) = (spec.state_names.len(), spec.action_names.len());
        let mut values = vec![
            Values::F32(row.state[..states].to_vec()),
            Values::F32(row.action[..actions].to_vec()),
        ];
        let texts = row.texts.iter().map(Option::as_deref);
        values.extend(values::from_loop(&spec.extras, &row.extra, texts));
        let frames: Vec<Arc<Frame>> = row.frames.into_iter().flatten().collect();
        self.recorder.add_values(values, &frames)
    }
}

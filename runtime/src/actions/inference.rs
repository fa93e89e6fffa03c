//! Policies beside the loop: a thread that computes chunks, and the loop's end of it.

use super::{ActionQueue, ChunkBuf, Dry, QueueConfig, QueueCounters};
use crate::clock::Clock;
use crate::control::{ActionOutcome, ActionSource, Observation};
use crate::histogram::{LatencyHistogram, Summary};
use crate::joints::JointTarget;
use crate::ring::{RingReader, RingWriter, ring};
use crate::stop::{StopCause, StopToken, panic_message};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle, Thread};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long the thread sleeps at most before it looks whether to stop.
const NAP: Duration = Duration::from_millis(20);
/// Buffers that go round: one being filled, one being read.
const BUFFERS: usize = 2;

/// Observations that wait for a policy that looks back and is busy.
const BACKLOG: usize = 32;

/// A policy: fills the chunk for an observation. It is given the newest observations, one a step, the
/// newest last: [`QueueConfig::window`] of them, fewer when there were not so many yet. The chunk comes
/// empty and starts at the step of the last one.
pub type Infer = Box<
    dyn FnMut(&[Observation], &mut ChunkBuf) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
        + Send,
>;

/// The newest observations, the newest last. Allocates only in [`Self::new`].
#[derive(Debug)]
pub(super) struct Window {
    held: VecDeque<Observation>,
    size: usize,
}

impl Window {
    pub(super) fn new(size: usize) -> Self {
        let size = size.max(1);
        Self {
            held: VecDeque::with_capacity(size),
            size,
        }
    }

    pub(super) fn push(&mut self, observation: Observation) {
        if self.held.len() == self.size {
            self.held.pop_front();
        }
        self.held.push_back(observation);
    }

    pub(super) fn slice(&mut self) -> &[Observation] {
        self.held.make_contiguous()
    }

    pub(super) fn clear(&mut self) {
        self.held.clear();
    }
}

/// What the loop hands to the thread.
#[derive(Debug)]
struct Request {
    observation: Observation,
    /// Whether a chunk is wanted, or the observation is only to be remembered.
    infer: bool,
}

/// Why an inference thread could not start or go on.
#[derive(Debug, Error)]
pub enum InferenceError {
    /// The system gave no thread.
    #[error("cannot start the inference thread: {0}; close other programs and try again")]
    Spawn(#[from] std::io::Error),
    /// The policy returned an error.
    #[error("inference failed: {0}")]
    Failed(Box<dyn std::error::Error + Send + Sync>),
    /// The policy panicked: a defect.
    #[error("inference panicked: {message}; please report this as a bug")]
    Panicked {
        /// The panic's words.
        message: String,
    },
    /// The policy did not come back.
    #[error(
        "inference has not returned for {waited_ms} ms after it was told to stop; it was left behind"
    )]
    Hangs {
        /// Time waited, ms.
        waited_ms: u128,
    },
}

/// What an inference thread did.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct InferenceReport {
    /// Time of each inference, µs.
    pub latency: Summary,
}

/// A running inference thread, at ordinary priority: it must never delay the loop.
#[derive(Debug)]
pub struct InferenceThread {
    handle: JoinHandle<Result<InferenceReport, InferenceError>>,
}

impl InferenceThread {
    /// Starts a thread that runs `infer` whenever the queue asks for a chunk, and returns the source
    /// that the loop acts on. When `infer` fails the thread sets `stop`.
    pub fn spawn(
        infer: Infer,
        config: QueueConfig,
        clock: Arc<dyn Clock>,
        stop: StopToken,
    ) -> Result<(Self, QueueSource), InferenceError> {
        let looks_back = config.window > 1;
        let (request_writer, requests) = ring(if looks_back { BACKLOG } else { 1 });
        let (chunk_writer, chunks) = ring(BUFFERS);
        let (mut free_writer, free) = ring(BUFFERS);
        for _ in 0..BUFFERS {
            free_writer.push(ChunkBuf::new(config.chunk, config.joints));
        }
        let worker = Worker {
            infer,
            window: Window::new(config.window),
            requests,
            chunks: chunk_writer,
            free,
            clock,
            latency: LatencyHistogram::new(),
        };
        let handle = Builder::new()
            .name("sinew-infer".to_owned())
            .spawn(move || worker.run(&stop))?;
        let source = QueueSource {
            queue: ActionQueue::new(config),
            requests: request_writer,
            chunks,
            free: free_writer,
            worker: handle.thread().clone(),
            looks_back,
            in_flight: false,
            ran_dry: false,
        };
        Ok((Self { handle }, source))
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits at most `patience` for the end, after the stop token was set, and says how it went.
    pub fn join(self, patience: Duration) -> Result<InferenceReport, InferenceError> {
        let start = Instant::now();
        self.handle.thread().unpark();
        while !self.handle.is_finished() {
            if start.elapsed() >= patience {
                return Err(InferenceError::Hangs {
                    waited_ms: patience.as_millis(),
                });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.handle.join().unwrap_or_else(|payload| {
            Err(InferenceError::Panicked {
                message: panic_message(payload.as_ref()),
            })
        })
    }
}

/// The thread's end of the rings.
struct Worker {
    infer: Infer,
    window: Window,
    requests: RingReader<Request>,
    chunks: RingWriter<ChunkBuf>,
    free: RingReader<ChunkBuf>,
    clock: Arc<dyn Clock>,
    latency: LatencyHistogram,
}

impl Worker {
    fn run(mut self, stop: &StopToken) -> Result<InferenceReport, InferenceError> {
        let ended = catch_unwind(AssertUnwindSafe(|| self.serve(stop))).unwrap_or_else(|payload| {
            Err(InferenceError::Panicked {
                message: panic_message(payload.as_ref()),
            })
        });
        if ended.is_err() {
            stop.request(StopCause::Inference);
        }
        ended.map(|()| InferenceReport {
            latency: self.latency.summary(),
        })
    }

    fn serve(&mut self, stop: &StopToken) -> Result<(), InferenceError> {
        while !stop.is_set() {
            let Some(request) = self.requests.pop() else {
                if self.requests.is_closed() {
                    break;
                }
                std::thread::park_timeout(NAP);
                continue;
            };
            let step = request.observation.step;
            self.window.push(request.observation);
            if !request.infer {
                continue;
            }
            // At most one request is on its way, so a buffer is always free.
            let Some(mut chunk) = self.free.pop() else {
                continue;
            };
            let start = self.clock.now();
            chunk.restart(step);
            (self.infer)(self.window.slice(), &mut chunk).map_err(InferenceError::Failed)?;
            self.latency.record(self.clock.now().saturating_sub(start));
            self.chunks.push(chunk);
        }
        Ok(())
    }
}

/// The loop's end: pops actions, and asks for the next chunk in time. Never waits, never allocates.
///
/// The observation is handed over at the moment of asking, so it is as new as the tick.
#[derive(Debug)]
pub struct QueueSource {
    queue: ActionQueue,
    requests: RingWriter<Request>,
    chunks: RingReader<ChunkBuf>,
    free: RingWriter<ChunkBuf>,
    worker: Thread,
    looks_back: bool,
    in_flight: bool,
    ran_dry: bool,
}

impl QueueSource {
    fn take_chunks(&mut self, step: u64) {
        while let Some(chunk) = self.chunks.pop() {
            self.queue.counters_mut().overruns += u64::from(self.ran_dry);
            self.queue.push(&chunk, step);
            self.free.push(chunk);
            self.in_flight = false;
            self.ran_dry = false;
        }
    }

    fn ask(&mut self, observation: &Observation) {
        let infer = !self.in_flight && self.queue.is_due(observation);
        // An observation without all pictures is no past that a policy could look back to.
        let to_remember = self.looks_back && self.queue.is_fresh(observation);
        if !(infer || to_remember) {
            return;
        }
        let request = Request {
            observation: observation.clone(),
            infer,
        };
        let handed_over = self.requests.free() > 0 && self.requests.push(request);
        let counters = self.queue.counters_mut();
        counters.unseen += u64::from(!handed_over);
        if infer && handed_over {
            counters.requests += 1;
            self.in_flight = true;
            self.worker.unpark();
        }
    }
}

impl ActionSource for QueueSource {
    fn act(&mut self, observation: &Observation, target: &mut JointTarget) -> ActionOutcome {
        self.take_chunks(observation.step);
        self.ask(observation);
        let outcome = act_on(&mut self.queue, observation.step, self.in_flight, target);
        self.ran_dry |= outcome == ActionOutcome::Starved;
        outcome
    }

    fn queue_counters(&self) -> Option<QueueCounters> {
        Some(*self.queue.counters())
    }
}

/// Takes the action of `step`, or says what it means that there is none. `awaited` says that a chunk is
/// being computed.
pub(super) fn act_on(
    queue: &mut ActionQueue,
    step: u64,
    awaited: bool,
    target: &mut JointTarget,
) -> ActionOutcome {
    if let Some(action) = queue.pop(step) {
        target.len = action.len();
        target.position[..action.len()].copy_from_slice(action);
        return ActionOutcome::Act;
    }
    match queue.dry(awaited) {
        Dry::NotBegun => ActionOutcome::Waiting,
        Dry::Hold => ActionOutcome::Hold,
        Dry::Starved => ActionOutcome::Starved,
    }
}

//! Action chunks on one step timeline, computed beside the loop and consumed by it.
//!
//! A step is a period of the control loop, counted from its first deadline: `floor((t - epoch) / period)`.
//! A policy sees the observation of some step and returns a [`ChunkBuf`]: one action for that step and
//! for each one after it. A [`Strategy`] says when the policy is asked and what becomes of its answers; it
//! makes the settings of an [`ActionQueue`], which puts chunks on the timeline. [`QueueSource`] is the
//! loop's end of it, [`InferenceThread`] the policy's. Between them run rings of buffers that go round, so
//! nobody waits and the loop never allocates. [`InlineInference`] is both ends on one thread, for lockstep.
//!
//! | miss | policy |
//! |---|---|
//! | an action comes after its step | it is discarded and counted |
//! | a camera that the policy looks at gives no picture, or an old one | the policy is not asked; counted; the queue plays on |
//! | the queue runs dry | counted for each tick; the arm holds, then its watchdog decides |
//! | the queue of a synchronous strategy runs dry | the last target is sent again while the chunk is computed, counted; for longer than [`QueueConfig::hold`] it is starvation |
//! | a chunk comes after the queue starved | counted as an overrun |
//! | inference fails | the run ends with its reason |

mod chunk;
mod inference;
mod inline;
mod queue;
mod strategy;

pub use chunk::ChunkBuf;
pub use inference::{Infer, InferenceError, InferenceReport, InferenceThread, QueueSource};
pub use inline::InlineInference;
pub use queue::{ActionQueue, Blend, ChunkStart, Dry, Merge, QueueConfig, QueueCounters};
pub use strategy::{ChunkUse, Strategy, StrategyError, StrategyKind, StrategyWish};

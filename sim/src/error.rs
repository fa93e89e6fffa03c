//! Everything that can go wrong in a simulation, in words a user can act on.

use std::path::PathBuf;
use thiserror::Error;

/// Why a world could not be built, stepped or rendered.
#[derive(Debug, Error)]
pub enum SimError {
    /// The model text or one of its files is not valid MJCF.
    #[error("world `{world}`: the model does not compile: {reason}")]
    Model {
        /// World name.
        world: String,
        /// MuJoCo's own words, line included where it gives one.
        reason: String,
    },
    /// A model file could not be read.
    #[error("cannot read {path}: {reason}; run scripts/setup to fetch the third-party models", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        reason: String,
    },
    /// The model has no such element.
    #[error("world `{world}` has no {kind} `{name}`; it has: {available}")]
    Unknown {
        /// World name.
        world: String,
        /// Kind of element: joint, body, site, …
        kind: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names that exist, comma-separated.
        available: String,
    },
    /// The element exists but cannot be used in this way.
    #[error("world `{world}`: {kind} `{name}` {problem}")]
    Unsuitable {
        /// World name.
        world: String,
        /// Kind of element.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The physics diverged or ran out of room. The world answers with this until it is reset.
    #[error(
        "world `{world}` failed at t = {time_s:.3} s: {problem}; reset it, and use a smaller timestep or gentler gains if this returns"
    )]
    Unstable {
        /// World name.
        world: String,
        /// Simulated time, s.
        time_s: f64,
        /// MuJoCo's warning in words, with the joint concerned where there is one.
        problem: String,
    },
    /// A value handed in cannot be used.
    #[error("world `{world}`: {what} {problem}")]
    Value {
        /// World name.
        world: String,
        /// Which value.
        what: String,
        /// Why it cannot be used.
        problem: String,
    },
    /// There is no way to render on this machine.
    #[error("cannot render off screen: {reason}; on Debian, install libegl1 and libgl1-mesa-dri")]
    Egl {
        /// Which step failed and how.
        reason: String,
    },
    /// The renderer does not fit the request.
    #[error("renderer: {0}")]
    Render(String),
    /// MuJoCo itself could not serve a request (out of memory).
    #[error("world `{world}`: MuJoCo could not {action}; free memory and try again")]
    OutOfMemory {
        /// World name.
        world: String,
        /// What it was asked to do.
        action: &'static str,
    },
}

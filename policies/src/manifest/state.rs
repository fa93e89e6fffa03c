//! Tensors that a recurrent network hands to itself from one step to the next.

use serde::Deserialize;
use toml::Spanned;

/// A tensor that comes out of one inference and goes into the next. It is zero at first and after a
/// reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSpec {
    /// Line in the manifest, for messages.
    pub line: usize,
    /// Name of the network's input.
    pub input: String,
    /// Name of the network's output.
    pub output: String,
    /// Shape, where the graph leaves axes open.
    pub shape: Option<Vec<usize>>,
}

/// A `[[state]]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    input: String,
    output: String,
    shape: Option<Vec<usize>>,
}

impl StateSpec {
    /// One `[[state]]`, at a line of the manifest.
    pub(super) fn of(raw: Spanned<Raw>, line: usize) -> Self {
        let Raw {
            input,
            output,
            shape,
        } = raw.into_inner();
        Self {
            line,
            input,
            output,
            shape,
        }
    }
}

//! What every architecture does, in phases, on numbers as its network takes them.

use std::fmt;

/// Pulls a chunk towards actions that are already under way. No architecture here takes it yet:
/// flow policies will (real-time chunking).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guidance<'a> {
    /// What remains of the previous chunk, normalised: `[steps, n]`.
    pub previous: &'a [f32],
    /// Steps that will have been executed when the new chunk arrives.
    pub delay: usize,
}

/// What [`Model::act`] may be given beside the observations.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ActOptions<'a> {
    /// Standard normal numbers, [`Model::noise_len`] of them. A policy that is given none draws its own;
    /// a model needs them.
    pub noise: Option<&'a [f32]>,
    /// Where the chunk is to join.
    pub guidance: Option<Guidance<'a>>,
}

/// A network of a checkpoint, ready to run. All numbers are normalised. After the first chunk
/// nothing outside of the engine allocates; errors are the engine's own words.
pub trait Model: Send + fmt::Debug {
    /// Name of the engine that runs it.
    fn engine(&self) -> &'static str;

    /// How many images it takes.
    fn images(&self) -> usize;

    /// Where the pixels of image `index` go, `[colours, height, width]`; then [`Model::encode`].
    fn image_mut(&mut self, index: usize) -> &mut [f32];

    /// Makes features of an image whose pixels were written.
    fn encode(&mut self, index: usize) -> Result<(), String>;

    /// Takes a step's vectors, with the newest features, as the newest observation. Networks that
    /// look back keep the ones before; the first one after a reset stands for its own past.
    fn observe(&mut self, state: &[f32], environment: &[f32]);

    /// Computes what does not depend on the newest state (a language prefix, image tokens).
    fn prefix(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Steps of a chunk, and values of a step.
    fn chunk(&self) -> (usize, usize);

    /// Numbers of noise that a chunk needs; zero for networks without.
    fn noise_len(&self) -> usize {
        0
    }

    /// The chunk for the newest observation, `[steps, n]`.
    fn act(&mut self, options: &ActOptions<'_>) -> Result<&[f32], String>;

    /// A short form of [`Model::act`], to compare two forms of one network on what both have
    /// observed: networks that iterate take one step only. `None`: there is no shorter one.
    fn probe(&mut self, options: &ActOptions<'_>) -> Result<Option<&[f32]>, String> {
        let _ = options;
        Ok(None)
    }

    /// All observations that count, oldest first, for networks that look back.
    fn past(&self) -> Option<&[f32]> {
        None
    }

    /// Takes what another form of the same network has in [`Model::past`].
    fn set_past(&mut self, past: &[f32]) {
        let _ = past;
    }

    /// Forgets all observations.
    fn reset(&mut self);
}

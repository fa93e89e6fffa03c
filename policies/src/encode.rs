//! From an observation in SI units to the numbers that a network takes.

use crate::engine::Tensor;
use crate::error::PolicyError;
use crate::features::{Channel, Features, PolicyInput};
use crate::manifest::ImageLayout;
use sinew_runtime::Frame;

/// `y = x * gain + bias`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Affine {
    pub(crate) gain: f64,
    pub(crate) bias: f64,
}

impl Affine {
    pub(crate) fn apply(self, x: f64) -> f64 {
        x * self.gain + self.bias
    }

    /// First `self`, then `next`.
    pub(crate) fn then(self, (gain, bias): (f64, f64)) -> Self {
        Self {
            gain: self.gain * gain,
            bias: self.bias * gain + bias,
        }
    }
}

/// What fills a part, as indices into the observation.
#[derive(Debug)]
pub(crate) enum Bound {
    Positions(Vec<usize>),
    Velocities(Vec<usize>),
    LastAction(usize),
    /// So many phases, which [`Memory`](crate::memory::Memory) writes.
    Gait(usize),
    Values(Channel, Vec<usize>),
    Image {
        camera: usize,
        layout: ImageLayout,
        width: usize,
        height: usize,
    },
}

impl Bound {
    /// How many numbers it gives.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Positions(indices) | Self::Velocities(indices) | Self::Values(_, indices) => {
                indices.len()
            }
            Self::LastAction(width) | Self::Gait(width) => *width,
            Self::Image { width, height, .. } => 3 * width * height,
        }
    }
}

/// One contiguous run of an input tensor.
#[derive(Debug)]
pub(crate) struct Part {
    /// Which of the engine's inputs.
    pub(crate) tensor: usize,
    /// Where in it the run starts.
    pub(crate) start: usize,
    pub(crate) bound: Bound,
    /// One for each number; for images one for each colour.
    pub(crate) affine: Vec<Affine>,
    pub(crate) clip: Option<[f64; 2]>,
}

impl Part {
    /// Writes the run from vectors; images are for [`Part::fill_image`]. `last_action` is the network's
    /// own previous output.
    pub(crate) fn fill(
        &self,
        policy: &str,
        features: &Features,
        input: &PolicyInput<'_>,
        last_action: &[f32],
        tensors: &mut [Tensor],
    ) -> Result<(), PolicyError> {
        let run = &mut tensors[self.tensor].data[self.start..self.start + self.bound.len()];
        let bad = |what: String| PolicyError::InputNotFinite {
            policy: policy.to_owned(),
            what,
        };
        let joint = |i: usize| features.joints()[i].as_str();
        match &self.bound {
            Bound::Positions(indices) => self
                .scalars(run, indices, &input.joints.position)
                .map_err(|i| bad(format!("the position of joint `{}`", joint(i)))),
            Bound::Velocities(indices) => self
                .scalars(run, indices, &input.joints.velocity)
                .map_err(|i| bad(format!("the velocity of joint `{}`", joint(i)))),
            Bound::Values(channel, indices) => self
                .scalars(run, indices, input.values(*channel))
                .map_err(|i| {
                    bad(format!(
                        "{} value `{}`",
                        channel.name(),
                        features.values(*channel)[i]
                    ))
                }),
            Bound::LastAction(_) => {
                for ((slot, &raw), affine) in run.iter_mut().zip(last_action).zip(&self.affine) {
                    *slot = self.finish(affine.apply(f64::from(raw)));
                }
                Ok(())
            }
            Bound::Gait(_) => Ok(()),
            // Written by `fill_image`, when a camera has a new one.
            Bound::Image { .. } => Ok(()),
        }
    }

    /// Writes the run from a camera's frame, if an image fills it.
    pub(crate) fn fill_image(
        &self,
        policy: &str,
        features: &Features,
        frame: &Frame,
        tensors: &mut [Tensor],
    ) -> Result<(), PolicyError> {
        let &Bound::Image {
            camera,
            layout,
            width,
            height,
        } = &self.bound
        else {
            return Ok(());
        };
        let run = &mut tensors[self.tensor].data[self.start..self.start + self.bound.len()];
        check_size(policy, features, camera, frame, (width, height))?;
        self.pixels(run, &frame.data, layout);
        Ok(())
    }

    /// Writes numbers by index; the error is the index of one that is not finite.
    fn scalars(&self, run: &mut [f32], indices: &[usize], values: &[f64]) -> Result<(), usize> {
        for ((slot, &index), affine) in run.iter_mut().zip(indices).zip(&self.affine) {
            let value = values[index];
            if !value.is_finite() {
                return Err(index);
            }
            *slot = self.finish(affine.apply(value));
        }
        Ok(())
    }

    fn pixels(&self, run: &mut [f32], rgb: &[u8], layout: ImageLayout) {
        let plane = run.len() / 3;
        for (i, pixel) in rgb.chunks_exact(3).enumerate() {
            for (colour, (&byte, affine)) in pixel.iter().zip(&self.affine).enumerate() {
                let slot = match layout {
                    ImageLayout::Chw => colour * plane + i,
                    ImageLayout::Hwc => 3 * i + colour,
                };
                run[slot] = self.finish(affine.apply(f64::from(byte) / 255.0));
            }
        }
    }

    fn finish(&self, value: f64) -> f32 {
        match self.clip {
            Some([low, high]) => value.clamp(low, high) as f32,
            None => value as f32,
        }
    }
}

/// Refuses a frame that has not the agreed size or is not RGB.
pub(crate) fn check_size(
    policy: &str,
    features: &Features,
    camera: usize,
    frame: &Frame,
    (width, height): (usize, usize),
) -> Result<(), PolicyError> {
    if (frame.width as usize, frame.height as usize) == (width, height)
        && frame.data.len() == 3 * width * height
    {
        return Ok(());
    }
    Err(PolicyError::ImageSize {
        policy: policy.to_owned(),
        camera: features.cameras()[camera].clone(),
        got_width: frame.width,
        got_height: frame.height,
        width,
        height,
    })
}

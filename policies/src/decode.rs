//! From the numbers that a network gives to joint targets in rad.

use crate::encode::Affine;
use crate::engine::Tensor;
use sinew_runtime::{JointState, JointTarget};

/// One output tensor that moves joints.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Which of the engine's outputs.
    pub(crate) tensor: usize,
    /// Whether values are added to the observed positions.
    pub(crate) relative: bool,
    /// Blueprint index of each joint, in the order of the tensor's last axis.
    pub(crate) joints: Vec<usize>,
    /// From raw value to rad, for each joint.
    pub(crate) affine: Vec<Affine>,
    /// Bounds on raw values.
    pub(crate) clip: Option<[f64; 2]>,
}

/// A value that is not finite: which joint (blueprint index), which step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotFinite {
    pub(crate) joint: usize,
    pub(crate) step: usize,
}

impl Decoder {
    /// Writes this output's joints into every step of `chunk`.
    pub(crate) fn fill(
        &self,
        outputs: &[Tensor],
        present: &JointState,
        chunk: &mut [JointTarget],
    ) -> Result<(), NotFinite> {
        let rows = outputs[self.tensor].data.chunks_exact(self.joints.len());
        for (step, (target, row)) in chunk.iter_mut().zip(rows).enumerate() {
            for ((&raw, &joint), affine) in row.iter().zip(&self.joints).zip(&self.affine) {
                let base = if self.relative {
                    present.position[joint]
                } else {
                    0.0
                };
                let value = base + affine.apply(f64::from(self.clipped(raw)));
                if !value.is_finite() {
                    return Err(NotFinite { joint, step });
                }
                target.position[joint] = value;
            }
        }
        Ok(())
    }

    /// The raw values of one step, as the network will see them back in `last_action`.
    pub(crate) fn raw_step(&self, outputs: &[Tensor], step: usize) -> impl Iterator<Item = f32> {
        let start = step * self.joints.len();
        let row = &outputs[self.tensor].data[start..start + self.joints.len()];
        row.iter().map(|&raw| self.clipped(raw))
    }

    /// Clips; NaN stays NaN and is caught afterwards.
    fn clipped(&self, raw: f32) -> f32 {
        match self.clip {
            Some([low, high]) if raw.is_finite() => raw.clamp(low as f32, high as f32),
            _ => raw,
        }
    }
}

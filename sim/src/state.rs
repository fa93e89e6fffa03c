//! What a world can be asked for: poses, contacts, and its whole state as bytes.

use crate::model::GeomId;
use mujoco_rs::mujoco_c as mj;

/// Position and orientation in the world frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    /// Position, m.
    pub position: [f64; 3],
    /// Unit quaternion: w, x, y, z.
    pub quaternion: [f64; 4],
}

impl Pose {
    /// A pose at `position` (m), turned by `yaw` rad about the vertical.
    pub fn at(position: [f64; 3], yaw: f64) -> Self {
        let (sin, cos) = (yaw / 2.0).sin_cos();
        Self {
            position,
            quaternion: [cos, 0.0, 0.0, sin],
        }
    }

    /// This pose as nalgebra's isometry.
    pub fn to_isometry(&self) -> nalgebra::Isometry3<f64> {
        let [w, x, y, z] = self.quaternion;
        nalgebra::Isometry3::from_parts(
            nalgebra::Translation3::from(self.position),
            nalgebra::UnitQuaternion::from_quaternion(nalgebra::Quaternion::new(w, x, y, z)),
        )
    }
}

/// One point where two geoms touch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contact {
    /// The two geoms, lower number first.
    pub geoms: (GeomId, GeomId),
    /// Gap between the surfaces, m; negative when they overlap.
    pub distance: f64,
    /// Where, m, world frame.
    pub position: [f64; 3],
    /// Force along the contact normal, N; positive pushes the geoms apart.
    pub normal_force: f64,
}

/// Everything that determines a world's future: time, positions, velocities, controls, solver
/// warm start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State(pub(crate) Vec<f64>);

impl State {
    /// The exact bits, little-endian; equal bytes mean equal futures.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// The reverse of [`State::to_bytes`]. `None` if the length is not a multiple of 8.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (values, rest) = bytes.as_chunks::<8>();
        rest.is_empty()
            .then(|| Self(values.iter().map(|v| f64::from_le_bytes(*v)).collect()))
    }
}

/// Entry number `index` of an array of N-tuples.
pub(crate) fn take<const N: usize>(values: &[f64], index: usize) -> [f64; N] {
    std::array::from_fn(|i| values[index * N + i])
}

/// The quaternion (w, x, y, z) of a row-major rotation matrix.
pub(crate) fn quaternion_of(matrix: &[f64; 9]) -> [f64; 4] {
    let mut quaternion = [0.0; 4];
    // SAFETY: fixed-size arrays of the sizes that MuJoCo expects.
    unsafe { mj::mju_mat2Quat(&mut quaternion, matrix) };
    quaternion
}

//! What a perception program would report of this world: the part of the task state that a policy
//! may observe beside joints and images.

use super::task::TaskState;

/// Names of the values of [`TaskState::environment`], for policies to bind to. Lengths in m, arm
/// base frame. The cube looks the same after a quarter turn, so its yaw is given as cosine and sine
/// of four times the angle.
pub const ENVIRONMENT: [&str; 7] = [
    "cube.x",
    "cube.y",
    "cube.z",
    "cube.yaw_cos4",
    "cube.yaw_sin4",
    "zone.x",
    "zone.y",
];

impl TaskState {
    /// The values, in the order of [`ENVIRONMENT`]. Nothing in them tells the time.
    pub fn environment(&self) -> [f64; ENVIRONMENT.len()] {
        let [x, y, z] = self.cube_position;
        let (sin4, cos4) = (4.0 * self.cube_yaw()).sin_cos();
        [x, y, z, cos4, sin4, self.zone[0], self.zone[1]]
    }
}

//! Where the arm's joints must be for the gripper to come down on a point of the table.
//!
//! The arm's geometry is read from the compiled model, as a product of exponentials: for each
//! joint its axis in the zero pose, and the gripper's pose there. Five joints and five wishes:
//! the tool point's position, the gripper's tilt out of the vertical, and the direction in which
//! the jaws close. The tilt is the wish that gives way: far away and high up the arm cannot point
//! straight down.

use super::error::PickError;
use super::scene::{DOF, Scene};
use super::task::PAN_AXIS_X;
use crate::World;
use nalgebra::{Isometry3, Matrix5, Point3, Translation3, Unit, UnitQuaternion, Vector3, Vector5};

/// Joints that place the gripper; the sixth opens it.
pub const ARM_DOF: usize = DOF - 1;

/// Tilts that are tried, rad from the vertical, outwards.
const TILTS: [f64; 9] = [0.0, 0.08, 0.16, 0.24, 0.32, 0.4, 0.5, 0.6, 0.7];
const TOLERANCE_M: f64 = 5e-4;
/// Weighs angles (rad) against lengths (m) in the residual: about the length of the jaws.
const ANGLE_WEIGHT: f64 = 0.1;
const ITERATIONS: usize = 60;
const LONGEST_STEP: f64 = 0.3;

/// What the gripper should do at a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aim {
    /// Where the tool point should be, m, arm base frame.
    pub point: Point3<f64>,
    /// Direction in which the jaws close, rad about the vertical; quarter turns do not matter.
    pub yaw: f64,
    /// The tool point in the gripper's frame, m.
    pub tool: Point3<f64>,
}

/// The arm's geometry and limits.
#[derive(Debug, Clone)]
pub struct Arm {
    axes: [(Point3<f64>, Unit<Vector3<f64>>); ARM_DOF],
    gripper_at_zero: Isometry3<f64>,
    range: [(f64, f64); ARM_DOF],
    home: [f64; DOF],
}

impl Arm {
    /// Reads the geometry from the model. `world` is only forked.
    ///
    /// # Errors
    /// [`PickError::Sim`] when the scratch world cannot be made.
    pub fn new(world: &World, scene: &Scene) -> Result<Self, PickError> {
        let mut scratch = world.fork()?;
        for joint in scene.joints {
            scratch.set_position(joint, 0.0);
        }
        scratch.forward()?;
        let bodies = ["shoulder", "upper_arm", "lower_arm", "wrist", "gripper"];
        let mut axes = [(Point3::origin(), Vector3::z_axis()); ARM_DOF];
        for (axis, name) in axes.iter_mut().zip(bodies) {
            // Every joint of the model turns about its body's z axis, through its origin.
            let pose = scratch.body_pose(scratch.model().body(name)?).to_isometry();
            *axis = (
                Point3::from(pose.translation.vector),
                pose.rotation * Vector3::z_axis(),
            );
        }
        let gripper_at_zero = scratch.body_pose(scene.jaws[0]).to_isometry();
        let range = std::array::from_fn(|i| scene.range[i]);
        Ok(Self {
            axes,
            gripper_at_zero,
            range,
            home: scene.home,
        })
    }

    /// Where the arm waits, gripper included, rad.
    pub fn home(&self) -> [f64; DOF] {
        self.home
    }

    /// Pose of the gripper's body for arm joints at `q` rad.
    pub fn gripper(&self, q: &[f64; ARM_DOF]) -> Isometry3<f64> {
        let mut pose = Isometry3::identity();
        for ((anchor, axis), angle) in self.axes.iter().zip(q) {
            let turn = UnitQuaternion::from_axis_angle(axis, *angle);
            pose *= Isometry3::from_parts(
                Translation3::from(anchor.coords - turn * anchor.coords),
                turn,
            );
        }
        pose * self.gripper_at_zero
    }

    /// Joint positions that fulfil `aim`, as near to vertical as the joints allow. `start` is
    /// where the search begins; the result stays near it.
    pub fn reach(&self, aim: &Aim, start: &[f64; ARM_DOF]) -> Option<[f64; ARM_DOF]> {
        TILTS.iter().find_map(|&tilt| self.solve(aim, tilt, start))
    }

    /// As [`Arm::reach`], starting from a bent arm that faces the point.
    pub fn reach_afresh(&self, aim: &Aim) -> Option<[f64; ARM_DOF]> {
        self.reach_turned(aim, 0.0)
    }

    /// As [`Arm::reach_afresh`], with the wrist at `roll` rad: of the quarter turns that fit, the
    /// nearest is found.
    pub fn reach_turned(&self, aim: &Aim, roll: f64) -> Option<[f64; ARM_DOF]> {
        let pan = -f64::atan2(aim.point.y, aim.point.x - PAN_AXIS_X);
        self.reach(aim, &[pan, -0.3, 0.5, 1.2, roll])
    }

    /// Knots of a straight line of the tool point, `from` excluded, `to` included.
    pub fn line(
        &self,
        from: &Aim,
        to: Point3<f64>,
        start: &[f64; ARM_DOF],
        knots: usize,
    ) -> Option<Vec<[f64; ARM_DOF]>> {
        let mut q = *start;
        (1..=knots)
            .map(|i| {
                let point = from.point + (to - from.point) * (i as f64 / knots as f64);
                q = self.reach(&Aim { point, ..*from }, &q)?;
                Some(q)
            })
            .collect()
    }

    /// Damped Gauss-Newton with the joints clamped to their ranges.
    fn solve(&self, aim: &Aim, tilt: f64, start: &[f64; ARM_DOF]) -> Option<[f64; ARM_DOF]> {
        const NUDGE: f64 = 1e-6;
        let mut q = *start;
        for _ in 0..ITERATIONS {
            let residual = self.residual(&q, aim, tilt);
            if residual.amax() < 1e-6 {
                break;
            }
            let mut jacobian = Matrix5::zeros();
            for i in 0..ARM_DOF {
                let mut nudged = q;
                nudged[i] += NUDGE;
                jacobian.set_column(i, &((self.residual(&nudged, aim, tilt) - residual) / NUDGE));
            }
            let normal = jacobian.tr_mul(&jacobian) + Matrix5::identity() * 1e-8;
            let step = normal.cholesky()?.solve(&jacobian.tr_mul(&residual));
            for ((value, by), (low, high)) in q.iter_mut().zip(step.iter()).zip(self.range) {
                *value = (*value - by.clamp(-LONGEST_STEP, LONGEST_STEP)).clamp(low, high);
            }
        }
        (self.residual(&q, aim, tilt).amax() < TOLERANCE_M).then_some(q)
    }

    fn residual(&self, q: &[f64; ARM_DOF], aim: &Aim, tilt: f64) -> Vector5<f64> {
        let pose = self.gripper(q);
        let miss = pose * aim.tool - aim.point;
        // The jaws point along the gripper's −z and close along its x.
        let approach = pose.rotation * -Vector3::z();
        let closing = pose.rotation * Vector3::x();
        let origin = pose.translation.vector;
        let outwards = Vector3::new(origin.x - PAN_AXIS_X, origin.y, 0.0).normalize();
        let tilted = f64::atan2(approach.dot(&outwards), -approach.z) - tilt;
        let quarter = std::f64::consts::FRAC_PI_2;
        let turned = f64::atan2(closing.y, closing.x) - aim.yaw;
        let turned = (turned + quarter / 2.0).rem_euclid(quarter) - quarter / 2.0;
        Vector5::new(
            miss.x,
            miss.y,
            miss.z,
            ANGLE_WEIGHT * tilted,
            ANGLE_WEIGHT * turned,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::task::PickTask;
    use super::*;

    fn arm() -> (PickTask, Arm) {
        let task = PickTask::new(1).unwrap();
        let arm = Arm::new(task.world(), task.scene()).unwrap();
        (task, arm)
    }

    #[test]
    fn forward_kinematics_agree_with_the_physics() {
        let (mut task, arm) = arm();
        let scene = *task.scene();
        for q in [
            [0.0; 5],
            [0.3, -0.4, 0.9, 1.1, -2.0],
            [-1.2, 0.8, -0.7, 0.2, 1.4],
        ] {
            for (joint, value) in scene.joints.into_iter().zip(q) {
                task.world_mut().set_position(joint, value);
            }
            task.world_mut().forward().unwrap();
            let truth = task.world().body_pose(scene.jaws[0]).to_isometry();
            let ours = arm.gripper(&q);
            assert!(
                (truth.translation.vector - ours.translation.vector).norm() < 1e-5,
                "{q:?}"
            );
            assert!(truth.rotation.angle_to(&ours.rotation) < 1e-5, "{q:?}");
        }
    }

    #[test]
    fn whole_area_is_reachable_with_every_cube_yaw() {
        let (_, arm) = arm();
        for radius in [0.15, 0.2, 0.24] {
            for azimuth in [-0.7_f64, 0.0, 0.7] {
                for yaw in [-0.7, -0.3, 0.0, 0.4, 0.78] {
                    for z in [0.016, 0.065] {
                        let (sin, cos) = azimuth.sin_cos();
                        let point = Point3::new(PAN_AXIS_X + radius * cos, radius * sin, z);
                        let aim = Aim {
                            point,
                            yaw,
                            tool: Point3::new(0.0125, 0.0, -0.094),
                        };
                        let q = arm.reach_afresh(&aim).unwrap();
                        assert!((arm.gripper(&q) * aim.tool - point).norm() < 1e-3);
                    }
                }
            }
        }
    }

    #[test]
    fn points_out_of_reach_are_refused() {
        let (_, arm) = arm();
        let aim = Aim {
            point: Point3::new(0.6, 0.0, 0.02),
            yaw: 0.0,
            tool: Point3::new(0.0125, 0.0, -0.094),
        };
        assert!(arm.reach_afresh(&aim).is_none());
    }
}

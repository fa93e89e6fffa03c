//! Where the tool is for given joint angles, and which joint angles bring it to a place.
//!
//! Forward kinematics multiplies the blueprint's link frames. Inverse kinematics is damped least
//! squares (Levenberg–Marquardt) inside the joint limits, from several starting poses. Position
//! is exact or an error; the pointing direction is met as well as an arm of few joints can: with
//! five joints it is exact where the direction lies in the plane that the arm swings in.

use crate::blueprint::{Blueprint, Kinematics, Tool};
use crate::error::HardwareError;
use nalgebra::{
    DMatrix, DVector, Isometry3, Quaternion, Translation3, Unit, UnitQuaternion, Vector3,
};

/// A solution's tool is at most this far from the target, m.
pub const POSITION_TOLERANCE_M: f64 = 1e-4;
/// A direction this close counts as met, rad; the search then stops.
const DIRECTION_TOLERANCE_RAD: f64 = 1e-4;
/// How much of position error one rad of direction error is worth, m. About the hand's length, so
/// that both are traded evenly while far away.
const METERS_PER_RAD: f64 = 0.1;
const ITERATIONS: usize = 120;
const SEEDS: usize = 64;

/// Position and orientation of a tool in the robot's base frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    /// Origin, m.
    pub position: [f64; 3],
    /// Rotation matrix, row by row.
    pub rotation: [[f64; 3]; 3],
    /// The direction in which the tool points; unit length.
    pub approach: [f64; 3],
}

/// Where a tool should go.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Goal {
    /// Origin in the robot's base frame, m. Met within [`POSITION_TOLERANCE_M`].
    pub position: [f64; 3],
    /// The direction in which the tool should point; any length but 0. Met as well as possible.
    pub approach: Option<[f64; 3]>,
    /// The angle at which to keep the last joint (on an arm: the wrist's roll), rad.
    pub roll_rad: Option<f64>,
}

/// Joint angles that bring the tool to a goal.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// Angles of the chain's joints, base first, rad; within limits.
    pub joints: Vec<f64>,
    /// How far the tool is from the goal, m.
    pub position_error_m: f64,
    /// Angle between the tool's direction and the goal's, rad; 0 where none was asked for.
    pub approach_error_rad: f64,
}

#[derive(Debug, Clone)]
struct ChainLink {
    frame: Isometry3<f64>,
    axis: Unit<Vector3<f64>>,
    limits: (f64, f64),
}

/// A chain of links that ends in one tool.
#[derive(Debug, Clone)]
pub struct Chain {
    links: Vec<ChainLink>,
    tool: Isometry3<f64>,
    approach: Vector3<f64>,
    indices: Vec<usize>,
    home: Vec<f64>,
}

/// The tool, and the turning axis and origin of every joint, in the base frame.
struct Sweep {
    tool: Isometry3<f64>,
    axes: Vec<(Vector3<f64>, Vector3<f64>)>,
}

impl Chain {
    /// The chain to the tool frame `tool`.
    ///
    /// # Errors
    /// [`HardwareError::MissingSection`] if the blueprint has no kinematics,
    /// [`HardwareError::UnknownTool`].
    pub fn new(blueprint: &Blueprint, tool: &str) -> Result<Self, HardwareError> {
        let Some(table) = &blueprint.kinematics else {
            return Err(HardwareError::MissingSection {
                robot: blueprint.name.clone(),
                section: "[kinematics]".to_owned(),
            });
        };
        let Some(tool) = table.tools.iter().find(|candidate| candidate.name == tool) else {
            let known: Vec<_> = table.tools.iter().map(|tool| tool.name.as_str()).collect();
            return Err(HardwareError::UnknownTool {
                robot: blueprint.name.clone(),
                tool: tool.to_owned(),
                known: known.join(", "),
            });
        };
        Ok(Self::assemble(blueprint, table, tool))
    }

    fn assemble(blueprint: &Blueprint, table: &Kinematics, tool: &Tool) -> Self {
        let mut chain = Self {
            links: Vec::new(),
            tool: isometry(tool.pos, tool.quat),
            approach: Vector3::from(tool.approach).normalize(),
            indices: Vec::new(),
            home: Vec::new(),
        };
        // The loader has checked that every link names a joint.
        for link in &table.links {
            let found = blueprint
                .joints
                .iter()
                .enumerate()
                .find(|(_, joint)| joint.name == link.joint);
            let Some((index, joint)) = found else {
                continue;
            };
            chain.links.push(ChainLink {
                frame: isometry(link.pos, link.quat),
                axis: Unit::new_normalize(Vector3::from(link.axis)),
                limits: (joint.limits_rad[0], joint.limits_rad[1]),
            });
            chain.indices.push(index);
            chain.home.push(joint.home_rad);
        }
        chain
    }

    /// Places of the chain's joints in the blueprint's arrays, base first.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// Lowest and highest angle of each joint of the chain, rad.
    pub fn limits(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.links.iter().map(|link| link.limits)
    }

    /// Picks the chain's joints out of an array in blueprint order. Missing entries count as 0.
    pub fn select(&self, positions: &[f64]) -> Vec<f64> {
        self.indices
            .iter()
            .map(|&index| positions.get(index).copied().unwrap_or(0.0))
            .collect()
    }

    /// Where the tool is. `joints` are angles of the chain's joints, base first, rad; missing
    /// ones count as 0.
    pub fn forward(&self, joints: &[f64]) -> Pose {
        let tool = self.sweep(joints).tool;
        let matrix = tool.rotation.to_rotation_matrix();
        let row = |i: usize| [matrix[(i, 0)], matrix[(i, 1)], matrix[(i, 2)]];
        Pose {
            position: tool.translation.vector.into(),
            rotation: [row(0), row(1), row(2)],
            approach: (tool.rotation * self.approach).into(),
        }
    }

    /// The arm as a line: base, origin of every joint, tool, in m. `joints` as in [`Self::forward`].
    pub fn outline(&self, joints: &[f64]) -> Vec<[f64; 3]> {
        let sweep = self.sweep(joints);
        let mut points = vec![[0.0; 3]];
        points.extend(
            sweep
                .axes
                .iter()
                .map(|(_, origin)| <[f64; 3]>::from(*origin)),
        );
        points.push(sweep.tool.translation.vector.into());
        points
    }

    /// Joint angles that bring the tool to `goal`, searched from `seed` (angles of the chain's
    /// joints, base first, rad), then from home and from poses spread over the limits.
    ///
    /// A solution near the seed that meets both position and direction is taken at once, so that
    /// small motions stay small; else the one that points best wins.
    ///
    /// # Errors
    /// [`HardwareError::Unreachable`] if no start leads within [`POSITION_TOLERANCE_M`],
    /// [`HardwareError::BadGoal`] for numbers that are not finite or a direction of length 0.
    pub fn inverse(&self, goal: &Goal, seed: &[f64]) -> Result<Solution, HardwareError> {
        let target = Target::new(self, goal)?;
        let mut best: Option<Solution> = None;
        let mut nearest = f64::INFINITY;
        for start in self.starts(seed) {
            let solution = self.descend(&target, start);
            nearest = nearest.min(solution.position_error_m);
            if solution.position_error_m > POSITION_TOLERANCE_M {
                continue;
            }
            if best
                .as_ref()
                .is_none_or(|b| solution.approach_error_rad < b.approach_error_rad - 1e-6)
            {
                let done = solution.approach_error_rad <= DIRECTION_TOLERANCE_RAD;
                best = Some(solution);
                if done {
                    break;
                }
            }
        }
        best.ok_or(HardwareError::Unreachable {
            distance_m: nearest,
        })
    }

    /// Starting poses: the seed, home, then a low-discrepancy sequence within the limits, so that
    /// the same question always gets the same answer.
    fn starts(&self, seed: &[f64]) -> impl Iterator<Item = DVector<f64>> + '_ {
        let given = DVector::from_fn(self.links.len(), |i, _| {
            seed.get(i)
                .copied()
                .filter(|v| v.is_finite())
                .unwrap_or(0.0)
        });
        let home = DVector::from_column_slice(&self.home);
        let spread = (1..=SEEDS).map(|k| {
            DVector::from_fn(self.links.len(), |i, _| {
                let (low, high) = self.links[i].limits;
                low + (high - low) * halton(k, PRIMES[i % PRIMES.len()])
            })
        });
        [given, home].into_iter().chain(spread).map(|mut joints| {
            self.clamp(&mut joints);
            joints
        })
    }

    /// From one start: the place, then place and direction, then the place again, which is the
    /// one that must be met. Where turning the tool leads away from the place, the first counts.
    fn descend(&self, target: &Target, mut joints: DVector<f64>) -> Solution {
        if let (Some(roll), Some(last)) = (target.roll, joints.len().checked_sub(1)) {
            joints[last] = roll;
        }
        let placed = self.minimize(target, joints, 0.0);
        if target.approach.is_none() {
            return self.measure(target, &placed);
        }
        let turned = self.minimize(target, placed.clone(), METERS_PER_RAD);
        let turned = self.measure(target, &self.minimize(target, turned, 0.0));
        if turned.position_error_m <= POSITION_TOLERANCE_M {
            turned
        } else {
            self.measure(target, &placed)
        }
    }

    fn measure(&self, target: &Target, joints: &DVector<f64>) -> Solution {
        let tool = self.sweep(joints.as_slice()).tool;
        Solution {
            joints: joints.as_slice().to_vec(),
            position_error_m: (target.position - tool.translation.vector).norm(),
            approach_error_rad: target.approach.map_or(0.0, |wanted| {
                let points = tool.rotation * self.approach;
                points.cross(&wanted).norm().atan2(points.dot(&wanted))
            }),
        }
    }

    fn minimize(&self, target: &Target, mut joints: DVector<f64>, weight: f64) -> DVector<f64> {
        let mut damping = 1e-4;
        let (mut error, mut jacobian) = self.linearize(target, &joints, weight);
        for _ in 0..ITERATIONS {
            if error.norm() < 1e-9 || damping > 1e6 {
                break;
            }
            let mut next =
                &joints + self.step(&joints, &jacobian, &error, damping, target.roll.is_some());
            self.clamp(&mut next);
            let (next_error, next_jacobian) = self.linearize(target, &next, weight);
            if next_error.norm_squared() < error.norm_squared() {
                let gain = 1.0 - next_error.norm() / error.norm();
                (joints, error, jacobian) = (next, next_error, next_jacobian);
                damping = (damping * 0.2).max(1e-12);
                if gain < 1e-9 {
                    break;
                }
            } else {
                damping *= 5.0;
            }
        }
        joints
    }

    /// One damped step. A joint that stands at a limit and would be pushed through it is frozen
    /// and the rest solved again, so that the others take over its share.
    fn step(
        &self,
        joints: &DVector<f64>,
        jacobian: &DMatrix<f64>,
        error: &DVector<f64>,
        damping: f64,
        hold_last: bool,
    ) -> DVector<f64> {
        let count = self.links.len();
        let mut frozen = vec![false; count];
        if let (true, Some(last)) = (hold_last, frozen.last_mut()) {
            *last = true;
        }
        let mut step = DVector::zeros(count);
        for _ in 0..=count {
            let mut active = jacobian.clone();
            for (i, _) in frozen.iter().enumerate().filter(|(_, frozen)| **frozen) {
                active.column_mut(i).fill(0.0);
            }
            let mut normal = active.transpose() * &active;
            let scale = damping * normal.trace().max(1e-9) / count as f64;
            for i in 0..count {
                normal[(i, i)] += scale;
            }
            let Some(factor) = normal.cholesky() else {
                return DVector::zeros(count);
            };
            step = factor.solve(&(active.transpose() * error));
            let pushed = (0..count).find(|&i| {
                let (low, high) = self.links[i].limits;
                !frozen[i]
                    && ((joints[i] <= low && step[i] < 0.0) || (joints[i] >= high && step[i] > 0.0))
            });
            match pushed {
                Some(i) => frozen[i] = true,
                None => break,
            }
        }
        step
    }

    /// What is missing to the target, and how each joint changes it. Rows: position (m), then
    /// direction (rad, times `weight`).
    fn linearize(
        &self,
        target: &Target,
        joints: &DVector<f64>,
        weight: f64,
    ) -> (DVector<f64>, DMatrix<f64>) {
        let sweep = self.sweep(joints.as_slice());
        let at = sweep.tool.translation.vector;
        let approach = target.approach.filter(|_| weight > 0.0);
        let rows = if approach.is_some() { 6 } else { 3 };
        let mut error = DVector::zeros(rows);
        let mut jacobian = DMatrix::zeros(rows, self.links.len());
        error.rows_mut(0, 3).copy_from(&(target.position - at));
        for (i, (axis, origin)) in sweep.axes.iter().enumerate() {
            jacobian
                .view_mut((0, i), (3, 1))
                .copy_from(&axis.cross(&(at - origin)));
        }
        if let Some(wanted) = approach {
            let points = sweep.tool.rotation * self.approach;
            error
                .rows_mut(3, 3)
                .copy_from(&((wanted - points) * weight));
            for (i, (axis, _)) in sweep.axes.iter().enumerate() {
                jacobian
                    .view_mut((3, i), (3, 1))
                    .copy_from(&(axis.cross(&points) * weight));
            }
        }
        (error, jacobian)
    }

    fn sweep(&self, joints: &[f64]) -> Sweep {
        let mut frame = Isometry3::identity();
        let mut axes = Vec::with_capacity(self.links.len());
        for (i, link) in self.links.iter().enumerate() {
            frame *= link.frame;
            axes.push((
                frame.rotation * link.axis.into_inner(),
                frame.translation.vector,
            ));
            frame.rotation *=
                UnitQuaternion::from_axis_angle(&link.axis, joints.get(i).copied().unwrap_or(0.0));
        }
        Sweep {
            tool: frame * self.tool,
            axes,
        }
    }

    fn clamp(&self, joints: &mut DVector<f64>) {
        for (angle, link) in joints.iter_mut().zip(&self.links) {
            *angle = angle.clamp(link.limits.0, link.limits.1);
        }
    }
}

/// A goal that has been checked.
struct Target {
    position: Vector3<f64>,
    approach: Option<Vector3<f64>>,
    roll: Option<f64>,
}

impl Target {
    fn new(chain: &Chain, goal: &Goal) -> Result<Self, HardwareError> {
        let bad = |problem: &str| {
            Err(HardwareError::BadGoal {
                problem: problem.to_owned(),
            })
        };
        let position = Vector3::from(goal.position);
        if !position.iter().all(|v| v.is_finite()) {
            return bad("the target position is not finite; check what computed it");
        }
        let approach = goal
            .approach
            .map(|direction| Vector3::from(direction).try_normalize(1e-9));
        if approach.is_some_and(|unit| unit.is_none_or(|unit| !unit.iter().all(|v| v.is_finite())))
        {
            return bad("the approach direction must be finite and not of length 0");
        }
        if let (Some(roll), Some(last)) = (goal.roll_rad, chain.links.last())
            && !(last.limits.0..=last.limits.1).contains(&roll)
        {
            return bad("the roll lies outside the last joint's limits");
        }
        Ok(Self {
            position,
            approach: approach.flatten(),
            roll: goal.roll_rad,
        })
    }
}

fn isometry(pos: [f64; 3], quat: [f64; 4]) -> Isometry3<f64> {
    let [w, x, y, z] = quat;
    let rotation = UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z));
    Isometry3::from_parts(Translation3::from(Vector3::from(pos)), rotation)
}

const PRIMES: [usize; 8] = [2, 3, 5, 7, 11, 13, 17, 19];

/// The `index`th term of the Halton sequence in `base`, in 0..1.
fn halton(mut index: usize, base: usize) -> f64 {
    let (mut share, mut value) = (1.0, 0.0);
    while index > 0 {
        share /= base as f64;
        value += share * (index % base) as f64;
        index /= base;
    }
    value
}

#[cfg(test)]
mod tests;

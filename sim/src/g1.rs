//! The world `g1-walk`: a Unitree G1 humanoid with 29 joints on flat ground.
//!
//! The model is that of the Python package mjlab, which leaves the motors to its user. What is added
//! here is from the same package: the largest torque of each joint. Gains come with the policy. They
//! were made for a natural frequency of 10 Hz, so the rotor inertia that a joint's gears reflect is
//! `kp / (2π · 10 Hz)²`; without it the light wrists could not be simulated with those gains.

use crate::SimError;
use crate::legged::{Legged, LeggedJoint, LeggedWalk, read_model, scene};
use std::f64::consts::TAU;
use std::fmt::Write;
use std::path::Path;

const WORLD: &str = "g1-walk";
const FILE: &str = "g1.xml";
const NATURAL_FREQUENCY_HZ: f64 = 10.0;

/// What follows `left_` and `right_`, where it stands (rad), and its largest torque (N·m). The pose
/// is the package's, with bent knees.
const SIDES: [(&str, f64, f64); 13] = [
    ("hip_pitch_joint", -0.312, 88.0),
    ("hip_roll_joint", 0.0, 139.0),
    ("hip_yaw_joint", 0.0, 88.0),
    ("knee_joint", 0.669, 139.0),
    ("ankle_pitch_joint", -0.363, 50.0),
    ("ankle_roll_joint", 0.0, 50.0),
    ("shoulder_pitch_joint", 0.2, 25.0),
    ("shoulder_roll_joint", 0.2, 25.0),
    ("shoulder_yaw_joint", 0.0, 25.0),
    ("elbow_joint", 0.6, 25.0),
    ("wrist_roll_joint", 0.0, 25.0),
    ("wrist_pitch_joint", 0.0, 5.0),
    ("wrist_yaw_joint", 0.0, 5.0),
];
const WAIST: [(&str, f64, f64); 3] = [
    ("waist_yaw_joint", 0.0, 88.0),
    ("waist_roll_joint", 0.0, 50.0),
    ("waist_pitch_joint", 0.0, 50.0),
];
/// Joints whose angle counts the other way on the right.
const MIRRORED: &str = "shoulder_roll_joint";

/// A joint without the gains that a policy brings.
struct Motor {
    name: String,
    home: f64,
    torque: f64,
}

/// Loads `g1.xml` and its meshes from `model_dir`; see [`LeggedWalk::new`]. `gains` gives stiffness,
/// N·m/rad, and damping, N·m·s/rad, by a joint's name.
pub fn walk(
    model_dir: &Path,
    gains: impl Fn(&str) -> Option<[f64; 2]>,
    seed: u64,
) -> Result<LeggedWalk, SimError> {
    let mut files = read_model(model_dir, FILE)?;
    let motors = motors();
    let mut joints = Vec::new();
    for motor in &motors {
        let [kp, kd] = gains(&motor.name).ok_or_else(|| SimError::Unsuitable {
            world: WORLD.to_owned(),
            kind: "joint",
            name: motor.name.clone(),
            problem: "has no gains; the policy must bring stiffness and damping of all joints"
                .into(),
        })?;
        joints.push(LeggedJoint {
            name: motor.name.clone(),
            home: motor.home,
            kp,
            kd,
        });
    }
    if let Some((_, bytes)) = files.first_mut() {
        *bytes = with_rotors(bytes, &joints)?;
    }
    let feet = ["left", "right"].iter();
    let feet = feet.flat_map(|side| (1..=7).map(move |i| format!("{side}_foot{i}_collision")));
    let robot = Legged {
        world: WORLD,
        scene: scene(WORLD, FILE, &actuators(&motors)),
        files,
        base: "pelvis",
        feet: feet.collect(),
        joints,
        fallen_below: 0.5,
        view_distance: 3.0,
    };
    LeggedWalk::new(robot, seed)
}

fn motors() -> Vec<Motor> {
    let sides = ["left", "right"].into_iter().flat_map(|side| {
        SIDES.iter().map(move |&(part, home, torque)| Motor {
            name: format!("{side}_{part}"),
            home: if side == "right" && part == MIRRORED {
                -home
            } else {
                home
            },
            torque,
        })
    });
    let waist = WAIST.iter().map(|&(name, home, torque)| Motor {
        name: name.to_owned(),
        home,
        torque,
    });
    sides.chain(waist).collect()
}

/// A motor for each joint, limited by its torque.
fn actuators(motors: &[Motor]) -> String {
    let mut text = "<actuator>".to_owned();
    for Motor { name, torque, .. } in motors {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"<motor name="{name}" joint="{name}" ctrllimited="true" ctrlrange="-{torque} {torque}"/>"#
        );
    }
    text + "</actuator>"
}

/// The model with the rotors' inertia in each joint.
fn with_rotors(bytes: &[u8], joints: &[LeggedJoint]) -> Result<Vec<u8>, SimError> {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    for LeggedJoint { name, kp, .. } in joints {
        let plain = format!(r#"<joint name="{name}""#);
        if !text.contains(&plain) {
            return Err(SimError::Unsuitable {
                world: WORLD.to_owned(),
                kind: "model",
                name: FILE.to_owned(),
                problem: format!("has no joint {name}; run scripts/setup to fetch it again"),
            });
        }
        let armature = kp / (TAU * NATURAL_FREQUENCY_HZ).powi(2);
        text = text.replace(&plain, &format!(r#"{plain} armature="{armature}""#));
    }
    Ok(text.into_bytes())
}

//! The world `go2-walk`: a Unitree Go2 on flat ground. Joints, standing pose and gains are those of
//! its blueprint, `hardware/go2/robot.toml`.

use crate::SimError;
use crate::legged::{Legged, LeggedJoint, LeggedWalk, read_model, scene};
use sinew_hardware::Blueprint;
use std::path::Path;

const WORLD: &str = "go2-walk";

/// Loads `go2.xml` and its meshes from `model_dir`; see [`LeggedWalk::new`].
pub fn walk(model_dir: &Path, seed: u64) -> Result<LeggedWalk, SimError> {
    let files = read_model(model_dir, "go2.xml")?;
    let robot = Legged {
        world: WORLD,
        scene: scene(WORLD, "go2.xml", ""),
        files,
        base: "base",
        feet: ["FR", "FL", "RR", "RL"].map(str::to_owned).to_vec(),
        joints: joints()?,
        fallen_below: 0.18,
        view_distance: 1.8,
    };
    LeggedWalk::new(robot, seed)
}

fn joints() -> Result<Vec<LeggedJoint>, SimError> {
    let blueprint = Blueprint::load("go2").map_err(|error| SimError::Model {
        world: WORLD.to_owned(),
        reason: error.to_string(),
    })?;
    let spring = |joint: &sinew_hardware::blueprint::Joint| match (joint.kp, joint.kd) {
        (Some(kp), Some(kd)) => Ok(LeggedJoint {
            name: joint.name.clone(),
            home: joint.home_rad,
            kp,
            kd,
        }),
        _ => Err(SimError::Unsuitable {
            world: WORLD.to_owned(),
            kind: "joint",
            name: joint.name.clone(),
            problem: "has no kp and kd in its blueprint".into(),
        }),
    };
    blueprint.joints.iter().map(spring).collect()
}

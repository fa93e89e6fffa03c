//! What the walking tests share: policies bound to a simulated robot, and pictures of it.

#![allow(dead_code)] // Each test file uses its own part.

use sinew_policies::{
    Channel, EngineChoice, Features, LoadOptions, Policy, PolicyInput, Precision,
};
use sinew_runtime::{JointNames, JointTarget};
use sinew_sim::legged::{COMMAND, IMU, LeggedWalk, Seen};
use sinew_sim::{RenderOptions, Renderer, SimError};
use std::path::{Path, PathBuf};

/// A file that `scripts/setup` fetched.
pub(crate) fn fetched(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../third_party")
        .join(path);
    assert!(
        path.exists(),
        "{} is missing: run scripts/setup",
        path.display()
    );
    path
}

/// A policy of this repository, bound to the robot's joints. `engine` may be `fp16`: 16-bit weights, on the
/// engine that has them.
pub(crate) fn policy(folder: &str, engine: &str, robot: &str, joints: &JointNames) -> Policy {
    if engine == "ort" {
        let library = fetched("lib/libonnxruntime.so");
        // SAFETY: every test of a binary sets the same value, before any engine reads it.
        unsafe { std::env::set_var("SINEW_ORT_LIB", library) };
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../policies")
        .join(folder);
    let features = Features::new(joints)
        .of_robot(robot)
        .with_values(Channel::Imu, IMU)
        .with_values(Channel::Command, COMMAND);
    let options = match engine {
        "fp16" => LoadOptions {
            precision: Precision::Fp16,
            ..LoadOptions::default()
        },
        engine => engine.parse::<EngineChoice>().unwrap().into(),
    };
    Policy::load(&folder, options, features).unwrap()
}

/// The policy's first step, as a closure that a walk takes.
pub(crate) fn steps(
    policy: &mut Policy,
) -> impl FnMut(&Seen) -> Result<JointTarget, SimError> + '_ {
    let mut chunk = Vec::new();
    move |seen| {
        let input = PolicyInput {
            imu: &seen.imu,
            command: &seen.command,
            ..PolicyInput::new(&seen.joints)
        };
        policy.infer(&input, &mut chunk).unwrap();
        Ok(chunk[0])
    }
}

pub(crate) fn distance(walk: &LeggedWalk) -> f64 {
    let [x, y, _] = walk.base_position();
    x.hypot(y)
}

/// Set SINEW_SIM_PICTURES to a folder to see what the tests see.
pub(crate) fn keep_picture(walk: &LeggedWalk, name: &str) -> Vec<u8> {
    let (width, height) = (320, 240);
    let mut renderer = Renderer::new(walk.world().model(), RenderOptions::default()).unwrap();
    let mut pixels = vec![0; 3 * 320 * 240];
    renderer
        .render(walk.world(), walk.view(), width, height, &mut pixels)
        .unwrap();
    if let Some(dir) = std::env::var_os("SINEW_SIM_PICTURES") {
        let image = image::RgbImage::from_raw(width, height, pixels.clone()).unwrap();
        image
            .save(Path::new(&dir).join(format!("{name}.png")))
            .unwrap();
    }
    pixels
}

//! A robot that offers exactly what a policy asks for, and an observation of it: enough to measure.

use super::Stored;
use crate::failure::usage;
use anyhow::Result;
use sinew_policies::lerobot::Checkpoint;
use sinew_policies::manifest::Source;
use sinew_policies::{Channel, Features, Manifest, Policy, PolicyInput};
use sinew_runtime::{Frame, JointNames, JointState};

/// What the policy asks for, by name.
pub(super) fn features(stored: &Stored) -> Result<Features> {
    match stored {
        Stored::Checkpoint(checkpoint) => Ok(of_checkpoint(checkpoint)),
        Stored::Manifest(manifest, _) => Ok(of_manifest(manifest)),
        Stored::Onnx(file) => Err(usage(format!(
            "{} is a file; give the folder with its policy.toml, or one with this file alone if its metadata name the joints",
            file.display()
        ))),
    }
}

/// Adds what is not there yet.
fn join(all: &mut Vec<String>, more: &[String]) {
    for name in more {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
}

fn of_manifest(manifest: &Manifest) -> Features {
    let (mut joints, mut cameras) = (Vec::new(), Vec::new());
    let mut values: [Vec<String>; 3] = Default::default();
    for output in &manifest.outputs {
        join(&mut joints, &output.joints);
    }
    for input in &manifest.inputs {
        match &input.source {
            Source::JointPositions(names, _) | Source::JointVelocities(names, _) => {
                join(&mut joints, names);
            }
            Source::Values(channel, names) => join(&mut values[channel.index()], names),
            Source::Image { camera, .. } => join(&mut cameras, std::slice::from_ref(camera)),
            _ => {}
        }
    }
    let features = Features::new(&JointNames::new(joints)).with_cameras(cameras);
    let with = |features: Features, channel: Channel| {
        features.with_values(channel, std::mem::take(&mut values[channel.index()]))
    };
    Channel::ALL.into_iter().fold(features, with)
}

fn of_checkpoint(checkpoint: &Checkpoint) -> Features {
    let (config, names) = (&checkpoint.config, &checkpoint.names);
    let numbered = |what: &str, size: usize| -> Vec<String> {
        (1..=size).map(|i| format!("{what}_{i}")).collect()
    };
    let mut joints = Vec::new();
    for (feature, named) in [
        (config.state(), &names.state),
        (config.action(), &names.action),
    ] {
        let size = feature.map_or(0, |feature| feature.len());
        join(
            &mut joints,
            &named.clone().unwrap_or_else(|| numbered("joint", size)),
        );
    }
    let surroundings = config.environment().map(|feature| {
        let named = names.environment.clone();
        named.unwrap_or_else(|| numbered("value", feature.len()))
    });
    let cameras = config.images().map(|image| {
        let robot = checkpoint.processors.robot_name(&image.name);
        match robot == image.name {
            true => names.camera(image).to_owned(),
            false => robot.rsplit('.').next().unwrap_or(robot).to_owned(),
        }
    });
    Features::new(&JointNames::new(joints))
        .with_cameras(cameras)
        .with_values(Channel::Environment, surroundings.unwrap_or_default())
}

/// An observation in which everything stands still, for any number of inferences.
#[derive(Debug)]
pub(super) struct Still {
    joints: JointState,
    values: [Vec<f64>; 3],
    frames: Vec<Frame>,
}

impl Still {
    pub(super) fn new(policy: &Policy) -> Self {
        let features = policy.features();
        let sizes = policy.pictures();
        // Cameras that the policy does not look at give one pixel.
        let frame = |camera: usize| {
            let mut sizes = sizes.iter().filter(|picture| picture.camera == camera);
            let (width, height) = sizes
                .next()
                .map_or((1, 1), |picture| (picture.width, picture.height));
            let bytes = (0..width as usize * height as usize * 3).map(|i| (i * 31 % 251) as u8);
            Frame::new(width, height, bytes.collect())
        };
        Self {
            joints: JointState {
                len: features.joints().len(),
                ..JointState::default()
            },
            values: Channel::ALL.map(|channel| vec![0.0; features.values(channel).len()]),
            frames: (0..features.cameras().len()).map(frame).collect(),
        }
    }

    /// Gives the next observation to `use_it`: a later one of the same.
    pub(super) fn next<T>(&mut self, use_it: impl FnOnce(&PolicyInput<'_>) -> T) -> T {
        self.joints.seq += 1;
        self.joints.captured_ns += 1_000_000;
        let images: Vec<&Frame> = self.frames.iter().collect();
        let [environment, command, imu] = &self.values;
        use_it(&PolicyInput {
            environment,
            command,
            imu,
            images: &images,
            ..PolicyInput::new(&self.joints)
        })
    }
}

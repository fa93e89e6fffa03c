//! Observations of a recorded dataset, as a policy would have had them.

use crate::failure::usage;
use crate::player::features_of;
use anyhow::Result;
use sinew_datasets::{IMAGES, Item, Pixels, Reader, ReaderOptions, STATE};
use sinew_hardware::{Blueprint, Units};
use sinew_policies::lerobot::features::ENVIRONMENT;
use sinew_policies::{Channel, Features, PolicyInput};
use sinew_runtime::{Frame, JointState};
use std::path::Path;

/// A dataset of a robot, opened for policies.
#[derive(Debug)]
pub(super) struct Recorded {
    reader: Reader,
    pub(super) blueprint: Blueprint,
    pub(super) units: Units,
    cameras: Vec<String>,
    surroundings: Vec<String>,
    /// For each joint its place in the dataset's state.
    state: Vec<usize>,
}

/// One observation.
#[derive(Debug)]
pub(super) struct Seen {
    joints: JointState,
    environment: Vec<f64>,
    frames: Vec<Frame>,
}

impl Seen {
    /// Gives it to `use_it`.
    pub(super) fn with<T>(&self, use_it: impl FnOnce(&PolicyInput<'_>) -> T) -> T {
        let images: Vec<&Frame> = self.frames.iter().collect();
        use_it(&PolicyInput {
            environment: &self.environment,
            images: &images,
            ..PolicyInput::new(&self.joints)
        })
    }
}

impl Recorded {
    pub(super) fn open(dataset: &Path, robot: &Path) -> Result<Self> {
        let blueprint = Blueprint::load(robot).map_err(usage)?;
        let units = Units::default_of(&blueprint).map_err(usage)?;
        let data = crate::hub::dataset(dataset)?;
        if data.is_empty() {
            return Err(usage(format!("{} holds no frames", dataset.display())));
        }
        let entries = |feature: &str| {
            let features = &data.info().features;
            let found = features.iter().find(|(name, _)| *name == feature);
            found
                .and_then(|(_, feature)| feature.entry_names())
                .unwrap_or_default()
        };
        let names = entries(STATE);
        let place = |wanted: &String| {
            let found = names.iter().position(|name| name == wanted);
            found.ok_or_else(|| {
                usage(format!(
                    "{} has no state {wanted}, which {} needs; it has {}",
                    dataset.display(),
                    blueprint.name,
                    names.join(", ")
                ))
            })
        };
        let state: Vec<usize> = units.names().iter().map(place).collect::<Result<_>>()?;
        let surroundings = entries(ENVIRONMENT);
        let images = data.info().features.iter();
        let cameras = images.filter_map(|(name, feature)| {
            let colours = feature.is_video() || feature.dtype == "image";
            name.strip_prefix(IMAGES)
                .filter(|_| colours)
                .map(str::to_owned)
        });
        let cameras: Vec<String> = cameras.collect();
        let read = cameras.iter().map(|camera| format!("{IMAGES}{camera}"));
        let vectors = [STATE, ENVIRONMENT].into_iter();
        let vectors = vectors.filter(|name| *name == STATE || !surroundings.is_empty());
        let options = ReaderOptions {
            features: Some(read.chain(vectors.map(str::to_owned)).collect()),
            ..ReaderOptions::default()
        };
        Ok(Self {
            reader: data.reader(&options).map_err(usage)?,
            blueprint,
            units,
            cameras,
            surroundings,
            state,
        })
    }

    /// What the dataset can give to a policy.
    pub(super) fn features(&self) -> Features {
        features_of(&self.blueprint, &self.units)
            .with_cameras(self.cameras.iter().cloned())
            .with_values(Channel::Environment, self.surroundings.iter().cloned())
    }

    /// Numbers of `count` frames, spread evenly over all.
    pub(super) fn spread(&self, count: u64) -> Vec<u64> {
        let all = self.reader.len();
        let count = count.clamp(1, all);
        (0..count)
            .map(|i| (2 * i + 1) * all / (2 * count))
            .collect()
    }

    /// The observation of a frame.
    pub(super) fn at(&self, index: u64) -> Result<Seen> {
        let item = self.reader.get(index)?;
        let numbers = |name: &str| -> Vec<f64> {
            let tensor = item.get(name).and_then(|value| value.tensor());
            tensor
                .map(|tensor| tensor.numbers.to_f64())
                .unwrap_or_default()
        };
        let state = numbers(STATE);
        let mut joints = JointState {
            seq: index + 1,
            captured_ns: (index + 1) * 1_000_000,
            len: self.state.len(),
            ..JointState::default()
        };
        let places = self.state.iter().zip(self.units.joints());
        for (position, (place, units)) in joints.position.iter_mut().zip(places) {
            *position = units.from_lerobot(state.get(*place).copied().unwrap_or(f64::NAN));
        }
        let frames = self.cameras.iter().map(|camera| frame(&item, camera));
        Ok(Seen {
            joints,
            environment: numbers(ENVIRONMENT),
            frames: frames.collect::<Result<_>>()?,
        })
    }
}

fn frame(item: &Item, camera: &str) -> Result<Frame> {
    let image = item
        .get(&format!("{IMAGES}{camera}"))
        .and_then(|value| value.image());
    let Some(image) = image else {
        return Err(usage(format!(
            "frame {} has no picture of camera {camera}",
            item.index
        )));
    };
    let (width, height) = (u32::try_from(image.width)?, u32::try_from(image.height)?);
    match &image.pixels {
        Pixels::Rgb(rgb) => Ok(Frame::new(width, height, rgb.clone())),
        // A depth camera has a place in the order and nothing that a policy takes.
        Pixels::Depth(_) => Ok(Frame::new(1, 1, vec![0; 3])),
    }
}

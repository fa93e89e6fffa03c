//! A LeRobot checkpoint that is bound to a robot.

use super::pixels::PixelTable;
use super::self_check::{Seen, SelfCheck};
use super::{LoadOptions, PictureUse, PolicyInfo, Precision, does_not_fit, start_chunk};
use crate::encode::{Affine, check_size};
use crate::engine::EngineOptions;
use crate::error::PolicyError;
use crate::features::{Features, PolicyInput};
use crate::fit::from_rad;
use crate::lerobot::diffusion::Normal;
use crate::lerobot::model::{ActOptions, Model};
use crate::lerobot::names::joints_of;
use crate::lerobot::{Architecture, Checkpoint, Feature, Opening, load, load_reference};
use crate::manifest::{JointUnits, Unit};
use sinew_runtime::{Frame, JointTarget};
use std::path::Path;
use std::sync::Arc;

/// LeRobot's own default, for checkpoints that do not say how fast they were recorded.
const DEFAULT_RATE_HZ: f64 = 30.0;

/// A value of a vector: a joint, and how its position in rad becomes the checkpoint's number.
#[derive(Debug)]
struct Slot {
    joint: usize,
    from_rad: Affine,
}

/// An image of the policy.
#[derive(Debug)]
struct Picture {
    /// Place among the robot's cameras.
    camera: usize,
    width: usize,
    height: usize,
    table: PixelTable,
}

/// What becomes of the comparison with the plain network.
#[derive(Debug)]
enum Check {
    /// It was made, or is not wanted.
    Off,
    /// The first chunk will start it; how the plain network is to be opened.
    Wanted(EngineOptions),
    /// A thread is at it.
    Running(SelfCheck),
}

/// A checkpoint's network between a robot's names and units.
#[derive(Debug)]
pub(super) struct CheckpointPolicy {
    checkpoint: Arc<Checkpoint>,
    info: PolicyInfo,
    model: Box<dyn Model>,
    check: Check,
    pictures: Vec<Picture>,
    state: Vec<Slot>,
    action: Vec<Slot>,
    /// Which values of an action are added to the state.
    relative: Vec<bool>,
    environment: Vec<usize>,
    state_values: Vec<f32>,
    environment_values: Vec<f32>,
    noise: Vec<f32>,
    actions: Vec<f32>,
    normal: Normal,
    /// Number and time of the joints that were observed last, and the step.
    observed: Option<(u64, u64, u64)>,
}

impl CheckpointPolicy {
    pub(super) fn load(
        directory: &Path,
        options: &LoadOptions,
        features: &Features,
    ) -> Result<Self, PolicyError> {
        let checkpoint = Arc::new(Checkpoint::open(directory)?);
        let binding = bind(&checkpoint, features)?;
        let threads = match options.threads {
            // Networks with cameras gain from every core; the loop thread has priority over them.
            0 => std::thread::available_parallelism()
                .map_or(1, usize::from)
                .min(8),
            threads => threads,
        };
        let how = options.engine_options(threads);
        let opening = Opening {
            engine: how,
            precision: options.precision,
            calibration: None,
            recorder: options.recorder.clone(),
        };
        let model = load(&checkpoint, &opening)?;
        let plain = options.precision == Precision::Fp32 && options.recorder.is_none();
        let check = match options.self_check && plain {
            // One thread: the network in use goes on beside it.
            true => Check::Wanted(EngineOptions {
                optimise: false,
                threads: 1,
                ..how
            }),
            false => Check::Off,
        };
        let config = &checkpoint.config;
        let architecture = &config.architecture;
        let rate_hz = options.rate_hz.or(checkpoint.names.rate_hz).unwrap_or_else(|| {
            tracing::warn!(
                "{}: nothing says how many steps a second it was trained at; {DEFAULT_RATE_HZ} Hz are assumed \
                 (`rate_hz` in sinew.toml beside it says otherwise)",
                checkpoint.dir.display()
            );
            DEFAULT_RATE_HZ
        });
        let (steps, width) = model.chunk();
        let ensemble_coeff = match architecture {
            Architecture::Act(act) => act.temporal_ensemble_coeff,
            _ => None,
        };
        Ok(Self {
            info: PolicyInfo {
                name: checkpoint.name(),
                description: String::new(),
                architecture: architecture.name().to_owned(),
                robot: checkpoint.names.robot.clone(),
                rate_hz,
                chunk_size: steps,
                n_action_steps: architecture.n_action_steps().min(steps),
                n_obs_steps: config.n_obs_steps,
                ensemble_coeff,
            },
            state_values: vec![0.0; binding.state.len()],
            environment_values: vec![0.0; binding.environment.len()],
            noise: vec![0.0; model.noise_len()],
            actions: vec![0.0; steps * width],
            relative: checkpoint.processors.relative(width),
            pictures: binding.pictures,
            state: binding.state,
            action: binding.action,
            environment: binding.environment,
            normal: Normal::new(options.seed),
            observed: None,
            model,
            check,
            checkpoint,
        })
    }

    pub(super) fn info(&self) -> &PolicyInfo {
        &self.info
    }

    pub(super) fn engine_name(&self) -> &'static str {
        self.model.engine()
    }

    pub(super) fn pictures(&self) -> Vec<PictureUse> {
        let used = |picture: &Picture| PictureUse {
            camera: picture.camera,
            width: u32::try_from(picture.width).unwrap_or(u32::MAX),
            height: u32::try_from(picture.height).unwrap_or(u32::MAX),
        };
        self.pictures.iter().map(used).collect()
    }

    pub(super) fn reset(&mut self) {
        self.model.reset();
        self.observed = None;
    }

    pub(super) fn seed(&mut self, seed: u64) {
        self.normal = Normal::new(seed);
    }

    /// Runs everything once on what a policy may see, so that the first real answer is as fast as
    /// all others.
    pub(super) fn warmup(&mut self) -> Result<(), PolicyError> {
        for index in 0..self.pictures.len() {
            self.model.image_mut(index).fill(0.0);
            self.model.encode(index).map_err(|e| self.failed(e))?;
        }
        self.state_values.fill(0.0);
        self.environment_values.fill(0.0);
        self.noise.fill(0.0);
        self.model
            .observe(&self.state_values, &self.environment_values);
        self.model.prefix().map_err(|e| self.failed(e))?;
        let noise = Some(self.noise.as_slice());
        let options = ActOptions {
            noise,
            ..ActOptions::default()
        };
        match self.model.act(&options) {
            Ok(_) => {
                self.reset();
                Ok(())
            }
            Err(problem) => Err(self.failed(problem)),
        }
    }

    pub(super) fn encode(
        &mut self,
        features: &Features,
        camera: usize,
        frame: &Frame,
    ) -> Result<(), PolicyError> {
        for index in 0..self.pictures.len() {
            let picture = &self.pictures[index];
            if picture.camera != camera {
                continue;
            }
            let size = (picture.width, picture.height);
            check_size(&self.info.name, features, camera, frame, size)?;
            picture.table.fill(&frame.data, self.model.image_mut(index));
            self.model.encode(index).map_err(|e| self.failed(e))?;
        }
        Ok(())
    }

    pub(super) fn prefix(&mut self) -> Result<(), PolicyError> {
        self.model.prefix().map_err(|e| self.failed(e))
    }

    /// Takes the vectors of an observation; the same one twice counts once.
    pub(super) fn observe(
        &mut self,
        features: &Features,
        input: &PolicyInput<'_>,
    ) -> Result<(), PolicyError> {
        let stamp = (input.joints.seq, input.joints.captured_ns, input.step);
        if self.observed == Some(stamp) && stamp != (0, 0, 0) {
            return Ok(());
        }
        let not_finite = |what: String| PolicyError::InputNotFinite {
            policy: self.info.name.clone(),
            what,
        };
        let processors = &self.checkpoint.processors;
        let scaling = processors.input(crate::lerobot::features::STATE);
        for (i, (value, slot)) in self.state_values.iter_mut().zip(&self.state).enumerate() {
            let raw = slot.from_rad.apply(input.joints.position[slot.joint]) as f32;
            if !raw.is_finite() {
                let joint = &features.joints()[slot.joint];
                return Err(not_finite(format!("the position of joint `{joint}`")));
            }
            *value = scaling.map_or(raw, |scaling| scaling.normalise(i, raw));
        }
        let scaling = processors.input(crate::lerobot::features::ENVIRONMENT);
        let places = self.environment_values.iter_mut().zip(&self.environment);
        for (i, (value, &place)) in places.enumerate() {
            let raw = input.environment[place] as f32;
            if !raw.is_finite() {
                return Err(not_finite(format!("environment value {place}")));
            }
            *value = scaling.map_or(raw, |scaling| scaling.normalise(i, raw));
        }
        self.model
            .observe(&self.state_values, &self.environment_values);
        self.observed = Some(stamp);
        Ok(())
    }

    /// The chunk for the newest observation.
    pub(super) fn act(
        &mut self,
        features: &Features,
        input: &PolicyInput<'_>,
        options: &ActOptions<'_>,
        chunk: &mut Vec<JointTarget>,
    ) -> Result<(), PolicyError> {
        self.observe(features, input)?;
        if let Some(given) = options.noise
            && given.len() != self.noise.len()
        {
            return Err(PolicyError::InputSize {
                policy: self.info.name.clone(),
                what: "the noise",
                got: given.len(),
                expected: self.noise.len(),
            });
        }
        if options.guidance.is_some() {
            return Err(self.failed("this architecture takes no guidance".to_owned()));
        }
        match options.noise {
            Some(given) => self.noise.copy_from_slice(given),
            None => self.normal.fill(&mut self.noise),
        }
        let noise = self.noise.as_slice();
        let options = ActOptions {
            noise: (!noise.is_empty()).then_some(noise),
            ..*options
        };
        let raw = match self.model.act(&options) {
            Ok(raw) => raw,
            Err(problem) => return Err(self.failed(problem)),
        };
        self.actions.copy_from_slice(raw);
        self.check = match std::mem::replace(&mut self.check, Check::Off) {
            Check::Wanted(how) => {
                let vectors = [self.state_values.as_slice(), &self.environment_values];
                let seen = Seen::of(&mut *self.model, vectors, &options, &self.actions);
                let seen = seen.map_err(|problem| self.failed(problem))?;
                let checkpoint = Arc::clone(&self.checkpoint);
                let reference = move || load_reference(&checkpoint, &how);
                SelfCheck::start(self.info.name.clone(), seen, reference)
                    .map_or(Check::Off, Check::Running)
            }
            Check::Running(check) if check.is_finished() => {
                self.heed(check);
                Check::Off
            }
            other => other,
        };
        self.decode(features, input, chunk)
    }

    /// Waits for the comparison with the plain network, if one is under way.
    pub(super) fn finish_check(&mut self) {
        if let Check::Running(check) = std::mem::replace(&mut self.check, Check::Off) {
            self.heed(check);
        }
    }

    /// Goes on with the plain network from the next observation on, if the other one was wrong.
    fn heed(&mut self, check: SelfCheck) {
        if let Some(mut plain) = check.end() {
            if let Some(past) = self.model.past() {
                plain.set_past(past);
            }
            self.model = plain;
        }
    }

    /// From the network's numbers to joint targets in rad. Joints without an action stay where they
    /// are.
    fn decode(
        &mut self,
        features: &Features,
        input: &PolicyInput<'_>,
        chunk: &mut Vec<JointTarget>,
    ) -> Result<(), PolicyError> {
        let scaling = self.checkpoint.processors.action();
        start_chunk(chunk, self.info.chunk_size, input.joints);
        let rows = self.actions.chunks_exact(self.action.len());
        for (step, (row, target)) in rows.zip(chunk.iter_mut()).enumerate() {
            target.position = input.joints.position;
            for (i, (&raw, slot)) in row.iter().zip(&self.action).enumerate() {
                let mut value =
                    f64::from(scaling.map_or(raw, |scaling| scaling.unnormalise(i, raw)));
                if self.relative[i] {
                    value += slot.from_rad.apply(input.joints.position[slot.joint]);
                }
                let value = (value - slot.from_rad.bias) / slot.from_rad.gain;
                if !value.is_finite() {
                    chunk.clear();
                    return Err(PolicyError::OutputNotFinite {
                        policy: self.info.name.clone(),
                        joint: features.joints()[slot.joint].clone(),
                        step,
                    });
                }
                target.position[slot.joint] = value;
            }
        }
        Ok(())
    }

    fn failed(&self, problem: String) -> PolicyError {
        PolicyError::Run {
            policy: self.info.name.clone(),
            engine: self.model.engine(),
            problem,
        }
    }
}

/// The checkpoint's features as places in a robot's.
struct Binding {
    pictures: Vec<Picture>,
    state: Vec<Slot>,
    action: Vec<Slot>,
    environment: Vec<usize>,
}

/// Finds every feature by name; all that does not fit is reported at once.
fn bind(checkpoint: &Checkpoint, features: &Features) -> Result<Binding, PolicyError> {
    let mut problems = Vec::new();
    let names = &checkpoint.names;
    if let (Some(made_for), Some(robot)) = (&names.robot, features.robot())
        && made_for != robot
    {
        return Err(PolicyError::OtherRobot {
            policy: checkpoint.name(),
            path: checkpoint.dir.join(crate::lerobot::names::NAMES_FILE),
            made_for: made_for.clone(),
            robot: robot.to_owned(),
        });
    }
    let config = &checkpoint.config;
    let mut joints = |feature: Option<&Feature>, named: Option<&Vec<String>>| {
        let Some(feature) = feature else {
            return Vec::new();
        };
        let robot = features.joints();
        let found = joints_of(
            &feature.name,
            feature.len(),
            named.map(Vec::as_slice),
            robot,
        );
        match found {
            Ok((joints, assumed)) => {
                if let Some(assumed) = assumed {
                    tracing::warn!("{}: {assumed}", checkpoint.dir.display());
                }
                slots(&joints, &names.units, features)
            }
            Err(problem) => {
                problems.push(problem);
                Vec::new()
            }
        }
    };
    let state = joints(config.state(), names.state.as_ref());
    let action = joints(config.action(), names.action.as_ref());
    let environment = match environment(checkpoint, features) {
        Ok(environment) => environment,
        Err(problem) => {
            problems.push(problem);
            Vec::new()
        }
    };
    let mut pictures = Vec::new();
    for image in config.images() {
        match picture(checkpoint, features, image) {
            Ok(picture) => pictures.push(picture),
            Err(problem) => problems.push(problem),
        }
    }
    match problems.is_empty() {
        true => Ok(Binding {
            pictures,
            state,
            action,
            environment,
        }),
        false => Err(does_not_fit(&checkpoint.name(), &config.path, problems)),
    }
}

fn slots(joints: &[String], units: &JointUnits, features: &Features) -> Vec<Slot> {
    let mut units = units.clone();
    if units.unit == Unit::Lerobot {
        for (joint, range) in features.ranges() {
            units.ranges.entry(joint.clone()).or_insert(*range);
        }
    }
    let places = joints
        .iter()
        .filter_map(|joint| features.joints().index_of(joint));
    places
        .zip(from_rad(joints, &units))
        .map(|(joint, from_rad)| Slot { joint, from_rad })
        .collect()
}

fn environment(checkpoint: &Checkpoint, features: &Features) -> Result<Vec<usize>, String> {
    let Some(feature) = checkpoint.config.environment() else {
        return Ok(Vec::new());
    };
    let offered = features.values(crate::Channel::Environment);
    let there = if offered.is_empty() {
        "nothing".to_owned()
    } else {
        offered.join(", ")
    };
    match &checkpoint.names.environment {
        Some(names) if names.len() == feature.len() => names
            .iter()
            .map(|name| {
                let place = offered.iter().position(|offer| offer == name);
                place.ok_or_else(|| {
                    format!("`{}` needs `{name}`, and there is {there}", feature.name)
                })
            })
            .collect(),
        None if offered.len() == feature.len() => Ok((0..offered.len()).collect()),
        _ => Err(format!(
            "`{}` has {} values, and the surroundings offer {there}; name them in sinew.toml",
            feature.name,
            feature.len()
        )),
    }
}

fn picture(
    checkpoint: &Checkpoint,
    features: &Features,
    image: &Feature,
) -> Result<Picture, String> {
    let robot_name = checkpoint.processors.robot_name(&image.name);
    let camera = match robot_name == image.name {
        true => checkpoint.names.camera(image),
        false => robot_name.rsplit('.').next().unwrap_or(robot_name),
    };
    let cameras = features.cameras();
    let place = cameras
        .iter()
        .position(|offer| offer == camera)
        .ok_or_else(|| {
            let there = if cameras.is_empty() {
                "none".to_owned()
            } else {
                cameras.join(", ")
            };
            format!(
                "`{}` needs the camera `{camera}`, which is not there (there is: {there}); \
             `[cameras]` in sinew.toml names another one",
                image.name
            )
        })?;
    let &[3, height, width] = image.shape.as_slice() else {
        let shape = &image.shape;
        return Err(format!(
            "`{}` is {shape:?}; cameras here give 3 colours",
            image.name
        ));
    };
    Ok(Picture {
        camera: place,
        width,
        height,
        table: PixelTable::new(checkpoint.processors.input(&image.name)),
    })
}

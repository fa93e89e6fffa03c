//! A policy as a source of actions: loaded for a robot, with the strategy that plays its chunks.

use crate::args::StrategyArgs;
use crate::failure::usage;
use crate::session::Rig;
use crate::world::World;
use anyhow::Result;
use sinew_hardware::{Blueprint, Norm, Units};
use sinew_policies::{Channel, Features, LoadOptions, PictureUse, Policy, PolicyInput};
use sinew_runtime::actions::{
    ChunkBuf, ChunkUse, Infer, InferenceThread, QueueConfig, QueueSource, Strategy,
};
use sinew_runtime::control::Observation;
use sinew_runtime::stop::StopToken;
use sinew_runtime::{Frame, MonotonicClock};
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a simulated world knows besides pixels, at the time of the call.
type Environment = Box<dyn FnMut() -> Result<Vec<f64>> + Send>;

/// A loaded policy and how it is played.
#[derive(Debug)]
pub(crate) struct Loaded {
    policy: Arc<Mutex<Policy>>,
    pub(crate) rate_hz: f64,
    pub(crate) engine: &'static str,
    pub(crate) name: String,
    pub(crate) strategy: Strategy,
    queue: QueueConfig,
    /// What it looks at.
    pub(crate) pictures: Vec<PictureUse>,
}

/// Loads the policy in `directory` for a robot in a world.
pub(crate) fn load_policy(
    directory: &Path,
    options: LoadOptions,
    strategy: &StrategyArgs,
    rig: &Rig,
    world: &World,
) -> Result<Loaded> {
    let mut features = features_of(&rig.blueprint, &rig.units)
        .with_cameras(world.cameras().into_iter().map(|camera| camera.name));
    if let Some((names, _)) = environment(world)? {
        features = features.with_values(Channel::Environment, names);
    }
    Loaded::new(directory, options, strategy, features)
}

/// What a robot offers to a policy beside cameras.
pub(crate) fn features_of(blueprint: &Blueprint, units: &Units) -> Features {
    let joints = blueprint.joints.iter().zip(units.joints());
    let ranges = joints.filter(|(joint, _)| joint.norm == Norm::Range0To100);
    Features::new(&blueprint.joint_names())
        .of_robot(&blueprint.name)
        .with_ranges(ranges.map(|(joint, units)| {
            let range = [0.0, 100.0].map(|value| units.from_lerobot(value));
            (joint.name.clone(), range)
        }))
}

impl Loaded {
    /// Loads the policy in `directory`, which may be one on a hub, for what `features` offer.
    pub(crate) fn new(
        directory: &Path,
        options: LoadOptions,
        strategy: &StrategyArgs,
        features: Features,
    ) -> Result<Self> {
        // Not warmed up: the arm is switched on by the first target, so that the first real answer shows what
        // cannot run just as early, and the first action comes sooner by one inference.
        let directory = crate::hub::policy(directory)?;
        let policy = Policy::load(&directory, options, features).map_err(usage)?;
        let info = policy.info();
        let chunks = ChunkUse {
            chunk: info.chunk_size,
            n_action_steps: info.n_action_steps,
            ensemble_coeff: policy.ensemble_coeff(),
        };
        let strategy = strategy.wish().resolve(&chunks).map_err(usage)?;
        let pictures = policy.pictures();
        let period = Duration::from_nanos(policy.period_ns());
        let queue = QueueConfig {
            cameras: pictures
                .iter()
                .filter_map(|picture| 1_u8.checked_shl(u32::try_from(picture.camera).ok()?))
                .fold(0, |mask, bit| mask | bit),
            window: info.n_obs_steps,
            ..strategy.queue(policy.features().joints().len(), chunks.chunk, period)
        };
        Ok(Self {
            rate_hz: info.rate_hz,
            engine: policy.engine_name(),
            name: info.name.clone(),
            strategy,
            queue,
            pictures,
            policy: Arc::new(Mutex::new(policy)),
        })
    }

    /// Starts the inference thread.
    pub(crate) fn start(
        self,
        world: &World,
        stop: StopToken,
    ) -> Result<(InferenceThread, QueueSource)> {
        let world = world.clone();
        let known: Environment = Box::new(move || {
            let values = environment(&world)?.map(|(_, values)| values);
            Ok(values.unwrap_or_default())
        });
        let queue = self.queue;
        InferenceThread::spawn(self.infer(known), queue, Arc::new(MonotonicClock), stop)
            .map_err(Into::into)
    }

    fn infer(self, mut known: Environment) -> Infer {
        let (policy, pictures) = (self.policy, self.pictures);
        let mut targets = Vec::new();
        Box::new(move |seen: &[Observation], chunk: &mut ChunkBuf| {
            let environment = known()?;
            let mut policy = policy.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((now, past)) = seen.split_last() else {
                return Ok(());
            };
            for observation in past {
                remember(&mut policy, &pictures, observation, &environment)?;
            }
            let images = images(&policy, &pictures, now)?;
            let input = PolicyInput {
                step: now.step,
                environment: &environment,
                images: &images,
                ..PolicyInput::new(&now.state)
            };
            policy.infer(&input, &mut targets)?;
            for target in &targets {
                chunk.push(target.positions());
            }
            Ok(())
        })
    }
}

/// Shows an observation of the recent past to a policy that looks back. What was known of the
/// surroundings then is not kept; what is known now stands for it.
fn remember(
    policy: &mut Policy,
    pictures: &[PictureUse],
    observation: &Observation,
    environment: &[f64],
) -> Result<(), Box<dyn Error + Send + Sync>> {
    for (camera, image) in images(policy, pictures, observation)?.iter().enumerate() {
        policy.encode(camera, image)?;
    }
    let input = PolicyInput {
        step: observation.step,
        environment,
        ..PolicyInput::new(&observation.state)
    };
    Ok(policy.observe(&input)?)
}

/// The newest picture of each camera. One that the policy does not look at may be missing; another's
/// is in its place then.
fn images<'a>(
    policy: &Policy,
    pictures: &[PictureUse],
    observation: &'a Observation,
) -> Result<Vec<&'a Frame>, Box<dyn Error + Send + Sync>> {
    static NONE: std::sync::LazyLock<Frame> =
        std::sync::LazyLock::new(|| Frame::new(0, 0, Vec::new()));
    let names = policy.features().cameras();
    let frames = observation.frames.iter().zip(names).enumerate();
    frames
        .map(|(camera, (frame, name))| match frame {
            Some(frame) => Ok(&**frame),
            None if pictures.iter().any(|picture| picture.camera == camera) => {
                Err(format!("camera {name} has not delivered a frame").into())
            }
            None => Ok(&*NONE),
        })
        .collect()
}

/// Names and values of what a simulated world knows besides pixels.
fn environment(world: &World) -> Result<Option<(Vec<&'static str>, Vec<f64>)>> {
    #[cfg(feature = "sim")]
    if let Some(task) = world.task_state()? {
        return Ok(Some((
            sinew_sim::pick::ENVIRONMENT.to_vec(),
            task.environment().to_vec(),
        )));
    }
    let _ = world;
    Ok(None)
}

#[cfg(feature = "sim")]
pub(crate) use lockstep::Player;

#[cfg(feature = "sim")]
mod lockstep {
    use super::*;
    use sinew_runtime::actions::InlineInference;
    use sinew_runtime::control::ActionSource;
    use sinew_sim::eval::Contestant;
    use sinew_sim::pick::Surroundings;

    /// A policy in lockstep, one a worker.
    #[derive(Debug)]
    pub(crate) struct Player {
        policy: Arc<Mutex<Policy>>,
        source: InlineInference,
    }

    impl Player {
        /// Plays `loaded`, whose inference takes `latency_steps` steps.
        pub(crate) fn new(loaded: Loaded, known: Surroundings, latency_steps: u64) -> Self {
            let (policy, queue) = (loaded.policy.clone(), loaded.queue);
            let infer = loaded.infer(Box::new(move || Ok(known.values().to_vec())));
            let source = InlineInference::new(infer, queue).with_latency(latency_steps);
            Self { policy, source }
        }
    }

    impl Contestant for Player {
        fn begin(&mut self, seed: u64) {
            let mut policy = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
            policy.reset();
            policy.seed(seed);
            self.source.reset();
        }

        fn source(&mut self) -> &mut dyn ActionSource {
            &mut self.source
        }
    }
}

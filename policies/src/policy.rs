//! A loaded policy: observation in, chunk of joint targets out.

use crate::decode::{Decoder, NotFinite};
use crate::encode::Part;
use crate::engine::{Engine, EngineChoice, ModelBytes, Tensor};
use crate::error::PolicyError;
use crate::features::{Channel, Features, PolicyInput};
use crate::fit;
use crate::manifest::Manifest;
use sinew_runtime::JointTarget;
use std::path::{Path, PathBuf};

/// How to load a policy.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Which engine runs the network.
    pub engine: EngineChoice,
    /// A model file to use instead of the manifest's.
    pub model_file: Option<PathBuf>,
    /// Threads that one inference may use. One is fastest for small networks.
    pub threads: usize,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            engine: EngineChoice::Auto,
            model_file: None,
            threads: 1,
        }
    }
}

impl From<EngineChoice> for LoadOptions {
    fn from(engine: EngineChoice) -> Self {
        Self {
            engine,
            ..Self::default()
        }
    }
}

/// A policy that is bound to a robot and ready to run.
#[derive(Debug)]
pub struct Policy {
    manifest: Manifest,
    features: Features,
    engine: Box<dyn Engine>,
    parts: Vec<Part>,
    decoders: Vec<Decoder>,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    last_action: Vec<f32>,
}

impl Policy {
    /// Loads a policy directory and binds it to what the robot offers.
    ///
    /// Fails with [`PolicyError::OtherRobot`] when it was made for another robot than `features`
    /// are of, and with [`PolicyError::DoesNotFit`] when manifest, network and robot contradict one
    /// another; that error lists every contradiction. A network that loads but cannot run shows
    /// here too, because one inference on zeros is made.
    pub fn load(
        directory: &Path,
        options: impl Into<LoadOptions>,
        features: impl Into<Features>,
    ) -> Result<Self, PolicyError> {
        let (options, features) = (options.into(), features.into());
        let manifest = Manifest::read(directory)?;
        check_robot(&manifest, &features)?;
        let model = options
            .model_file
            .unwrap_or_else(|| directory.join(&manifest.model_file));
        let engine = options
            .engine
            .open(ModelBytes::read(&model)?, options.threads)?;
        Self::with_engine(manifest, engine, features)
    }

    /// Binds an engine that is already open.
    pub fn with_engine(
        manifest: Manifest,
        engine: Box<dyn Engine>,
        features: impl Into<Features>,
    ) -> Result<Self, PolicyError> {
        let features = features.into();
        check_robot(&manifest, &features)?;
        let plan = fit::plan(&manifest, &features, engine.inputs(), engine.outputs())
            .map_err(|problems| does_not_fit(&manifest, problems))?;
        let mut policy = Self {
            outputs: vec![Tensor::default(); engine.outputs().len()],
            last_action: vec![0.0; plan.action_width],
            parts: plan.parts,
            decoders: plan.decoders,
            inputs: plan.tensors,
            manifest,
            features,
            engine,
        };
        policy.run()?;
        Ok(policy)
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the policy was bound to; the order of every slice in [`PolicyInput`].
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Name of the engine that runs the network.
    pub fn engine_name(&self) -> &'static str {
        self.engine.name()
    }

    /// Time from one step of a chunk to the next, ns.
    pub fn period_ns(&self) -> u64 {
        (1e9 / self.manifest.rate_hz).round() as u64
    }

    /// Forgets the past: call before each episode.
    pub fn reset(&mut self) {
        self.last_action.fill(0.0);
    }

    /// Asks the network for its next `chunk_size` steps, `1 / rate_hz` apart, the first one for
    /// now. Targets are in rad, blueprint order, counted from 1, issued at the time when the
    /// joints were measured.
    ///
    /// On any error `chunk` is empty: a NaN never reaches a joint. After the first call nothing
    /// outside the engine allocates.
    pub fn infer(
        &mut self,
        input: &PolicyInput<'_>,
        chunk: &mut Vec<JointTarget>,
    ) -> Result<(), PolicyError> {
        chunk.clear();
        self.check_sizes(input)?;
        for part in &self.parts {
            part.fill(
                &self.manifest.name,
                &self.features,
                input,
                &self.last_action,
                &mut self.inputs,
            )?;
        }
        self.run()?;
        chunk.reserve(self.manifest.chunk_size);
        for seq in 1..=self.manifest.chunk_size as u64 {
            chunk.push(JointTarget {
                seq,
                issued_ns: input.joints.captured_ns,
                len: self.features.joints().len(),
                ..JointTarget::default()
            });
        }
        for decoder in &self.decoders {
            if let Err(NotFinite { joint, step }) = decoder.fill(&self.outputs, input.joints, chunk)
            {
                chunk.clear();
                let joint = self.features.joints()[joint].clone();
                return Err(PolicyError::OutputNotFinite {
                    policy: self.manifest.name.clone(),
                    joint,
                    step,
                });
            }
        }
        let used = self.manifest.n_action_steps - 1;
        let raw = self
            .decoders
            .iter()
            .flat_map(|decoder| decoder.raw_step(&self.outputs, used));
        for (slot, value) in self.last_action.iter_mut().zip(raw) {
            *slot = value;
        }
        Ok(())
    }

    /// Runs the network and makes sure that its outputs have the agreed size.
    fn run(&mut self) -> Result<(), PolicyError> {
        self.engine
            .run(&self.inputs, &mut self.outputs)
            .map_err(|problem| PolicyError::Run {
                policy: self.manifest.name.clone(),
                engine: self.engine.name(),
                problem,
            })?;
        for decoder in &self.decoders {
            let output = &self.outputs[decoder.tensor];
            let wanted = self.manifest.chunk_size * decoder.joints.len();
            if output.data.len() != wanted {
                let name = &self.engine.outputs()[decoder.tensor].name;
                let shape = &output.shape;
                let problem =
                    format!("output `{name}` came out as {shape:?}, not as {wanted} values");
                return Err(does_not_fit(&self.manifest, vec![problem]));
            }
        }
        Ok(())
    }

    fn check_sizes(&self, input: &PolicyInput<'_>) -> Result<(), PolicyError> {
        let sized = |what, got, expected| {
            if got == expected {
                return Ok(());
            }
            Err(PolicyError::InputSize {
                policy: self.manifest.name.clone(),
                what,
                got,
                expected,
            })
        };
        sized(
            "the joint state",
            input.joints.len,
            self.features.joints().len(),
        )?;
        for channel in Channel::ALL {
            sized(
                channel.name(),
                input.values(channel).len(),
                self.features.values(channel).len(),
            )?;
        }
        sized(
            "the list of images",
            input.images.len(),
            self.features.cameras().len(),
        )
    }
}

/// Joints of two robots may have the same names and still move differently.
fn check_robot(manifest: &Manifest, features: &Features) -> Result<(), PolicyError> {
    match features.robot() {
        Some(robot) if robot != manifest.robot => Err(PolicyError::OtherRobot {
            policy: manifest.name.clone(),
            path: manifest.path.clone(),
            made_for: manifest.robot.clone(),
            robot: robot.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn does_not_fit(manifest: &Manifest, problems: Vec<String>) -> PolicyError {
    PolicyError::DoesNotFit {
        policy: manifest.name.clone(),
        path: manifest.path.clone(),
        problems,
    }
}

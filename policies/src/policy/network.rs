//! A policy of one ONNX file that `policy.toml` describes.

use super::{LoadOptions, PictureUse, PolicyInfo, Precision, does_not_fit, start_chunk};
use crate::decode::{Decoder, NotFinite};
use crate::encode::{Bound, Part};
use crate::engine::{Engine, EngineOptions, ModelBytes, Tensor};
use crate::engines::direct::Weights;
use crate::error::PolicyError;
use crate::features::{Features, PolicyInput};
use crate::fit;
use crate::manifest::Manifest;
use crate::memory::Memory;
use sinew_runtime::{Frame, JointTarget};
use std::path::Path;

/// A network that is bound to a robot.
#[derive(Debug)]
pub(super) struct NetworkPolicy {
    manifest: Manifest,
    engine: Box<dyn Engine>,
    parts: Vec<Part>,
    decoders: Vec<Decoder>,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    last_action: Vec<f32>,
    memory: Memory,
}

impl NetworkPolicy {
    pub(super) fn load(
        directory: &Path,
        options: LoadOptions,
        features: &Features,
    ) -> Result<Self, PolicyError> {
        let manifest = Manifest::read(directory)?;
        check_robot(&manifest, features)?;
        check_options(&manifest, &options)?;
        let how = EngineOptions {
            weights: match options.precision {
                Precision::Fp16 => Weights::Bf16,
                _ => Weights::F32,
            },
            ..options.engine_options(options.threads.max(1))
        };
        let model = options
            .model_file
            .unwrap_or_else(|| directory.join(&manifest.model_file));
        let bytes = ModelBytes::read(&model)?;
        let manifest = manifest.completed_by(&bytes.card()?)?;
        let engine = how.open_model(bytes)?;
        Self::new(manifest, engine, features)
    }

    pub(super) fn new(
        manifest: Manifest,
        engine: Box<dyn Engine>,
        features: &Features,
    ) -> Result<Self, PolicyError> {
        check_robot(&manifest, features)?;
        let plan = fit::plan(&manifest, features, engine.inputs(), engine.outputs())
            .map_err(|problems| does_not_fit(&manifest.name, &manifest.path, problems))?;
        let mut policy = Self {
            outputs: vec![Tensor::default(); engine.outputs().len()],
            last_action: vec![0.0; plan.action_width],
            memory: plan.memory,
            parts: plan.parts,
            decoders: plan.decoders,
            inputs: plan.tensors,
            manifest,
            engine,
        };
        policy.run()?;
        policy.check_states()?;
        Ok(policy)
    }

    pub(super) fn info(&self) -> PolicyInfo {
        PolicyInfo {
            name: self.manifest.name.clone(),
            description: self.manifest.description.clone(),
            architecture: "network".to_owned(),
            robot: Some(self.manifest.robot.clone()).filter(|robot| !robot.is_empty()),
            rate_hz: self.manifest.rate_hz,
            chunk_size: self.manifest.chunk_size,
            n_action_steps: self.manifest.n_action_steps,
            n_obs_steps: 1,
            ensemble_coeff: None,
        }
    }

    pub(super) fn engine_name(&self) -> &'static str {
        self.engine.name()
    }

    pub(super) fn pictures(&self) -> Vec<PictureUse> {
        let used = |part: &Part| match part.bound {
            Bound::Image {
                camera,
                width,
                height,
                ..
            } => Some(PictureUse {
                camera,
                width: u32::try_from(width).unwrap_or(u32::MAX),
                height: u32::try_from(height).unwrap_or(u32::MAX),
            }),
            _ => None,
        };
        self.parts.iter().filter_map(used).collect()
    }

    pub(super) fn reset(&mut self) {
        self.last_action.fill(0.0);
        self.memory.reset(&mut self.inputs);
    }

    /// Writes one camera's pixels into the network's inputs.
    pub(super) fn encode(
        &mut self,
        features: &Features,
        camera: usize,
        frame: &Frame,
    ) -> Result<(), PolicyError> {
        let of_camera =
            |part: &&Part| matches!(part.bound, Bound::Image { camera: c, .. } if c == camera);
        for part in self.parts.iter().filter(of_camera) {
            part.fill_image(&self.manifest.name, features, frame, &mut self.inputs)?;
        }
        Ok(())
    }

    /// Runs the network on the vectors of `input` and the pixels that were encoded last.
    pub(super) fn act(
        &mut self,
        features: &Features,
        input: &PolicyInput<'_>,
        chunk: &mut Vec<JointTarget>,
    ) -> Result<(), PolicyError> {
        self.memory.before(input, &mut self.inputs);
        for part in &self.parts {
            part.fill(
                &self.manifest.name,
                features,
                input,
                &self.last_action,
                &mut self.inputs,
            )?;
        }
        self.run()?;
        start_chunk(chunk, self.manifest.chunk_size, input.joints);
        for decoder in &self.decoders {
            if let Err(NotFinite { joint, step }) = decoder.fill(&self.outputs, input.joints, chunk)
            {
                chunk.clear();
                return Err(PolicyError::OutputNotFinite {
                    policy: self.manifest.name.clone(),
                    joint: features.joints()[joint].clone(),
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
        self.memory.after(&mut self.inputs, &mut self.outputs);
        Ok(())
    }

    /// A state that comes out in another size than it goes in cannot be handed on.
    fn check_states(&self) -> Result<(), PolicyError> {
        for link in &self.memory.states {
            let (input, output) = (&self.inputs[link.input], &self.outputs[link.output]);
            if input.data.len() != output.data.len() {
                let name = &self.engine.outputs()[link.output].name;
                let (goes_in, comes_out) = (&input.shape, &output.shape);
                let problem =
                    format!("state `{name}` comes out as {comes_out:?} and goes in as {goes_in:?}");
                return Err(does_not_fit(
                    &self.manifest.name,
                    &self.manifest.path,
                    vec![problem],
                ));
            }
        }
        Ok(())
    }

    /// Runs the network and makes sure that its outputs have the agreed size.
    pub(super) fn run(&mut self) -> Result<(), PolicyError> {
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
                return Err(does_not_fit(
                    &self.manifest.name,
                    &self.manifest.path,
                    vec![problem],
                ));
            }
        }
        Ok(())
    }
}

/// What is only for checkpoints is refused: to pass it over would run something else than was asked
/// for.
fn check_options(manifest: &Manifest, options: &LoadOptions) -> Result<(), PolicyError> {
    let asked = match (options.precision, &options.recorder) {
        (Precision::Fp32 | Precision::Fp16, None) => return Ok(()),
        (Precision::Fp32 | Precision::Fp16, Some(_)) => "measured for integers".to_owned(),
        (Precision::Int8, _) => "brought to int8".to_owned(),
    };
    Err(PolicyError::Model {
        path: manifest.path.clone(),
        problem: format!(
            "an ONNX file computes in the numbers that it was exported with and cannot be {asked}; \
             use fp32, fp16 for a small network, or a LeRobot checkpoint"
        ),
    })
}

/// Joints of two robots may have the same names and still move differently.
fn check_robot(manifest: &Manifest, features: &Features) -> Result<(), PolicyError> {
    match features.robot() {
        Some(robot) if !manifest.robot.is_empty() && robot != manifest.robot => {
            Err(PolicyError::OtherRobot {
                policy: manifest.name.clone(),
                path: manifest.path.clone(),
                made_for: manifest.robot.clone(),
                robot: robot.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

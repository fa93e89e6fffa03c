//! A diffusion policy on an engine.

use super::history::History;
use super::{Algebra, Graphs, Lowering, Network, Schedule};
use crate::engine::{Engine, Tensor};
use crate::error::PolicyError;
use crate::graph::Graph;
use crate::lerobot::loading::Opening;
use crate::lerobot::model::{ActOptions, Model};

/// A diffusion policy: image encoders, conditioning, and one network for all denoising steps.
#[derive(Debug)]
pub struct DiffusionModel {
    encoders: Vec<Box<dyn Engine>>,
    /// Which encoder each camera uses.
    encoder_of: Vec<usize>,
    /// Each camera's normalised image, as the encoder's list of inputs.
    images: Vec<[Tensor; 1]>,
    /// Newest features of each camera, one after the other.
    features: Vec<f32>,
    answer: [Tensor; 1],
    history: History,
    conditioning: Conditioning,
    unet: Box<dyn Engine>,
    /// First the sample, then what it is conditioned on.
    inputs: Vec<Tensor>,
    prediction: [Tensor; 1],
    schedule: Schedule,
    noise: Vec<f32>,
    /// First value of the sample that is used, and how many steps and values a step.
    first: usize,
    chunk: (usize, usize),
}

/// How the network learns of time steps and observations.
#[derive(Debug)]
enum Conditioning {
    /// By the sum of two parts, `[terms]`: of each time step, computed at load, and of the
    /// observations, computed once a chunk.
    Terms {
        steps: Vec<f32>,
        engine: Box<dyn Engine>,
        observations: [Tensor; 1],
        film: [Tensor; 1],
    },
    /// By the code of each time step, and the observations.
    Plain { codes: Vec<f32> },
}

impl DiffusionModel {
    /// Builds the network and opens its engines.
    ///
    /// # Errors
    /// When the checkpoint's weights do not fit, or the engine cannot be used.
    pub fn new(
        network: &Network,
        algebra: Algebra,
        lowering: Lowering,
        opening: &Opening,
    ) -> Result<Self, PolicyError> {
        let graphs = network.build(algebra, lowering)?;
        Self::with_graphs(network, graphs, opening)
    }

    /// Opens graphs that [`Network::build`] gave.
    ///
    /// # Errors
    /// When the engine cannot be used, or fails on the time steps.
    pub fn with_graphs(
        network: &Network,
        graphs: Graphs,
        opening: &Opening,
    ) -> Result<Self, PolicyError> {
        let encoders = graphs.encoders.into_iter().map(|graph| opening.open(graph));
        let encoders = encoders.collect::<Result<Vec<_>, _>>()?;
        let conditioning = match (graphs.steps, graphs.condition) {
            (Some(steps), Some(condition)) => Conditioning::Terms {
                steps: step_terms(network, steps, opening)?,
                engine: opening.open(condition)?,
                observations: [Tensor::zeros(&[1, network.conditioning()])],
                film: [Tensor::default()],
            },
            _ => Conditioning::Plain {
                codes: network.codes(),
            },
        };
        let unet = opening.open(graphs.unet)?;
        let shape = |info: &crate::engine::TensorInfo| {
            let sizes = info.shape.iter().map(|dim| dim.unwrap_or(1));
            Tensor::zeros(&sizes.collect::<Vec<_>>())
        };
        let images = network.images().iter();
        let config = &network.config;
        let size = config.horizon * network.action;
        Ok(Self {
            encoder_of: (0..network.images.len())
                .map(|camera| network.encoder_of(camera))
                .collect(),
            images: images
                .map(|image| [Tensor::zeros(&[&[1], image.shape.as_slice()].concat())])
                .collect(),
            features: vec![0.0; network.images.len() * network.features()],
            answer: [Tensor::default()],
            history: History::new(network.n_obs_steps, network.observation()),
            conditioning,
            inputs: unet.inputs().iter().map(shape).collect(),
            prediction: [Tensor::default()],
            schedule: network.schedule.clone(),
            noise: vec![0.0; network.schedule.draws() * size],
            first: (network.n_obs_steps - 1) * network.action,
            chunk: (config.n_action_steps, network.action),
            encoders,
            unet,
        })
    }

    /// The observations that the next chunk is for, oldest first, `[n_obs_steps, n]`; `None` before
    /// the first one.
    pub fn observations(&self) -> Option<&[f32]> {
        self.history.all()
    }

    /// Puts the condition of denoising step `index` where the network reads it.
    fn condition(&mut self, index: usize) {
        match &self.conditioning {
            Conditioning::Terms { steps, film, .. } => {
                let (observed, sum) = (&film[0].data, &mut self.inputs[1].data);
                let step = &steps[index * sum.len()..];
                for ((sum, step), observed) in sum.iter_mut().zip(step).zip(observed) {
                    *sum = step + observed;
                }
            }
            Conditioning::Plain { codes } => {
                let code = &mut self.inputs[1].data;
                let at = index * code.len();
                let end = at + code.len();
                code.copy_from_slice(&codes[at..end]);
            }
        }
    }

    /// Starts a chunk: takes the noise, and tells the network of the observations.
    fn begin(&mut self, options: &ActOptions<'_>) -> Result<(), String> {
        match options.noise {
            Some(noise) if noise.len() == self.noise.len() => self.noise.copy_from_slice(noise),
            Some(noise) => {
                let (got, wanted) = (noise.len(), self.noise.len());
                return Err(format!(
                    "it was given {got} numbers of noise and takes {wanted}"
                ));
            }
            None => {
                let wanted = self.noise.len();
                return Err(format!(
                    "it needs {wanted} numbers of noise and was given none"
                ));
            }
        }
        self.remember()?;
        let sample = &mut self.inputs[0].data;
        let count = sample.len();
        sample.copy_from_slice(&self.noise[..count]);
        Ok(())
    }

    /// What the network says of the sample at denoising step `index`.
    fn predict(&mut self, index: usize) -> Result<(), String> {
        self.condition(index);
        self.unet.run(&self.inputs, &mut self.prediction)?;
        match self.prediction[0].data.len() == self.inputs[0].data.len() {
            true => Ok(()),
            false => Err(format!("the network gave {:?}", self.prediction[0].shape)),
        }
    }

    /// Tells the network of the observations, once a chunk.
    fn remember(&mut self) -> Result<(), String> {
        let Some(observed) = self.history.all() else {
            return Err("it was asked for actions before it was given an observation".to_owned());
        };
        match &mut self.conditioning {
            Conditioning::Terms {
                engine,
                observations,
                film,
                ..
            } => {
                observations[0].data.copy_from_slice(observed);
                engine.run(observations, film)?;
                let (got, wanted) = (film[0].data.len(), self.inputs[1].data.len());
                if got != wanted {
                    return Err(format!(
                        "conditioning gave {got} values where {wanted} were agreed on"
                    ));
                }
            }
            Conditioning::Plain { .. } => self.inputs[2].data.copy_from_slice(observed),
        }
        Ok(())
    }
}

/// The part of each time step in the FiLM terms. The engine is not kept.
fn step_terms(network: &Network, graph: Graph, opening: &Opening) -> Result<Vec<f32>, PolicyError> {
    let mut engine = opening.open(graph)?;
    let shape = vec![
        network.schedule.len(),
        network.config.diffusion_step_embed_dim,
    ];
    let codes = Tensor {
        shape,
        data: network.codes(),
    };
    let mut terms = [Tensor::default()];
    let ran = engine.run(&[codes], &mut terms);
    let [terms] = terms;
    let wanted = network.schedule.len() * network.all_terms();
    let problem = match ran {
        Ok(()) if terms.data.len() == wanted => return Ok(terms.data),
        Ok(()) => format!("time steps came out as {:?}", terms.shape),
        Err(problem) => problem,
    };
    Err(PolicyError::Run {
        policy: network.checkpoint.name(),
        engine: engine.name(),
        problem,
    })
}

impl Model for DiffusionModel {
    fn engine(&self) -> &'static str {
        self.unet.name()
    }

    fn images(&self) -> usize {
        self.images.len()
    }

    fn image_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.images[index][0].data
    }

    fn encode(&mut self, index: usize) -> Result<(), String> {
        let encoder = &mut self.encoders[self.encoder_of[index]];
        encoder.run(&self.images[index], &mut self.answer)?;
        let width = self.features.len() / self.images.len();
        let slot = &mut self.features[index * width..(index + 1) * width];
        let made = &self.answer[0].data;
        if made.len() != width {
            let shape = &self.answer[0].shape;
            return Err(format!(
                "an encoder gave {shape:?} where {width} features were agreed on"
            ));
        }
        slot.copy_from_slice(made);
        Ok(())
    }

    fn observe(&mut self, state: &[f32], environment: &[f32]) {
        let features = &self.features;
        self.history.push(|row| {
            let parts = state.iter().chain(features).chain(environment);
            for (slot, value) in row.iter_mut().zip(parts) {
                *slot = *value;
            }
        });
    }

    fn chunk(&self) -> (usize, usize) {
        self.chunk
    }

    fn noise_len(&self) -> usize {
        self.noise.len()
    }

    fn act(&mut self, options: &ActOptions<'_>) -> Result<&[f32], String> {
        self.begin(options)?;
        let (size, mut fresh) = (self.inputs[0].data.len(), self.inputs[0].data.len());
        for index in 0..self.schedule.len() {
            self.predict(index)?;
            let noise: &[f32] = match self.schedule.adds_noise(index) {
                true => &self.noise[fresh..fresh + size],
                false => &[],
            };
            fresh += noise.len();
            let predicted = &self.prediction[0].data;
            self.schedule
                .step(index, &mut self.inputs[0].data, predicted, noise);
        }
        let (steps, width) = self.chunk;
        Ok(&self.inputs[0].data[self.first..self.first + steps * width])
    }

    fn probe(&mut self, options: &ActOptions<'_>) -> Result<Option<&[f32]>, String> {
        self.begin(options)?;
        self.predict(0)?;
        Ok(Some(&self.prediction[0].data))
    }

    fn past(&self) -> Option<&[f32]> {
        self.history.all()
    }

    fn set_past(&mut self, past: &[f32]) {
        self.history.set(past);
    }

    fn reset(&mut self) {
        self.history.clear();
    }
}

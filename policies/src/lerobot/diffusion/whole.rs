//! The whole policy as one graph, for a file that other programs run.

use super::unet::Style;
use super::{Algebra, Lowering, Network};
use crate::error::PolicyError;
use crate::graph::{DataType, Graph, GraphBuilder, GraphError, Value};
use crate::lerobot::build::Parts;
use crate::lerobot::config::{Prediction, Scheduler};
use crate::lerobot::features::{ACTION, ENVIRONMENT, STATE};
use crate::lerobot::in_graph;

/// Name of the noise in the graph.
pub const NOISE: &str = "noise";

impl Network {
    /// From bytes and physical values to physical values, all denoising steps written out: each
    /// camera's `[n_obs_steps, h, w, colours]` u8, the state `[n_obs_steps, n]`, the environment
    /// `[n_obs_steps, n]`, oldest first, and `noise` `[draws, horizon, n]` (the sample to start from,
    /// then that of each step that adds some), to `action` `[n_action_steps, n]`.
    ///
    /// # Errors
    /// As for [`Network::build`].
    pub fn build_whole(&self) -> Result<Graph, PolicyError> {
        let mut parts = Parts::new(&self.checkpoint);
        let whole = parts.add(self.whole());
        parts.finish(&|_| false)?;
        whole.ok_or_else(|| self.unbuilt())
    }

    fn whole(&self) -> Result<GraphBuilder, GraphError> {
        let mut b = self.builder("diffusion");
        let condition = self.whole_condition(&mut b)?;
        let (horizon, width) = (self.config.horizon, self.action);
        let noise = b.input(
            NOISE,
            DataType::F32,
            &[self.schedule.draws(), horizon, width],
        );
        let draws = b.split(&noise, 0, &vec![1; self.schedule.draws()])?;
        let draws = draws.iter().map(|draw| b.reshape(draw, &[horizon, width]));
        let mut draws = draws.collect::<Result<Vec<_>, _>>()?.into_iter();
        let Some(mut sample) = draws.next() else {
            return Ok(b);
        };
        let films = self.whole_films(&mut b, &condition)?;
        let style = Style {
            algebra: Algebra::Folded,
            lowering: Lowering::Convolution,
        };
        for (index, film) in films.iter().enumerate() {
            sample = b.scoped(&format!("step_{index}"), |b| {
                let predicted = self.predict(b, &sample, film, style)?;
                let fresh = if self.schedule.adds_noise(index) {
                    draws.next()
                } else {
                    None
                };
                self.denoise(b, index, &sample, &predicted, fresh.as_ref())
            })?;
        }
        let first = self.n_obs_steps - 1;
        let actions = b.slice(&sample, 0, first, first + self.config.n_action_steps)?;
        let actions = in_graph::actions(&mut b, &self.checkpoint.processors, &actions, width)?;
        b.output(ACTION, &actions)?;
        Ok(b)
    }

    /// All observations, normalised and encoded, as `[1, n]`.
    fn whole_condition(&self, b: &mut GraphBuilder) -> Result<Value, GraphError> {
        let steps = self.n_obs_steps;
        let mut columns = vec![self.whole_vector(b, STATE, self.state)?];
        for (camera, image) in self.images.iter().enumerate() {
            let &[colours, height, width] = image.shape.as_slice() else {
                continue;
            };
            let pixels = b.input(&image.name, DataType::U8, &[steps, height, width, colours]);
            let x = in_graph::picture(b, &self.checkpoint.processors, &image.name, &pixels)?;
            let mut rows = Vec::new();
            for step in 0..steps {
                let one = b.slice(&x, 0, step, step + 1)?;
                let encoder = self.encoder_of(camera);
                rows.push(self.image_features(b, &one, encoder, Algebra::Folded)?);
            }
            columns.push(b.concat(&rows.iter().collect::<Vec<_>>(), 0)?);
        }
        if let Some(size) = self.environment {
            columns.push(self.whole_vector(b, ENVIRONMENT, size)?);
        }
        let rows = b.concat(&columns.iter().collect::<Vec<_>>(), 1)?;
        b.reshape(&rows, &[1, self.conditioning()])
    }

    /// A vector of each observation, normalised: `[n_obs_steps, n]`.
    fn whole_vector(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        size: usize,
    ) -> Result<Value, GraphError> {
        let raw = b.input(name, DataType::F32, &[self.n_obs_steps, size]);
        in_graph::vector(b, &self.checkpoint.processors, name, &raw)
    }

    /// FiLM terms of each denoising step, `[1, terms]`.
    fn whole_films(
        &self,
        b: &mut GraphBuilder,
        condition: &Value,
    ) -> Result<Vec<Value>, GraphError> {
        let width = self.config.diffusion_step_embed_dim;
        let codes = b.constant("codes", &[self.schedule.len(), width], &self.codes());
        let steps = self.embed(b, &codes)?;
        let steps = b.pad(&steps, &[0, 0], &[0, self.conditioning()])?;
        let steps = self.film(b, &steps, true)?;
        let observed = b.pad(condition, &[0, width], &[0, 0])?;
        let observed = self.film(b, &observed, false)?;
        let all = b.add(&steps, &observed)?;
        b.split(&all, 0, &vec![1; self.schedule.len()])
    }

    /// One step of the sampler, as [`Schedule::step`](super::Schedule::step) takes it.
    fn denoise(
        &self,
        b: &mut GraphBuilder,
        index: usize,
        x: &Value,
        output: &Value,
        noise: Option<&Value>,
    ) -> Result<Value, GraphError> {
        let step = self.schedule.factors(index);
        let times = |b: &mut GraphBuilder, value: &Value, factor: f32| {
            let factor = b.scalar(factor);
            b.mul(value, &factor)
        };
        // What the network says, times its root, taken from x and divided by the other root.
        let other = |b: &mut GraphBuilder, of: f32, by: f32| {
            let (of, by) = (b.scalar(of), b.scalar(by));
            let share = b.mul(output, &of)?;
            let rest = b.sub(x, &share)?;
            b.div(&rest, &by)
        };
        let (alpha, beta) = (step.root_alpha, step.root_beta);
        let (sample, epsilon) = match self.config.prediction_type {
            Prediction::Epsilon => (other(b, beta, alpha)?, output.clone()),
            Prediction::Sample => (output.clone(), other(b, alpha, beta)?),
        };
        let sample = match self.config.clip_sample_range {
            Some(range) => b.clip(&sample, -range as f32, range as f32),
            None => sample,
        };
        let rest = match self.config.noise_scheduler_type {
            Scheduler::Ddpm => x,
            Scheduler::Ddim => &epsilon,
        };
        let (sample, rest) = (
            times(b, &sample, step.of_sample)?,
            times(b, rest, step.of_rest)?,
        );
        let next = b.add(&sample, &rest)?;
        match noise {
            Some(noise) => {
                let noise = times(b, noise, step.sigma)?;
                b.add(&next, &noise)
            }
            None => Ok(next),
        }
    }
}

//! What conditions the network: time step and observations, as a scale and a shift of each channel
//! in each block (FiLM).

use super::Network;
use crate::graph::{DataType, GemmOptions, GraphBuilder, GraphError, Value};

/// A residual block of the U-Net.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// Name of its tensors, without the last dot.
    pub(super) name: String,
    /// Channels in and out.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl Network {
    /// The blocks in the order of the forward pass, which is that of their FiLM terms.
    pub(super) fn blocks(&self) -> Vec<Block> {
        let dims = &self.config.down_dims;
        let mut blocks = Vec::new();
        let mut pair = |name: String, inputs, outputs| {
            for (index, inputs) in [inputs, outputs].into_iter().enumerate() {
                blocks.push(Block {
                    name: format!("{name}.{index}"),
                    inputs,
                    outputs,
                });
            }
        };
        let mut inputs = self.action;
        for (level, &outputs) in dims.iter().enumerate() {
            pair(unet(&format!("down_modules.{level}")), inputs, outputs);
            inputs = outputs;
        }
        pair(unet("mid_modules"), inputs, inputs);
        for (place, level) in (1..dims.len()).rev().enumerate() {
            // The skip connection comes in beside the level's own channels.
            pair(
                unet(&format!("up_modules.{place}")),
                2 * dims[level],
                dims[level - 1],
            );
        }
        blocks
    }

    /// FiLM terms of a block: scale and shift, or a shift only.
    pub(super) fn terms(&self, block: &Block) -> usize {
        match self.config.use_film_scale_modulation {
            true => 2 * block.outputs,
            false => block.outputs,
        }
    }

    /// FiLM terms of all blocks together.
    pub(super) fn all_terms(&self) -> usize {
        self.blocks().iter().map(|block| self.terms(block)).sum()
    }

    /// From `condition` `[1, n]`, the observations, to their part of `film` `[1, terms]`.
    pub(super) fn condition(&self) -> Result<GraphBuilder, GraphError> {
        let mut b = self.builder("diffusion/condition");
        let condition = b.input("condition", DataType::F32, &[1, self.conditioning()]);
        // Mish of 0 is 0, so zeros in the place of the time step leave only the observations' part
        // of the product, and the matrix stays where it is stored.
        let x = b.pad(
            &condition,
            &[0, self.config.diffusion_step_embed_dim],
            &[0, 0],
        )?;
        let film = self.film(&mut b, &x, false)?;
        b.output("film", &film)?;
        Ok(b)
    }

    /// From `codes` `[steps, n]` of time steps to their part of `film` `[steps, terms]`.
    pub(super) fn steps(&self) -> Result<GraphBuilder, GraphError> {
        let mut b = self.builder("diffusion/steps");
        let shape = [self.schedule.len(), self.config.diffusion_step_embed_dim];
        let codes = b.input("codes", DataType::F32, &shape);
        let x = self.embed(&mut b, &codes)?;
        let x = b.pad(&x, &[0, 0], &[0, self.conditioning()])?;
        let film = self.film(&mut b, &x, true)?;
        b.output("film", &film)?;
        Ok(b)
    }

    /// The network's own encoding of time codes `[n, width]`.
    pub(super) fn embed(&self, b: &mut GraphBuilder, codes: &Value) -> Result<Value, GraphError> {
        b.scoped("time", |b| {
            let width = self.config.diffusion_step_embed_dim;
            let x = b.linear(codes, &unet("diffusion_step_encoder.1"), 4 * width)?;
            let x = b.mish(&x)?;
            b.linear(&x, &unet("diffusion_step_encoder.3"), width)
        })
    }

    /// All blocks' linear layers on Mish of `x` `[n, time + observations]`.
    pub(super) fn film(
        &self,
        b: &mut GraphBuilder,
        x: &Value,
        bias: bool,
    ) -> Result<Value, GraphError> {
        b.scoped("film", |b| {
            let x = b.mish(x)?;
            let options = GemmOptions {
                transpose_b: true,
                ..GemmOptions::default()
            };
            let mut parts = Vec::new();
            for block in self.blocks() {
                let (rows, columns) = (self.terms(&block), x.dim(1));
                let layer = format!("{}.cond_encoder.1", block.name);
                let weight = b.weight(&format!("{layer}.weight"), &[rows, columns]);
                let bias = bias.then(|| b.weight(&format!("{layer}.bias"), &[rows]));
                parts.push(b.gemm(&x, &weight, bias.as_ref(), options)?);
            }
            b.concat(&parts.iter().collect::<Vec<_>>(), 1)
        })
    }

    /// The sine code of each time step that is used, `[steps, width]`.
    pub(super) fn codes(&self) -> Vec<f32> {
        let half = self.config.diffusion_step_embed_dim / 2;
        let decay = -(10_000f64.ln() / (half - 1) as f64) as f32;
        let frequencies: Vec<f32> = (0..half).map(|i| (i as f32 * decay).exp()).collect();
        let mut codes = Vec::with_capacity(2 * half * self.schedule.len());
        for timestep in self.schedule.timesteps() {
            let angles = frequencies.iter().map(|f| timestep as f32 * f);
            codes.extend(angles.clone().map(f32::sin));
            codes.extend(angles.map(f32::cos));
        }
        codes
    }
}

/// Full name of a tensor of the U-Net.
pub(super) fn unet(name: &str) -> String {
    format!("diffusion.unet.{name}")
}

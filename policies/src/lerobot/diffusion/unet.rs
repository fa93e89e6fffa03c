//! The network that says what is noise: a U-Net over time.

use super::convolution::{Layer, Lowering, mish, upsample};
use super::film::{Block, unet};
use super::{Algebra, Network};
use crate::graph::{DataType, GraphBuilder, GraphError, Value};

/// What PyTorch adds to variances.
const EPS: f32 = 1e-5;
/// Groups of the last normalisation, whatever the configuration says of the others.
const LAST_GROUPS: usize = 8;

/// Scale and shift of a block's channels, each `[1, channels, 1]`.
struct Film {
    scale: Option<Value>,
    shift: Value,
}

impl Network {
    /// From `sample` `[horizon, n]` to `prediction`, of the same shape. It is conditioned on `film`
    /// `[1, terms]`, the sum of both parts; in [`Algebra::Plain`] on `code` `[1, width]` and
    /// `condition` `[1, n]`.
    pub(super) fn unet(
        &self,
        algebra: Algebra,
        lowering: Lowering,
    ) -> Result<GraphBuilder, GraphError> {
        let mut b = self.builder("diffusion/unet");
        let shape = [self.config.horizon, self.action];
        let sample = b.input("sample", DataType::F32, &shape);
        let film = match algebra {
            Algebra::Folded => b.input("film", DataType::F32, &[1, self.all_terms()]),
            Algebra::Plain => {
                let width = self.config.diffusion_step_embed_dim;
                let code = b.input("code", DataType::F32, &[1, width]);
                let condition = b.input("condition", DataType::F32, &[1, self.conditioning()]);
                let time = self.embed(&mut b, &code)?;
                let both = b.concat(&[&time, &condition], 1)?;
                self.film(&mut b, &both, true)?
            }
        };
        let prediction = self.predict(&mut b, &sample, &film, Style { algebra, lowering })?;
        b.output("prediction", &prediction)?;
        Ok(b)
    }

    /// The forward pass, from and to `[horizon, n]`.
    pub(super) fn predict(
        &self,
        b: &mut GraphBuilder,
        sample: &Value,
        film: &Value,
        style: Style,
    ) -> Result<Value, GraphError> {
        let (horizon, levels) = (self.config.horizon, self.config.down_dims.len());
        let x = b.transpose(sample, &[1, 0])?;
        let mut x = b.reshape(&x, &[1, self.action, horizon])?;
        let blocks = self.blocks();
        let films = self.films(b, film, &blocks)?;
        let mut blocks = blocks.iter().zip(&films);
        let mut two = |b: &mut GraphBuilder, x: &Value| {
            let mut x = x.clone();
            for (block, film) in blocks.by_ref().take(2) {
                x = b.scoped(block_scope(block), |b| {
                    self.block(b, &x, block, film, style)
                })?;
            }
            Ok::<Value, GraphError>(x)
        };
        let mut skips = Vec::new();
        for level in 0..levels {
            x = two(b, &x)?;
            skips.push(x.clone());
            if level + 1 < levels {
                let down = Layer {
                    name: unet(&format!("down_modules.{level}.2")),
                    outputs: x.dim(1),
                    kernel: 3,
                    stride: 2,
                };
                x = down.apply(b, &x, style.lowering)?;
            }
        }
        x = two(b, &x)?;
        // The first level's skip has nowhere to go.
        for (place, skip) in skips.iter().skip(1).rev().enumerate() {
            x = b.concat(&[&x, skip], 1)?;
            x = two(b, &x)?;
            x = upsample(
                b,
                &x,
                &unet(&format!("up_modules.{place}.2")),
                style.lowering,
            )?;
        }
        let x = self.part(b, &x, &unet("final_conv.0"), x.dim(1), LAST_GROUPS, style)?;
        let last = Layer::same(unet("final_conv.1"), self.action, 1);
        let x = last.apply(b, &x, style.lowering)?;
        let x = b.reshape(&x, &[self.action, horizon])?;
        b.transpose(&x, &[1, 0])
    }

    fn films(
        &self,
        b: &mut GraphBuilder,
        film: &Value,
        blocks: &[Block],
    ) -> Result<Vec<Film>, GraphError> {
        let scaled = self.config.use_film_scale_modulation;
        let sizes = blocks.iter().flat_map(|block| {
            let halves = if scaled { 2 } else { 1 };
            std::iter::repeat_n(block.outputs, halves)
        });
        let parts = b.split(film, 1, &sizes.collect::<Vec<_>>())?;
        let columns = parts
            .iter()
            .map(|part| b.reshape(part, &[1, part.dim(1), 1]));
        let mut columns = columns.collect::<Result<Vec<_>, _>>()?.into_iter();
        let mut films = Vec::new();
        loop {
            let scale = if scaled { columns.next() } else { None };
            let Some(shift) = columns.next() else {
                return Ok(films);
            };
            films.push(Film { scale, shift });
        }
    }

    /// A residual block.
    fn block(
        &self,
        b: &mut GraphBuilder,
        x: &Value,
        block: &Block,
        film: &Film,
        style: Style,
    ) -> Result<Value, GraphError> {
        let (name, outputs) = (&block.name, block.outputs);
        let groups = self.config.n_groups;
        let y = self.part(b, x, &format!("{name}.conv1"), outputs, groups, style)?;
        let y = match &film.scale {
            Some(scale) => b.mul(&y, scale)?,
            None => y,
        };
        let y = b.add(&y, &film.shift)?;
        let y = self.part(b, &y, &format!("{name}.conv2"), outputs, groups, style)?;
        let skip = match block.inputs == outputs {
            true => x.clone(),
            false => {
                let layer = Layer::same(format!("{name}.residual_conv"), outputs, 1);
                layer.apply(b, x, style.lowering)?
            }
        };
        b.add(&y, &skip)
    }

    /// Convolution, group normalisation, Mish.
    fn part(
        &self,
        b: &mut GraphBuilder,
        x: &Value,
        name: &str,
        outputs: usize,
        groups: usize,
        style: Style,
    ) -> Result<Value, GraphError> {
        let layer = Layer::same(format!("{name}.block.0"), outputs, self.config.kernel_size);
        let y = layer.apply(b, x, style.lowering)?;
        let scale = b.weight(&format!("{name}.block.1.weight"), &[outputs]);
        let bias = b.weight(&format!("{name}.block.1.bias"), &[outputs]);
        let y = b.group_norm(&y, groups, &scale, &bias, EPS)?;
        match style.algebra {
            Algebra::Folded => mish(b, &y),
            Algebra::Plain => b.mish(&y),
        }
    }
}

/// How the network is written down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) algebra: Algebra,
    pub(super) lowering: Lowering,
}

/// A block's name without what all have in common.
fn block_scope(block: &Block) -> &str {
    block
        .name
        .strip_prefix("diffusion.unet.")
        .unwrap_or(&block.name)
}

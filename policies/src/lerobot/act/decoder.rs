//! ACT's decoder: queries that are learnt look at the encoder's tokens.

use super::{Algebra, Network};
use crate::graph::{GraphBuilder, GraphError, Value};
use crate::lerobot::attention::{EPS, attention};

impl Network {
    /// All decoder layers, without the normalisation after the last: `[steps, width]`.
    pub(super) fn decoder(
        &self,
        b: &mut GraphBuilder,
        memory: &Value,
        codes: &Value,
        algebra: Algebra,
    ) -> Result<Value, GraphError> {
        let (steps, width) = (self.act.chunk_size, self.act.dim_model);
        let queries = b.weight("model.decoder_pos_embed.weight", &[steps, width]);
        let keys = b.add(memory, codes)?;
        // The decoder starts from zeros.
        let mut x = match algebra {
            Algebra::Folded => None,
            Algebra::Plain => Some(b.constant("zeros", &[steps, width], &vec![0.0; steps * width])),
        };
        for layer in 0..self.act.n_decoder_layers {
            let name = format!("model.decoder.layers.{layer}");
            x = Some(b.scoped(&format!("decoder/layer_{layer}"), |b| {
                self.decoder_layer(b, &name, x.as_ref(), &queries, (memory, &keys))
            })?);
        }
        match x {
            Some(x) => Ok(x),
            None => Ok(b.constant("zeros", &[steps, width], &vec![0.0; steps * width])),
        }
    }

    /// One layer; `x` is `None` for zeros.
    fn decoder_layer(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        x: Option<&Value>,
        queries: &Value,
        (memory, keys): (&Value, &Value),
    ) -> Result<Value, GraphError> {
        let heads = self.act.n_heads;
        let norm = |number: usize| format!("{name}.norm{number}");
        let sum = match x {
            None => self.first_row(b, name),
            Some(x) => {
                let mut inner = x.clone();
                if self.act.pre_norm {
                    inner = b.layer_norm(&inner, &norm(1), EPS)?;
                }
                let placed = b.add(&inner, queries)?;
                let own = format!("{name}.self_attn");
                let mixed = attention(b, &own, heads, &placed, &placed, &inner)?;
                b.add(x, &mixed)?
            }
        };
        // After this normalisation if it comes after the sublayer, before it if before the next.
        let normal = b.layer_norm(&sum, &norm(if self.act.pre_norm { 2 } else { 1 }), EPS)?;
        let asked = b.add(&normal, queries)?;
        let cross = format!("{name}.multihead_attn");
        let mixed = attention(b, &cross, heads, &asked, keys, memory)?;
        let residual = if self.act.pre_norm { &sum } else { &normal };
        let mut sum = b.add(residual, &mixed)?;
        if !self.act.pre_norm {
            sum = b.layer_norm(&sum, &norm(2), EPS)?;
        }
        self.feed_forward(b, name, &sum, 3)
    }

    /// What self-attention makes of zeros. All values are the same then, so it does not matter how
    /// they are weighed: one row `[1, width]` for all steps, known without an observation.
    fn first_row(&self, b: &mut GraphBuilder, name: &str) -> Value {
        let width = self.act.dim_model;
        let own = format!("{name}.self_attn");
        let stacked = b.weight_data(&format!("{own}.in_proj_weight"), &[3 * width, width]);
        let mut value = b.weight_data(&format!("{own}.in_proj_bias"), &[3 * width]);
        value.drain(..value.len().min(2 * width));
        if self.act.pre_norm {
            // A row of zeros normalises to the bias.
            let bias = b.weight_data(&format!("{name}.norm1.bias"), &[width]);
            b.ignore_weight(&format!("{name}.norm1.weight"));
            // Missing weights have been noted, and may have come as nothing at all.
            let rows = stacked.get(2 * width * width..).unwrap_or_default();
            value = rows_times(rows, &bias, &value);
        }
        let weight = b.weight_data(&format!("{own}.out_proj.weight"), &[width, width]);
        let bias = b.weight_data(&format!("{own}.out_proj.bias"), &[width]);
        let row = rows_times(&weight, &value, &bias);
        b.constant("first_row", &[1, width], &row)
    }
}

/// `weight × x + bias`, rounded once.
fn rows_times(weight: &[f32], x: &[f32], bias: &[f32]) -> Vec<f32> {
    weight
        .chunks(x.len().max(1))
        .zip(bias)
        .map(|(row, &bias)| {
            let products = row
                .iter()
                .zip(x)
                .map(|(&w, &x)| f64::from(w) * f64::from(x));
            (products.sum::<f64>() + f64::from(bias)) as f32
        })
        .collect()
}

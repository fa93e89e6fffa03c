//! Transformer layers with PyTorch's names, on sequences of one batch: `[tokens, width]`.

use crate::graph::{GemmOptions, GraphBuilder, GraphError, Value};
use crate::lerobot::config::Activation;

/// What PyTorch adds to variances in layer normalisation.
pub(super) const EPS: f32 = 1e-5;

/// `MultiheadAttention` with the weights of `name`: queries, keys and values `[·, width]` to
/// `[queries, width]`.
pub(super) fn attention(
    b: &mut GraphBuilder,
    name: &str,
    heads: usize,
    query: &Value,
    key: &Value,
    value: &Value,
) -> Result<Value, GraphError> {
    let width = query.dim(1);
    let head = width / heads;
    let scale = 1.0 / (head as f32).sqrt();
    // Rows of the stacked matrix: queries, keys, values. The scale goes into the product for
    // queries: no pass of its own.
    let q = project(b, name, query, 0, scale)?;
    let k = project(b, name, key, 1, 1.0)?;
    let v = project(b, name, value, 2, 1.0)?;
    let q = b.reshape(&q, &[query.dim(0), heads, head])?;
    let q = b.transpose(&q, &[1, 0, 2])?;
    let k = b.reshape(&k, &[key.dim(0), heads, head])?;
    let k = b.transpose(&k, &[1, 2, 0])?;
    let v = b.reshape(&v, &[value.dim(0), heads, head])?;
    let v = b.transpose(&v, &[1, 0, 2])?;
    let scores = b.matmul(&q, &k)?;
    let shares = b.softmax(&scores, 2)?;
    let mixed = b.matmul(&shares, &v)?;
    let mixed = b.transpose(&mixed, &[1, 0, 2])?;
    let mixed = b.reshape(&mixed, &[query.dim(0), width])?;
    b.linear(&mixed, &format!("{name}.out_proj"), width)
}

/// One of the three input projections, times `scale`.
fn project(
    b: &mut GraphBuilder,
    name: &str,
    x: &Value,
    index: usize,
    scale: f32,
) -> Result<Value, GraphError> {
    let width = x.dim(1);
    let rows = index * width..(index + 1) * width;
    let weight = format!("{name}.in_proj_weight");
    let weight = b.weight_rows(&weight, &[3 * width, width], rows.clone());
    let bias = b.weight_rows(&format!("{name}.in_proj_bias"), &[3 * width], rows);
    let options = GemmOptions {
        alpha: scale,
        beta: scale,
        transpose_b: true,
        ..GemmOptions::default()
    };
    b.gemm(x, &weight, Some(&bias), options)
}

/// `linear2(activation(linear1(x)))`.
pub(super) fn feed_forward(
    b: &mut GraphBuilder,
    name: &str,
    x: &Value,
    hidden: usize,
    activation: Activation,
) -> Result<Value, GraphError> {
    let inner = b.linear(x, &format!("{name}.linear1"), hidden)?;
    let inner = match activation {
        Activation::Relu => b.relu(&inner),
        Activation::Gelu => b.gelu(&inner)?,
        // The gate halves the width, and the next matrix takes all of it: PyTorch fails here too.
        Activation::Glu => {
            return Err(GraphError::Node {
                node: name.to_owned(),
                problem: "`feedforward_activation` glu does not fit on its own weights; \
                          LeRobot cannot run it either"
                    .to_owned(),
            });
        }
    };
    b.linear(&inner, &format!("{name}.linear2"), x.dim(1))
}

//! Matrix products.

use super::super::shape::{broadcast, matmul};
use super::super::{Attribute, GraphBuilder, GraphError, Value};

/// How [`GraphBuilder::gemm`] multiplies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GemmOptions {
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of the summand.
    pub beta: f32,
    /// Whether `a` is stored transposed.
    pub transpose_a: bool,
    /// Whether `b` is stored transposed, as PyTorch's linear layers are.
    pub transpose_b: bool,
}

impl Default for GemmOptions {
    fn default() -> Self {
        Self {
            alpha: 1.0,
            beta: 1.0,
            transpose_a: false,
            transpose_b: false,
        }
    }
}

impl GraphBuilder {
    /// `a × b` over the last two axes; the others broadcast.
    pub fn matmul(&mut self, a: &Value, b: &Value) -> Result<Value, GraphError> {
        let shape = matmul(a.shape(), b.shape()).ok_or_else(|| {
            let problem = format!("{:?} × {:?} is no matrix product", a.shape(), b.shape());
            self.error("MatMul", problem)
        })?;
        Ok(self.node("MatMul", &[Some(a), Some(b)], Vec::new(), a.dtype, &shape))
    }

    /// `alpha · a × b + beta · c` of matrices; `c` broadcasts to the product.
    pub fn gemm(
        &mut self,
        a: &Value,
        b: &Value,
        c: Option<&Value>,
        options: GemmOptions,
    ) -> Result<Value, GraphError> {
        let oriented = |value: &Value, transposed: bool| match (value.shape(), transposed) {
            (&[rows, columns], false) => Some([rows, columns]),
            (&[columns, rows], true) => Some([rows, columns]),
            _ => None,
        };
        let product = oriented(a, options.transpose_a)
            .zip(oriented(b, options.transpose_b))
            .and_then(|(a, b)| matmul(&a, &b))
            .ok_or_else(|| {
                let problem = format!(
                    "{:?} × {:?} is no product of matrices ({options:?})",
                    a.shape(),
                    b.shape()
                );
                self.error("Gemm", problem)
            })?;
        if let Some(c) = c
            && broadcast(&product, c.shape()).as_ref() != Some(&product)
        {
            let problem = format!("{:?} cannot be added to {product:?}", c.shape());
            return Err(self.error("Gemm", problem));
        }
        let attributes = vec![
            ("alpha", Attribute::Float(options.alpha)),
            ("beta", Attribute::Float(options.beta)),
            ("transA", Attribute::Int(options.transpose_a.into())),
            ("transB", Attribute::Int(options.transpose_b.into())),
        ];
        let mut inputs = vec![Some(a), Some(b)];
        inputs.extend(c.map(Some));
        Ok(self.node("Gemm", &inputs, attributes, a.dtype, &product))
    }

    /// A linear layer of the checkpoint on the rows of a matrix: `x [n, k]` → `[n, outputs]`, with
    /// `{name}.weight [outputs, k]` and `{name}.bias [outputs]` used in place.
    pub fn linear(&mut self, x: &Value, name: &str, outputs: usize) -> Result<Value, GraphError> {
        let &[_, inputs] = x.shape() else {
            let problem = format!("{name} takes rows of a matrix, not {:?}", x.shape());
            return Err(self.error("Gemm", problem));
        };
        let weight = self.weight(&format!("{name}.weight"), &[outputs, inputs]);
        let bias = self.weight(&format!("{name}.bias"), &[outputs]);
        let options = GemmOptions {
            transpose_b: true,
            ..GemmOptions::default()
        };
        self.gemm(x, &weight, Some(&bias), options)
    }
}

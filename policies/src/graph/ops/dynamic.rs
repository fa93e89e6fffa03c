//! Products with quantised weights and activations that are quantised while running.

use super::super::shape::matmul;
use super::super::{DataType, GraphBuilder, GraphError, Value};

impl GraphBuilder {
    /// `x × (weight · scale)` for floats `x [m, k]`, `weight [k, n]` of i8 and one scale a column
    /// `[n]`. The range of `x` is measured at each run, and its elements are brought to 8 bits; the
    /// product of integers is exact. Written in the pattern that engines fuse.
    pub fn dynamic_matmul(
        &mut self,
        x: &Value,
        weight: &Value,
        scale: &Value,
    ) -> Result<Value, GraphError> {
        let types = (x.dtype, weight.dtype, scale.dtype);
        let fits = types == (DataType::F32, DataType::I8, DataType::F32)
            && weight.rank() == 2
            && scale.shape() == [weight.dim(1)];
        let Some(shape) = matmul(x.shape(), weight.shape()).filter(|_| fits) else {
            let (x, weight, scale) = (x.shape(), weight.shape(), scale.shape());
            let problem = format!("{x:?} × {weight:?} with scale {scale:?} ({types:?}) do not fit");
            return Err(self.error("MatMulInteger", problem));
        };
        let outputs = [
            (DataType::U8, x.shape().to_vec()),
            (DataType::F32, Vec::new()),
            (DataType::U8, Vec::new()),
        ];
        let quantised = self.node_many("DynamicQuantizeLinear", &[Some(x)], Vec::new(), &outputs);
        let [quantised, step, zero] = &quantised[..] else {
            return Err(self.error("DynamicQuantizeLinear", "it has three outputs"));
        };
        let inputs = [Some(quantised), Some(weight), Some(zero)];
        let product = self.node("MatMulInteger", &inputs, Vec::new(), DataType::I32, &shape);
        let product = self.cast(&product, DataType::F32);
        let scale = self.mul(step, scale)?;
        self.mul(&product, &scale)
    }
}

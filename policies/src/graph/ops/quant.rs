//! Between floats and quantised integers: `x ≈ (q − zero point) · scale`.

use super::super::{Attribute, DataType, GraphBuilder, GraphError, Value};

impl GraphBuilder {
    /// Rounds and saturates to the type of `zero_point` (u8 or i8). One scale, or one for each
    /// element along `axis`.
    pub fn quantize_linear(
        &mut self,
        x: &Value,
        scale: &Value,
        zero_point: &Value,
        axis: usize,
    ) -> Result<Value, GraphError> {
        self.check_scale("QuantizeLinear", x, scale, zero_point, axis)?;
        let inputs = [Some(x), Some(scale), Some(zero_point)];
        let attributes = vec![("axis", Attribute::Int(axis as i64))];
        Ok(self.node(
            "QuantizeLinear",
            &inputs,
            attributes,
            zero_point.dtype,
            x.shape(),
        ))
    }

    /// The floats that quantised integers stand for.
    pub fn dequantize_linear(
        &mut self,
        x: &Value,
        scale: &Value,
        zero_point: &Value,
        axis: usize,
    ) -> Result<Value, GraphError> {
        self.check_scale("DequantizeLinear", x, scale, zero_point, axis)?;
        let inputs = [Some(x), Some(scale), Some(zero_point)];
        let attributes = vec![("axis", Attribute::Int(axis as i64))];
        Ok(self.node(
            "DequantizeLinear",
            &inputs,
            attributes,
            DataType::F32,
            x.shape(),
        ))
    }

    fn check_scale(
        &self,
        op: &str,
        x: &Value,
        scale: &Value,
        zero_point: &Value,
        axis: usize,
    ) -> Result<(), GraphError> {
        let fits = scale.shape() == zero_point.shape()
            && match scale.shape() {
                [] => true,
                &[n] => x.shape().get(axis) == Some(&n),
                _ => false,
            };
        if fits {
            return Ok(());
        }
        let problem = format!(
            "scale {:?} and zero point {:?} do not fit on axis {axis} of {:?}",
            scale.shape(),
            zero_point.shape(),
            x.shape()
        );
        Err(self.error(op, problem))
    }
}

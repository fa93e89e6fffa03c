//! Normalisation layers.

use super::super::{Attribute, GraphBuilder, GraphError, Value};

impl GraphBuilder {
    /// Layer normalisation over the last axis, with `{name}.weight` and `{name}.bias`.
    pub fn layer_norm(&mut self, x: &Value, name: &str, eps: f32) -> Result<Value, GraphError> {
        let Some(&width) = x.shape().last() else {
            return Err(self.error("LayerNormalization", "a scalar has no axis"));
        };
        let scale = self.weight(&format!("{name}.weight"), &[width]);
        let bias = self.weight(&format!("{name}.bias"), &[width]);
        let attributes = vec![
            ("axis", Attribute::Int(x.rank() as i64 - 1)),
            ("epsilon", Attribute::Float(eps)),
        ];
        let inputs = [Some(x), Some(&scale), Some(&bias)];
        Ok(self.node(
            "LayerNormalization",
            &inputs,
            attributes,
            x.dtype,
            x.shape(),
        ))
    }

    /// Group normalisation of `x [n, c, …]` with a scale and a bias a channel `[c]`, as instance
    /// normalisation of the groups: the operator itself is younger than [`OPSET`](super::super::OPSET).
    pub fn group_norm(
        &mut self,
        x: &Value,
        groups: usize,
        scale: &Value,
        bias: &Value,
        eps: f32,
    ) -> Result<Value, GraphError> {
        let channels = x.shape().get(1).copied().unwrap_or(0);
        let fits = groups > 0
            && channels > 0
            && channels.is_multiple_of(groups)
            && scale.shape() == [channels]
            && bias.shape() == [channels];
        if !fits {
            let problem = format!(
                "{groups} groups with scale {:?} and bias {:?} do not fit on {:?}",
                scale.shape(),
                bias.shape(),
                x.shape()
            );
            return Err(self.error("InstanceNormalization", problem));
        }
        let grouped = [x.dim(0), groups, x.len() / x.dim(0) / groups];
        let rows = self.reshape(x, &grouped)?;
        let one = self.constant("ones", &[groups], &vec![1.0; groups]);
        let zero = self.constant("zeros", &[groups], &vec![0.0; groups]);
        let eps = vec![("epsilon", Attribute::Float(eps))];
        let inputs = [Some(&rows), Some(&one), Some(&zero)];
        let normal = self.node("InstanceNormalization", &inputs, eps, x.dtype, &grouped);
        let normal = self.reshape(&normal, x.shape())?;
        let mut wide = vec![1; x.rank() - 1];
        wide[0] = channels;
        let scale = self.reshape(scale, &wide)?;
        let bias = self.reshape(bias, &wide)?;
        let scaled = self.mul(&normal, &scale)?;
        self.add(&scaled, &bias)
    }
}

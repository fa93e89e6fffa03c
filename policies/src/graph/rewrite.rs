//! What passes over a finished graph share.

use super::{Constant, Data, DataType, Graph, ValueInfo};
use std::sync::Arc;

impl Graph {
    /// A new value; `name` must be new.
    pub(super) fn push_value(&mut self, name: String, dtype: DataType, shape: &[usize]) -> usize {
        self.values.push(ValueInfo {
            name,
            dtype,
            shape: shape.to_vec(),
        });
        self.values.len() - 1
    }

    /// A new constant; `name` must be new.
    pub(super) fn push_constant(
        &mut self,
        name: String,
        dtype: DataType,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> usize {
        let value = self.push_value(name, dtype, shape);
        self.constants.push(Constant {
            value,
            data: Data::Owned(Arc::from(bytes)),
        });
        value
    }

    /// The floats of a constant, if `value` is one of floats.
    pub(super) fn floats(&self, value: usize) -> Option<Vec<f32>> {
        if self.values[value].dtype != DataType::F32 {
            return None;
        }
        let constant = self.constants.iter().find(|c| c.value == value)?;
        let (floats, _) = self.in_place(constant).as_chunks::<4>();
        Some(
            floats
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect(),
        )
    }

    /// Whether integer kernels must sum in 32 bits: some weight of 8 bits is beyond what two products
    /// with 8-bit activations leave room for in 16.
    pub(crate) fn needs_wide_sums(&self) -> bool {
        let wide = |constant: &Constant| {
            self.values[constant.value].dtype == DataType::I8
                && self
                    .in_place(constant)
                    .iter()
                    .any(|&b| (b as i8).unsigned_abs() > 64)
        };
        self.constants.iter().any(wide)
    }

    /// Drops constants that no operator takes any more.
    pub(super) fn drop_unused_constants(&mut self) {
        let mut used = vec![false; self.values.len()];
        for node in &self.nodes {
            node.inputs.iter().flatten().for_each(|&id| used[id] = true);
        }
        self.constants.retain(|constant| used[constant.value]);
    }

    /// Which operators take each value.
    pub(super) fn consumers(&self) -> Vec<Vec<usize>> {
        let mut consumers = vec![Vec::new(); self.values.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for &id in node.inputs.iter().flatten() {
                consumers[id].push(index);
            }
        }
        consumers
    }
}

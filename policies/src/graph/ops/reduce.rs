//! Sums and means along axes.

use super::super::{Attribute, GraphBuilder, GraphError, Value};

impl GraphBuilder {
    /// Sum along `axes`, which stay with size one if `keep`.
    pub fn reduce_sum(
        &mut self,
        x: &Value,
        axes: &[usize],
        keep: bool,
    ) -> Result<Value, GraphError> {
        let shape = self.reduced("ReduceSum", x, axes, keep)?;
        let list: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
        let list = self.integers(&list);
        let attributes = vec![("keepdims", Attribute::Int(keep.into()))];
        let inputs = [Some(x), Some(&list)];
        Ok(self.node("ReduceSum", &inputs, attributes, x.dtype, &shape))
    }

    /// Mean along `axes`, which stay with size one if `keep`.
    pub fn reduce_mean(
        &mut self,
        x: &Value,
        axes: &[usize],
        keep: bool,
    ) -> Result<Value, GraphError> {
        let shape = self.reduced("ReduceMean", x, axes, keep)?;
        let attributes = vec![
            (
                "axes",
                Attribute::Ints(axes.iter().map(|&axis| axis as i64).collect()),
            ),
            ("keepdims", Attribute::Int(keep.into())),
        ];
        Ok(self.node("ReduceMean", &[Some(x)], attributes, x.dtype, &shape))
    }

    fn reduced(
        &self,
        op: &str,
        x: &Value,
        axes: &[usize],
        keep: bool,
    ) -> Result<Vec<usize>, GraphError> {
        if axes.iter().any(|&axis| axis >= x.rank()) {
            let problem = format!("no axes {axes:?} in {:?}", x.shape());
            return Err(self.error(op, problem));
        }
        let kept = x.shape().iter().enumerate();
        Ok(kept
            .filter_map(|(axis, &size)| match (axes.contains(&axis), keep) {
                (false, _) => Some(size),
                (true, true) => Some(1),
                (true, false) => None,
            })
            .collect())
    }
}

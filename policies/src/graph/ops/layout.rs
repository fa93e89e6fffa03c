//! Where elements lie: no arithmetic.

use super::super::{Attribute, DataType, GraphBuilder, GraphError, Value};

impl GraphBuilder {
    /// The same elements under another shape.
    pub fn reshape(&mut self, x: &Value, shape: &[usize]) -> Result<Value, GraphError> {
        if x.len() != shape.iter().product::<usize>() {
            let problem = format!("{:?} has not as many elements as {shape:?}", x.shape());
            return Err(self.error("Reshape", problem));
        }
        if x.shape() == shape {
            return Ok(x.clone());
        }
        let sizes: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        let sizes = self.integers(&sizes);
        Ok(self.node(
            "Reshape",
            &[Some(x), Some(&sizes)],
            Vec::new(),
            x.dtype,
            shape,
        ))
    }

    /// Axes in another order: axis `i` of the result is axis `order[i]` of `x`.
    pub fn transpose(&mut self, x: &Value, order: &[usize]) -> Result<Value, GraphError> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..x.rank()) {
            let problem = format!("{order:?} is no order of the axes of {:?}", x.shape());
            return Err(self.error("Transpose", problem));
        }
        let shape: Vec<usize> = order.iter().map(|&axis| x.dim(axis)).collect();
        let order = Attribute::Ints(order.iter().map(|&axis| axis as i64).collect());
        Ok(self.node(
            "Transpose",
            &[Some(x)],
            vec![("perm", order)],
            x.dtype,
            &shape,
        ))
    }

    /// One after the other along an axis.
    pub fn concat(&mut self, parts: &[&Value], axis: usize) -> Result<Value, GraphError> {
        let misfit = |builder: &Self| {
            let shapes: Vec<&[usize]> = parts.iter().map(|part| part.shape()).collect();
            builder.error(
                "Concat",
                format!("{shapes:?} do not join along axis {axis}"),
            )
        };
        let Some(first) = parts.first() else {
            return Err(misfit(self));
        };
        if axis >= first.rank() {
            return Err(misfit(self));
        }
        let mut shape = first.shape().to_vec();
        shape[axis] = 0;
        for part in parts {
            let mut rest = part.shape().to_vec();
            let size = rest.get_mut(axis).map(std::mem::take);
            let total = shape[axis];
            shape[axis] = 0;
            let Some(size) = size.filter(|_| rest == shape && part.dtype == first.dtype) else {
                return Err(misfit(self));
            };
            shape[axis] = total + size;
        }
        if let [only] = parts {
            return Ok((*only).clone());
        }
        let inputs: Vec<Option<&Value>> = parts.iter().copied().map(Some).collect();
        let attributes = vec![("axis", Attribute::Int(axis as i64))];
        Ok(self.node("Concat", &inputs, attributes, first.dtype, &shape))
    }

    /// Elements `start..end` along an axis.
    pub fn slice(
        &mut self,
        x: &Value,
        axis: usize,
        start: usize,
        end: usize,
    ) -> Result<Value, GraphError> {
        if x.shape().get(axis).is_none_or(|&size| end > size) || start > end {
            let problem = format!("no {start}..{end} along axis {axis} of {:?}", x.shape());
            return Err(self.error("Slice", problem));
        }
        let mut shape = x.shape().to_vec();
        shape[axis] = end - start;
        let bounds = [start, end, axis].map(|n| self.integers(&[n as i64]));
        let inputs = [
            Some(x),
            Some(&bounds[0]),
            Some(&bounds[1]),
            Some(&bounds[2]),
        ];
        Ok(self.node("Slice", &inputs, Vec::new(), x.dtype, &shape))
    }

    /// Pieces of the given sizes along an axis.
    pub fn split(
        &mut self,
        x: &Value,
        axis: usize,
        sizes: &[usize],
    ) -> Result<Vec<Value>, GraphError> {
        if x.shape().get(axis) != Some(&sizes.iter().sum()) || sizes.is_empty() {
            let problem = format!("{sizes:?} do not fill axis {axis} of {:?}", x.shape());
            return Err(self.error("Split", problem));
        }
        let outputs: Vec<(DataType, Vec<usize>)> = sizes
            .iter()
            .map(|&size| {
                let mut shape = x.shape().to_vec();
                shape[axis] = size;
                (x.dtype, shape)
            })
            .collect();
        let sizes: Vec<i64> = sizes.iter().map(|&n| n as i64).collect();
        let sizes = self.integers(&sizes);
        let attributes = vec![("axis", Attribute::Int(axis as i64))];
        Ok(self.node_many("Split", &[Some(x), Some(&sizes)], attributes, &outputs))
    }

    /// Zeros around `x`: `before[i]` and `after[i]` along axis `i`.
    pub fn pad(
        &mut self,
        x: &Value,
        before: &[usize],
        after: &[usize],
    ) -> Result<Value, GraphError> {
        if before.len() != x.rank() || after.len() != x.rank() {
            let problem = format!("{before:?} and {after:?} are not for {:?}", x.shape());
            return Err(self.error("Pad", problem));
        }
        let shape: Vec<usize> = x
            .shape()
            .iter()
            .zip(before.iter().zip(after))
            .map(|(size, (before, after))| size + before + after)
            .collect();
        let pads: Vec<i64> = before.iter().chain(after).map(|&n| n as i64).collect();
        let pads = self.integers(&pads);
        Ok(self.node("Pad", &[Some(x), Some(&pads)], Vec::new(), x.dtype, &shape))
    }
}

//! Sliding windows over one or two axes: `[batch, channels, length]` or `[batch, channels, height,
//! width]`.

use super::super::shape::slide;
use super::super::{Attribute, GraphBuilder, GraphError, Value};

/// How a convolution slides. Lists hold one number a spatial axis; an empty list is all ones (pads:
/// zeros).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConvOptions {
    /// Steps.
    pub strides: Vec<usize>,
    /// Zeros on both sides of each axis.
    pub pads: Vec<usize>,
    /// Distance of the kernel's elements.
    pub dilations: Vec<usize>,
    /// Groups of channels; zero means one.
    pub groups: usize,
}

impl ConvOptions {
    /// The same stride and padding along each of `axes` axes.
    pub fn square(axes: usize, stride: usize, pad: usize) -> Self {
        Self {
            strides: vec![stride; axes],
            pads: vec![pad; axes],
            ..Self::default()
        }
    }

    fn filled(&self, axes: usize) -> Option<Self> {
        let list = |given: &[usize], default: usize| match given.len() {
            0 => Some(vec![default; axes]),
            n if n == axes => Some(given.to_vec()),
            _ => None,
        };
        Some(Self {
            strides: list(&self.strides, 1)?,
            pads: list(&self.pads, 0)?,
            dilations: list(&self.dilations, 1)?,
            groups: self.groups.max(1),
        })
    }

    fn attributes(&self, kernel: &[usize]) -> Vec<(&'static str, Attribute)> {
        let twice: Vec<usize> = [self.pads.as_slice(), &self.pads].concat();
        vec![
            ("kernel_shape", ints(kernel)),
            ("strides", ints(&self.strides)),
            ("pads", ints(&twice)),
            ("dilations", ints(&self.dilations)),
            ("group", Attribute::Int(self.groups as i64)),
        ]
    }
}

/// How a pooling window slides, the same along both axes of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions {
    /// Size of the window.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Padding on both sides, which never wins.
    pub pad: usize,
}

impl GraphBuilder {
    /// Convolution of `x [n, c, …]` with `weight [outputs, c / groups, …]`.
    pub fn conv(
        &mut self,
        x: &Value,
        weight: &Value,
        bias: Option<&Value>,
        options: &ConvOptions,
    ) -> Result<Value, GraphError> {
        let fit = || {
            let ([n, c, spatial @ ..], [outputs, inputs, kernel @ ..]) =
                (x.shape(), weight.shape())
            else {
                return None;
            };
            let options = options.filled(spatial.len())?;
            if spatial.len() != kernel.len() || *c != inputs * options.groups {
                return None;
            }
            let mut shape = vec![*n, *outputs];
            for (axis, (&size, &kernel)) in spatial.iter().zip(kernel).enumerate() {
                let pads = [options.pads[axis]; 2];
                let (stride, dilation) = (options.strides[axis], options.dilations[axis]);
                shape.push(slide(size, kernel, stride, pads, dilation)?);
            }
            let fits = bias.is_none_or(|bias| bias.shape() == [*outputs]);
            fits.then(|| (shape, options.attributes(kernel)))
        };
        match fit() {
            Some((shape, attributes)) => {
                let mut operands = vec![Some(x), Some(weight)];
                operands.extend(bias.map(Some));
                Ok(self.node("Conv", &operands, attributes, x.dtype, &shape))
            }
            None => Err(self.misfit("Conv", x, weight, bias, options)),
        }
    }

    /// Transposed convolution of `x [n, c, …]` with `weight [c, outputs / groups, …]`.
    pub fn conv_transpose(
        &mut self,
        x: &Value,
        weight: &Value,
        bias: Option<&Value>,
        options: &ConvOptions,
    ) -> Result<Value, GraphError> {
        let fit = || {
            let ([n, c, spatial @ ..], [inputs, outputs, kernel @ ..]) =
                (x.shape(), weight.shape())
            else {
                return None;
            };
            let options = options.filled(spatial.len())?;
            if spatial.len() != kernel.len() || c != inputs {
                return None;
            }
            let outputs = outputs * options.groups;
            let mut shape = vec![*n, outputs];
            for (axis, (&size, &kernel)) in spatial.iter().zip(kernel).enumerate() {
                let span = options.dilations[axis] * kernel.checked_sub(1)? + 1;
                let full = options.strides[axis] * size.checked_sub(1)? + span;
                shape.push(full.checked_sub(2 * options.pads[axis])?);
            }
            let fits = bias.is_none_or(|bias| bias.shape() == [outputs]);
            fits.then(|| (shape, options.attributes(kernel)))
        };
        match fit() {
            Some((shape, attributes)) => {
                let mut operands = vec![Some(x), Some(weight)];
                operands.extend(bias.map(Some));
                Ok(self.node("ConvTranspose", &operands, attributes, x.dtype, &shape))
            }
            None => Err(self.misfit("ConvTranspose", x, weight, bias, options)),
        }
    }

    /// The largest value in each window of an image `[n, c, h, w]`.
    pub fn max_pool(&mut self, x: &Value, options: PoolOptions) -> Result<Value, GraphError> {
        let PoolOptions {
            kernel,
            stride,
            pad,
        } = options;
        let shape = match x.shape() {
            &[n, c, h, w] => [h, w]
                .iter()
                .map(|&size| slide(size, kernel, stride, [pad; 2], 1))
                .collect::<Option<Vec<usize>>>()
                .map(|out| vec![n, c, out[0], out[1]]),
            _ => None,
        };
        let Some(shape) = shape else {
            let problem = format!("{options:?} does not fit on {:?}", x.shape());
            return Err(self.error("MaxPool", problem));
        };
        let attributes = vec![
            ("kernel_shape", ints(&[kernel; 2])),
            ("strides", ints(&[stride; 2])),
            ("pads", ints(&[pad; 4])),
        ];
        Ok(self.node("MaxPool", &[Some(x)], attributes, x.dtype, &shape))
    }

    fn misfit(
        &self,
        op: &str,
        x: &Value,
        weight: &Value,
        bias: Option<&Value>,
        options: &ConvOptions,
    ) -> GraphError {
        let bias = bias.map(Value::shape);
        let (x, weight) = (x.shape(), weight.shape());
        let problem =
            format!("input {x:?}, weight {weight:?}, bias {bias:?} and {options:?} do not fit");
        self.error(op, problem)
    }
}

fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|&v| v as i64).collect())
}

//! Residual networks as torchvision names and shapes them, up to the last feature map.
//!
//! Depth, width and kind of block are read from the weights: `{stage}.{block}.conv1` and so on.

use crate::graph::{ConvOptions, GraphBuilder, GraphError, PoolOptions, Value};

/// What torchvision adds to variances.
const EPS: f32 = 1e-5;
/// More blocks in a stage than any residual network has.
const MAX_BLOCKS: usize = 128;
/// Channels of a group, in LeRobot's networks with group normalisation.
const GROUP: usize = 16;

/// Which normalisation follows each convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// Batch normalisation with stored statistics, frozen or not.
    Batch,
    /// Group normalisation, 16 channels a group.
    Group,
}

/// A residual network of a checkpoint.
#[derive(Debug, Clone)]
pub struct ResNet {
    /// Name of the first convolution, for example `model.backbone.conv1`.
    pub stem_conv: String,
    /// Name of the first normalisation.
    pub stem_norm: String,
    /// Names of the four stages.
    pub stages: [String; 4],
    /// Which normalisation it has.
    pub norm: Norm,
    /// Whether the last stage keeps its resolution and is dilated instead.
    pub dilate_last: bool,
    /// Whether batch normalisation is folded into the convolutions.
    pub fold: bool,
}

/// One convolution with the normalisation after it.
struct Layer<'a> {
    conv: &'a str,
    norm: &'a str,
    stride: usize,
    dilation: usize,
}

impl ResNet {
    /// A network whose parts have torchvision's own names under `prefix` (with its dot).
    pub fn torchvision(prefix: &str) -> Self {
        Self {
            stem_conv: format!("{prefix}conv1"),
            stem_norm: format!("{prefix}bn1"),
            stages: [1, 2, 3, 4].map(|stage| format!("{prefix}layer{stage}")),
            norm: Norm::Batch,
            dilate_last: false,
            fold: true,
        }
    }

    /// From normalised images `[n, 3, h, w]` to the last stage's feature map.
    pub fn build(&self, b: &mut GraphBuilder, image: &Value) -> Result<Value, GraphError> {
        b.scoped("resnet", |b| {
            let stem = Layer {
                conv: &self.stem_conv,
                norm: &self.stem_norm,
                stride: 2,
                dilation: 1,
            };
            let x = self.layer(b, image, &stem)?;
            let x = b.relu(&x);
            let pool = PoolOptions {
                kernel: 3,
                stride: 2,
                pad: 1,
            };
            let mut x = b.max_pool(&x, pool)?;
            for (index, stage) in self.stages.iter().enumerate() {
                x = self.stage(b, &x, index, stage)?;
            }
            Ok(x)
        })
    }

    fn stage(
        &self,
        b: &mut GraphBuilder,
        x: &Value,
        index: usize,
        stage: &str,
    ) -> Result<Value, GraphError> {
        let has = |b: &GraphBuilder, block: usize, part: &str| {
            b.has_weight(&format!("{stage}.{block}.{part}.weight"))
        };
        // The first block is always asked for, so that a missing stage is reported by its name.
        let blocks = (1..MAX_BLOCKS).find(|&block| !has(b, block, "conv1"));
        let dilated = self.dilate_last && index == self.stages.len() - 1;
        let stride = if index == 0 || dilated { 1 } else { 2 };
        let mut x = x.clone();
        for block in 0..blocks.unwrap_or(MAX_BLOCKS) {
            let name = format!("{stage}.{block}");
            let stride = if block == 0 { stride } else { 1 };
            // torchvision dilates from the second block on: the first one still sees all pixels.
            let dilation = if dilated && block > 0 { 2 } else { 1 };
            let deep = has(b, block, "conv3");
            x = b.scoped(&format!("stage_{index}/block_{block}"), |b| {
                self.block(b, &x, &name, stride, dilation, deep)
            })?;
        }
        Ok(x)
    }

    fn block(
        &self,
        b: &mut GraphBuilder,
        x: &Value,
        name: &str,
        stride: usize,
        dilation: usize,
        deep: bool,
    ) -> Result<Value, GraphError> {
        let part = |number: usize| (format!("{name}.conv{number}"), format!("{name}.bn{number}"));
        let apply = |b: &mut GraphBuilder, x: &Value, number, stride, dilation| {
            let (conv, norm) = part(number);
            let layer = Layer {
                conv: &conv,
                norm: &norm,
                stride,
                dilation,
            };
            self.layer(b, x, &layer)
        };
        if dilation > 1 && !deep {
            return Err(GraphError::Node {
                node: name.to_owned(),
                problem: "blocks of two convolutions cannot be dilated; \
                          `replace_final_stride_with_dilation` needs resnet50 or deeper"
                    .to_owned(),
            });
        }
        let y = if deep {
            let y = apply(b, x, 1, 1, 1)?;
            let y = b.relu(&y);
            let y = apply(b, &y, 2, stride, dilation)?;
            let y = b.relu(&y);
            apply(b, &y, 3, 1, 1)?
        } else {
            let y = apply(b, x, 1, stride, dilation)?;
            let y = b.relu(&y);
            apply(b, &y, 2, 1, 1)?
        };
        let skip = if b.has_weight(&format!("{name}.downsample.0.weight")) {
            let layer = Layer {
                conv: &format!("{name}.downsample.0"),
                norm: &format!("{name}.downsample.1"),
                stride,
                dilation: 1,
            };
            self.layer(b, x, &layer)?
        } else {
            x.clone()
        };
        let sum = b.add(&y, &skip)?;
        Ok(b.relu(&sum))
    }

    /// Convolution and normalisation. Kernels are square and padded so that stride 1 keeps the size.
    fn layer(
        &self,
        b: &mut GraphBuilder,
        x: &Value,
        layer: &Layer<'_>,
    ) -> Result<Value, GraphError> {
        let weight = format!("{}.weight", layer.conv);
        let channels = x.shape().get(1).copied().unwrap_or(0);
        let stored = b.source().shape(&weight).map(<[usize]>::to_vec);
        let Some(&[outputs, inputs, kernel, kernel_w]) = stored.as_deref() else {
            b.problem(format!("tensor `{weight}` of a convolution is missing"));
            return Ok(x.clone());
        };
        if kernel != kernel_w || inputs == 0 || !channels.is_multiple_of(inputs) {
            b.problem(format!(
                "tensor `{weight}` is {stored:?}, which does not fit on {channels} channels"
            ));
            return Ok(x.clone());
        }
        let options = ConvOptions {
            strides: vec![layer.stride; 2],
            pads: vec![layer.dilation * (kernel / 2); 2],
            dilations: vec![layer.dilation; 2],
            groups: channels / inputs,
        };
        let shape = [outputs, inputs, kernel, kernel];
        match self.norm {
            Norm::Group => {
                let kernel = b.weight(&weight, &shape);
                let y = b.conv(x, &kernel, None, &options)?;
                let scale = b.weight(&format!("{}.weight", layer.norm), &[outputs]);
                let bias = b.weight(&format!("{}.bias", layer.norm), &[outputs]);
                b.group_norm(&y, outputs / GROUP, &scale, &bias, EPS)
            }
            Norm::Batch => {
                if self.fold {
                    let kernel =
                        b.computed(&weight, &shape, |b| folded(b, &weight, &shape, layer.norm));
                    let bias = format!("{}.bias", layer.conv);
                    let bias =
                        b.computed(&bias, &[outputs], |b| statistics(b, layer.norm, outputs).1);
                    return b.conv(x, &kernel, Some(&bias), &options);
                }
                let (scale, bias) = statistics(b, layer.norm, outputs);
                let kernel = b.weight(&weight, &shape);
                let y = b.conv(x, &kernel, None, &options)?;
                let scale: Vec<f32> = scale.iter().map(|&s| s as f32).collect();
                let wide = [1, outputs, 1, 1];
                let scale = b.constant(&format!("{}.scale", layer.norm), &wide, &scale);
                let bias = b.constant(&format!("{}.bias", layer.norm), &wide, &bias);
                let y = b.mul(&y, &scale)?;
                b.add(&y, &bias)
            }
        }
    }
}

/// A convolution's kernel with the scale of the normalisation after it.
fn folded(b: &mut GraphBuilder, weight: &str, shape: &[usize; 4], norm: &str) -> Vec<f32> {
    let (scale, _) = statistics(b, norm, shape[0]);
    let mut data = b.weight_data(weight, shape);
    let per_output = data.len() / shape[0].max(1);
    for (kernel, scale) in data.chunks_mut(per_output.max(1)).zip(&scale) {
        kernel
            .iter_mut()
            .for_each(|w| *w = (f64::from(*w) * scale) as f32);
    }
    data
}

/// Batch normalisation as `x · scale + bias`.
fn statistics(b: &mut GraphBuilder, norm: &str, channels: usize) -> (Vec<f64>, Vec<f32>) {
    let mut stored = |part: &str| b.weight_data(&format!("{norm}.{part}"), &[channels]);
    let [gain, shift, mean, variance] =
        ["weight", "bias", "running_mean", "running_var"].map(&mut stored);
    // Counts batches of the training.
    b.ignore_weight(&format!("{norm}.num_batches_tracked"));
    let scale: Vec<f64> = gain
        .iter()
        .zip(&variance)
        .map(|(&gain, &variance)| f64::from(gain) / f64::from(variance + EPS).sqrt())
        .collect();
    let bias = shift
        .iter()
        .zip(mean.iter().zip(&scale))
        .map(|(&shift, (&mean, scale))| (f64::from(shift) - f64::from(mean) * scale) as f32)
        .collect();
    (scale, bias)
}

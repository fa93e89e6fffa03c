//! From a camera's image to the key points in it.

use super::{Algebra, Network};
use crate::graph::{ConvOptions, DataType, GraphBuilder, GraphError, Value};
use crate::lerobot::resnet::{Norm, ResNet};

impl Network {
    /// Encoder `index`: from a normalised `image` `[1, c, h, w]` to `features` `[1, n]`.
    pub(super) fn encode(
        &self,
        index: usize,
        algebra: Algebra,
    ) -> Result<GraphBuilder, GraphError> {
        let mut b = self.builder("diffusion/encode");
        let shape = self.images.first().map_or(&[][..], |image| &image.shape);
        let image = b.input("image", DataType::F32, &[&[1], shape].concat());
        let features = self.image_features(&mut b, &image, index, algebra)?;
        b.output("features", &features)?;
        Ok(b)
    }

    /// The forward pass of encoder `index`, from `[1, c, h, w]` to `[1, n]`.
    pub(super) fn image_features(
        &self,
        b: &mut GraphBuilder,
        image: &Value,
        index: usize,
        algebra: Algebra,
    ) -> Result<Value, GraphError> {
        let prefix = match self.config.use_separate_rgb_encoder_per_camera {
            true => format!("diffusion.rgb_encoder.{index}."),
            false => "diffusion.rgb_encoder.".to_owned(),
        };
        let part = |number: usize| format!("{prefix}backbone.{number}");
        let backbone = ResNet {
            stem_conv: part(0),
            stem_norm: part(1),
            stages: [4, 5, 6, 7].map(part),
            norm: match self.config.use_group_norm {
                true => Norm::Group,
                false => Norm::Batch,
            },
            dilate_last: false,
            fold: algebra == Algebra::Folded,
        };
        let image = self.cut(b, image)?;
        let map = backbone.build(b, &image)?;
        b.scoped("key_points", |b| self.key_points(b, &map, &prefix))
    }

    /// Resizes and cuts an image. Both are linear along rows and along columns, so that two small
    /// matrices do it, and pixels that are cut away are never computed.
    fn cut(&self, b: &mut GraphBuilder, image: &Value) -> Result<Value, GraphError> {
        let &[_, _, height, width] = image.shape() else {
            return Ok(image.clone());
        };
        let resized = self.config.resize_shape;
        let whole = resized.unwrap_or([height, width]);
        let kept = self.config.crop_shape.unwrap_or(whole);
        let first = [0, 1].map(|axis| middle(whole[axis], kept[axis]));
        if resized.is_none() {
            let x = b.slice(image, 2, first[0], first[0] + kept[0])?;
            return b.slice(&x, 3, first[1], first[1] + kept[1]);
        }
        let [rows, columns] = [(0, height), (1, width)].map(|(axis, from)| {
            let all = smoothing(from, whole[axis]);
            all[first[axis] * from..(first[axis] + kept[axis]) * from].to_vec()
        });
        // [w, kept]: columns are summed first, as PyTorch does.
        let columns: Vec<f32> = (0..width * kept[1])
            .map(|i| columns[i % kept[1] * width + i / kept[1]])
            .collect();
        let columns = b.constant("columns", &[width, kept[1]], &columns);
        let rows = b.constant("rows", &[kept[0], height], &rows);
        let x = b.matmul(image, &columns)?;
        b.matmul(&rows, &x)
    }

    /// The mean place of each of a few learnt maps, and a linear layer on them.
    fn key_points(
        &self,
        b: &mut GraphBuilder,
        map: &Value,
        prefix: &str,
    ) -> Result<Value, GraphError> {
        let &[_, channels, height, width] = map.shape() else {
            return Ok(map.clone());
        };
        let (points, cells) = (self.config.spatial_softmax_num_keypoints, height * width);
        let weight = b.weight(
            &format!("{prefix}pool.nets.weight"),
            &[points, channels, 1, 1],
        );
        let bias = b.weight(&format!("{prefix}pool.nets.bias"), &[points]);
        let maps = b.conv(map, &weight, Some(&bias), &ConvOptions::default())?;
        let maps = b.reshape(&maps, &[points, cells])?;
        let shares = b.softmax(&maps, 1)?;
        let grid = b.weight(&format!("{prefix}pool.pos_grid"), &[cells, 2]);
        let places = b.matmul(&shares, &grid)?;
        let places = b.reshape(&places, &[1, 2 * points])?;
        let features = b.linear(&places, &format!("{prefix}out"), self.features())?;
        Ok(b.relu(&features))
    }
}

/// First of `kept` elements in the middle of `size`: torchvision rounds a half to the even side.
fn middle(size: usize, kept: usize) -> usize {
    let room = size.saturating_sub(kept);
    match room % 4 {
        3 => room / 2 + 1,
        _ => room / 2,
    }
}

/// The matrix `[to, from]` of bilinear resizing with smoothing (PyTorch's `antialias=True`, which
/// torchvision uses): a triangle as wide as the distance of new pixels, or of old ones if those are
/// farther apart.
fn smoothing(from: usize, to: usize) -> Vec<f32> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let mut matrix = vec![0.0f32; from * to];
    for (row, weights) in matrix.chunks_mut(from.max(1)).enumerate() {
        let centre = scale * (row as f64 + 0.5);
        let first = (centre - reach + 0.5).max(0.0) as usize;
        let last = ((centre + reach + 0.5) as usize).min(from);
        let at = |pixel: usize| (1.0 - ((pixel as f64 + 0.5 - centre) / reach).abs()).max(0.0);
        let total: f64 = (first..last).map(at).sum();
        for (pixel, weight) in weights.iter_mut().enumerate().take(last).skip(first) {
            *weight = (at(pixel) / total) as f32;
        }
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_torchvisions() {
        // (size, kept) → round((size − kept) / 2) with halves to even.
        for (size, kept, wanted) in [
            (96, 84, 6),
            (97, 84, 6),
            (99, 84, 8),
            (85, 84, 0),
            (87, 84, 2),
            (84, 84, 0),
        ] {
            assert_eq!(middle(size, kept), wanted, "{size} {kept}");
        }
    }

    #[test]
    fn smoothing_is_a_mean_and_keeps_what_need_not_change() {
        assert_eq!(
            smoothing(3, 3),
            [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        );
        // Half as many: a triangle over four pixels, cut at the edges.
        let half = smoothing(6, 3);
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(
            near(&half[6..12], &[0.0, 0.125, 0.375, 0.375, 0.125, 0.0]),
            "{half:?}"
        );
        let edge = [3.0 / 7.0, 3.0 / 7.0, 1.0 / 7.0, 0.0, 0.0, 0.0];
        assert!(near(&half[..6], &edge), "{half:?}");
        for (from, to) in [(480, 224), (7, 19), (1, 4)] {
            for row in smoothing(from, to).chunks(from) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
    }
}

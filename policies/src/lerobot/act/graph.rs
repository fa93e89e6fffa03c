//! ACT's graphs.

use super::positions;
use super::{Algebra, Network};
use crate::graph::{
    Computed, ConvOptions, DataType, GraphBuilder, GraphError, Value, WeightSource,
};
use crate::lerobot::attention::{self, EPS};
use crate::lerobot::features::{ENVIRONMENT, STATE};
use crate::lerobot::in_graph;
use crate::lerobot::resnet::ResNet;
use std::sync::Arc;

/// Name of the actions in graphs.
pub(super) const ACTIONS: &str = "action";

impl Network {
    /// From a normalised image `image` `[1, c, h, w]` to `tokens` `[cells, width]`.
    /// Encoders of several sizes share `computed`.
    pub(super) fn encode(
        &self,
        size: &[usize],
        algebra: Algebra,
        computed: &Computed,
    ) -> Result<GraphBuilder, GraphError> {
        let mut b = self.builder("act/encode").sharing(computed);
        let shape = [&[1], size].concat();
        let image = b.input("image", DataType::F32, &shape);
        let (tokens, ..) = self.tokens(&mut b, &image, algebra)?;
        b.output("tokens", &tokens)?;
        Ok(b)
    }

    /// From the normalised `observation.state` `[1, n]`, `observation.environment_state` and each
    /// camera's tokens (named as the camera's feature) to normalised `action` `[steps, n]`.
    pub(super) fn act(&self, algebra: Algebra) -> Result<GraphBuilder, GraphError> {
        let mut b = self.builder("act/act");
        let vector = |b: &mut GraphBuilder, name, size: Option<usize>| {
            size.map(|size| b.input(name, DataType::F32, &[1, size]))
        };
        let state = vector(&mut b, STATE, self.state);
        let environment = vector(&mut b, ENVIRONMENT, self.environment);
        let mut images = Vec::new();
        for image in &self.images {
            let [rows, columns] = self.cells(&image.shape)?;
            let shape = [rows * columns, self.act.dim_model];
            let tokens = b.input(&image.name, DataType::F32, &shape);
            images.push((tokens, rows, columns));
        }
        let actions = self.transformer(&mut b, state, environment, &images, algebra)?;
        b.output(ACTIONS, &actions)?;
        Ok(b)
    }

    /// From bytes and physical values to physical values: each camera's `[h, w, colours]` u8, the
    /// state `[n]`, the environment `[n]`, to `action` `[steps, n]`.
    pub(super) fn whole(&self) -> Result<GraphBuilder, GraphError> {
        let mut b = self.builder("act");
        let processors = &self.checkpoint.processors;
        let vector = |b: &mut GraphBuilder, name: &str, size: Option<usize>| {
            let Some(size) = size else {
                return Ok(None);
            };
            let raw = b.input(name, DataType::F32, &[size]);
            let raw = b.reshape(&raw, &[1, size])?;
            in_graph::vector(b, processors, name, &raw).map(Some)
        };
        let state = vector(&mut b, STATE, self.state)?;
        let environment = vector(&mut b, ENVIRONMENT, self.environment)?;
        let mut images = Vec::new();
        for image in &self.images {
            let &[colours, height, width] = image.shape.as_slice() else {
                continue;
            };
            let pixels = b.input(&image.name, DataType::U8, &[height, width, colours]);
            let pixels = b.reshape(&pixels, &[1, height, width, colours])?;
            let x = in_graph::picture(&mut b, processors, &image.name, &pixels)?;
            images.push(self.tokens(&mut b, &x, Algebra::Folded)?);
        }
        let actions = self.transformer(&mut b, state, environment, &images, Algebra::Folded)?;
        let actions = in_graph::actions(&mut b, processors, &actions, self.action)?;
        b.output(ACTIONS, &actions)?;
        Ok(b)
    }

    fn builder(&self, name: &str) -> GraphBuilder {
        let checkpoint = Arc::clone(&self.checkpoint);
        GraphBuilder::new(name, checkpoint as Arc<dyn WeightSource>)
    }

    /// Rows and columns of the feature map of an image, from a graph that is thrown away.
    fn cells(&self, size: &[usize]) -> Result<[usize; 2], GraphError> {
        let mut b = self.builder("act/size");
        let image = b.input("image", DataType::F32, &[&[1], size].concat());
        let map = self.backbone(Algebra::Plain).build(&mut b, &image)?;
        match map.shape() {
            &[_, _, rows, columns] => Ok([rows, columns]),
            _ => Ok([0, 0]),
        }
    }

    fn backbone(&self, algebra: Algebra) -> ResNet {
        ResNet {
            dilate_last: self.act.replace_final_stride_with_dilation,
            fold: algebra == Algebra::Folded,
            ..ResNet::torchvision("model.backbone.")
        }
    }

    /// A normalised image's tokens, and the rows and columns of its feature map.
    fn tokens(
        &self,
        b: &mut GraphBuilder,
        image: &Value,
        algebra: Algebra,
    ) -> Result<(Value, usize, usize), GraphError> {
        let map = self.backbone(algebra).build(b, image)?;
        let width = self.act.dim_model;
        let (channels, rows, columns) = match map.shape() {
            &[_, channels, rows, columns] => (channels, rows, columns),
            _ => (0, 0, 0),
        };
        let name = "model.encoder_img_feat_input_proj";
        let weight = b.weight(&format!("{name}.weight"), &[width, channels, 1, 1]);
        let bias = b.weight(&format!("{name}.bias"), &[width]);
        let map = b.conv(&map, &weight, Some(&bias), &ConvOptions::default())?;
        let map = b.reshape(&map, &[width, rows * columns])?;
        Ok((b.transpose(&map, &[1, 0])?, rows, columns))
    }

    fn transformer(
        &self,
        b: &mut GraphBuilder,
        state: Option<Value>,
        environment: Option<Value>,
        images: &[(Value, usize, usize)],
        algebra: Algebra,
    ) -> Result<Value, GraphError> {
        let width = self.act.dim_model;
        let mut tokens = vec![self.latent(b, algebra)?];
        for (value, name) in [(state, "robot_state"), (environment, "env_state")] {
            if let Some(value) = value {
                tokens.push(b.linear(
                    &value,
                    &format!("model.encoder_{name}_input_proj"),
                    width,
                )?);
            }
        }
        let vectors = tokens.len();
        let table = "model.encoder_1d_feature_pos_embed.weight";
        let mut codes = b.weight_data(table, &[vectors, width]);
        for (value, rows, columns) in images {
            tokens.push(value.clone());
            codes.extend(positions::image(*rows, *columns, width));
        }
        let tokens: Vec<&Value> = tokens.iter().collect();
        let tokens = b.concat(&tokens, 0)?;
        let codes = b.constant("positions", &[codes.len() / width.max(1), width], &codes);
        let mut x = tokens;
        for layer in 0..self.act.n_encoder_layers {
            let name = format!("model.encoder.layers.{layer}");
            x = b.scoped(&format!("encoder/layer_{layer}"), |b| {
                self.encoder_layer(b, &name, &x, &codes)
            })?;
        }
        if self.act.pre_norm {
            x = b.layer_norm(&x, "model.encoder.norm", EPS)?;
        }
        let decoded = self.decoder(b, &x, &codes, algebra)?;
        let normal = b.layer_norm(&decoded, "model.decoder.norm", EPS)?;
        b.linear(&normal, "model.action_head", self.action)
    }

    /// The latent input is zero: its token is the projection's bias.
    fn latent(&self, b: &mut GraphBuilder, algebra: Algebra) -> Result<Value, GraphError> {
        let (width, latent) = (self.act.dim_model, self.act.latent_dim);
        let name = "model.encoder_latent_input_proj";
        if algebra == Algebra::Plain {
            let zeros = b.constant("latent", &[1, latent], &vec![0.0; latent]);
            return b.linear(&zeros, name, width);
        }
        b.ignore_weight(&format!("{name}.weight"));
        Ok(b.weight_as(&format!("{name}.bias"), &[width], &[1, width]))
    }

    fn encoder_layer(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        x: &Value,
        codes: &Value,
    ) -> Result<Value, GraphError> {
        let (before, after) = (self.act.pre_norm, !self.act.pre_norm);
        let norm = |number: usize| format!("{name}.norm{number}");
        let mut inner = x.clone();
        if before {
            inner = b.layer_norm(&inner, &norm(1), EPS)?;
        }
        let placed = b.add(&inner, codes)?;
        let attention_name = format!("{name}.self_attn");
        let heads = self.act.n_heads;
        let mixed = attention::attention(b, &attention_name, heads, &placed, &placed, &inner)?;
        let mut sum = b.add(x, &mixed)?;
        if after {
            sum = b.layer_norm(&sum, &norm(1), EPS)?;
        }
        self.feed_forward(b, name, &sum, 2)
    }

    /// The feed-forward part of a layer with its residual, and normalisation `norm`.
    pub(super) fn feed_forward(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        x: &Value,
        norm: usize,
    ) -> Result<Value, GraphError> {
        let norm = format!("{name}.norm{norm}");
        let mut inner = x.clone();
        if self.act.pre_norm {
            inner = b.layer_norm(&inner, &norm, EPS)?;
        }
        let (hidden, activation) = (self.act.dim_feedforward, self.act.feedforward_activation);
        let y = attention::feed_forward(b, name, &inner, hidden, activation)?;
        let sum = b.add(x, &y)?;
        match self.act.pre_norm {
            true => Ok(sum),
            false => b.layer_norm(&sum, &norm, EPS),
        }
    }
}

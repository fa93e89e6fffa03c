//! ACT's fields.

use super::{Config, within};
use crate::lerobot::json::Fields;
use crate::manifest::MAX_CHUNK;

/// The widest layer of a network.
pub(super) const WIDTH_LIMIT: usize = 1 << 14;
/// The most layers of a kind.
pub(super) const LAYER_LIMIT: usize = 128;

/// Values of all images' tokens.
const TOKEN_LIMIT: usize = 1 << 26;
/// Values of the queries that stand for a chunk's steps.
const QUERY_LIMIT: usize = 1 << 24;

/// What sets the shape of an ACT network. Names and defaults are LeRobot's.
#[derive(Debug, Clone, PartialEq)]
pub struct ActConfig {
    /// Steps that the network gives at a time.
    pub chunk_size: usize,
    /// Steps that are used before the network is asked again.
    pub n_action_steps: usize,
    /// Image encoder, for example `resnet18`.
    pub vision_backbone: String,
    /// Whether the encoder's last stage keeps its resolution and is dilated instead.
    pub replace_final_stride_with_dilation: bool,
    /// Whether transformer layers normalise before, not after, their sublayers.
    pub pre_norm: bool,
    /// Width of the transformer.
    pub dim_model: usize,
    /// Attention heads; they divide `dim_model`.
    pub n_heads: usize,
    /// Width of the layers' feed-forward part.
    pub dim_feedforward: usize,
    /// What lies between its two matrices.
    pub feedforward_activation: Activation,
    /// Layers of the encoder.
    pub n_encoder_layers: usize,
    /// Layers of the decoder.
    pub n_decoder_layers: usize,
    /// Whether training used a variational encoder, which inference does not need.
    pub use_vae: bool,
    /// Width of the latent input, which is zero in inference.
    pub latent_dim: usize,
    /// Coefficient of temporal ensembling, if the policy was meant to use it.
    pub temporal_ensemble_coeff: Option<f64>,
}

/// What lies between the two matrices of a feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x Φ(x)`.
    Gelu,
    /// `a σ(b)` for the two halves of the vector.
    Glu,
}

impl ActConfig {
    pub(super) fn take(fields: &mut Fields) -> Self {
        let activation = fields.text("feedforward_activation");
        let activation = match activation.as_deref() {
            None | Some("relu") => Activation::Relu,
            Some("gelu") => Activation::Gelu,
            Some("glu") => Activation::Glu,
            Some(_) => {
                fields.problem("`feedforward_activation` must be relu, gelu or glu");
                Activation::Relu
            }
        };
        // Of the training, or of the weights before it.
        fields.ignore(&[
            "pretrained_backbone_weights",
            "n_vae_encoder_layers",
            "dropout",
            "kl_weight",
            "optimizer_lr_backbone",
            "use_temporal_aggregation",
        ]);
        let coefficient = fields.number_or_null("temporal_ensemble_coeff");
        // Its weights fell off in another way, which nothing computes any more.
        if fields
            .number_or_null("temporal_ensemble_momentum")
            .is_some()
        {
            tracing::warn!(
                "`temporal_ensemble_momentum` of 2024 is not used: no temporal ensembling"
            );
        }
        Self {
            chunk_size: fields.size("chunk_size", 100, MAX_CHUNK),
            n_action_steps: fields.size("n_action_steps", 100, MAX_CHUNK),
            vision_backbone: backbone(fields),
            replace_final_stride_with_dilation: fields
                .truth("replace_final_stride_with_dilation", false),
            pre_norm: fields.truth("pre_norm", false),
            dim_model: fields.size("dim_model", 512, WIDTH_LIMIT),
            n_heads: fields.size("n_heads", 8, 1024),
            dim_feedforward: fields.size("dim_feedforward", 3200, 4 * WIDTH_LIMIT),
            feedforward_activation: activation,
            n_encoder_layers: fields.size("n_encoder_layers", 4, LAYER_LIMIT),
            n_decoder_layers: fields.size("n_decoder_layers", 1, LAYER_LIMIT),
            use_vae: fields.truth("use_vae", true),
            latent_dim: fields.size("latent_dim", 32, WIDTH_LIMIT),
            temporal_ensemble_coeff: coefficient,
        }
    }

    pub(super) fn check(&self, config: &Config, notes: &mut Fields) {
        let Self {
            chunk_size,
            n_action_steps,
            dim_model,
            n_heads,
            ..
        } = self;
        notes.require(n_action_steps <= chunk_size, || {
            format!("`n_action_steps` ({n_action_steps}) is above `chunk_size` ({chunk_size})")
        });
        notes.require(
            self.temporal_ensemble_coeff.is_none() || *n_action_steps == 1,
            || {
                format!(
                    "`temporal_ensemble_coeff` needs `n_action_steps` 1, and it is {n_action_steps}"
                )
            },
        );
        notes.require(dim_model.is_multiple_of(*n_heads), || {
            format!("`n_heads` ({n_heads}) does not divide `dim_model` ({dim_model})")
        });
        // Half of the channels tell the row and half the column, in pairs of sine and cosine.
        notes.require(dim_model.is_multiple_of(4), || {
            format!("`dim_model` ({dim_model}) must be a multiple of 4")
        });
        notes.require(within(&[*chunk_size, *dim_model], QUERY_LIMIT), || {
            format!(
                "`chunk_size` ({chunk_size}) times `dim_model` ({dim_model}) is above {QUERY_LIMIT}"
            )
        });
        // A residual network sees each image at a 32nd of its size, or a 16th.
        let shrunk = if self.replace_final_stride_with_dilation {
            16
        } else {
            32
        };
        let cells = config.images().map(|image| {
            let sides = image.shape.iter().skip(1);
            sides.map(|side| side.div_ceil(shrunk)).product::<usize>()
        });
        let cells: usize = cells.sum();
        notes.require(within(&[cells, *dim_model], TOKEN_LIMIT), || {
            format!(
                "the images make {cells} tokens of `dim_model` {dim_model}: above {TOKEN_LIMIT} values"
            )
        });
        let steps = config.n_obs_steps;
        notes.require(steps == 1, || {
            format!("`n_obs_steps` must be 1 for act, and it is {steps}")
        });
    }
}

/// The image encoder's name.
pub(super) fn backbone(fields: &mut Fields) -> String {
    let name = fields
        .text("vision_backbone")
        .unwrap_or_else(|| "resnet18".to_owned());
    // LeRobot's own rule. Depth and width are read from the weights, so networks that a plugin adds to
    // torchvision's are read as well.
    fields.require(name.starts_with("resnet"), || {
        "`vision_backbone` must be a ResNet, such as resnet18".to_owned()
    });
    name
}

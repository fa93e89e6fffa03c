//! Fields of the diffusion policy.

use super::act::{LAYER_LIMIT, WIDTH_LIMIT, backbone};
use super::{Config, Generation, within};
use crate::lerobot::json::Fields;
use crate::manifest::MAX_CHUNK;

/// Elements of one weight of the U-Net.
const WEIGHT_LIMIT: usize = 1 << 28;
/// Elements of a matrix that resizes one side of an image.
const RESIZE_LIMIT: usize = 1 << 24;
/// Numbers of noise for one chunk, and values of the codes of all denoising steps.
const SAMPLE_LIMIT: usize = 1 << 26;

/// What sets the shape of a diffusion policy's networks, and its sampler. Names and defaults are
/// LeRobot's, those of 0.6 or of the years before.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffusionConfig {
    /// Steps that the network works on at a time.
    pub horizon: usize,
    /// Steps that are used before the network is asked again.
    pub n_action_steps: usize,
    /// Image encoder, for example `resnet18`.
    pub vision_backbone: String,
    /// `[height, width]` to which images are resized first.
    pub resize_shape: Option<[usize; 2]>,
    /// `[height, width]` of what is then cut from the middle. `crop_ratio` is already in it.
    pub crop_shape: Option<[usize; 2]>,
    /// Whether the encoder has group instead of batch normalisation.
    pub use_group_norm: bool,
    /// Key points that the encoder finds in an image.
    pub spatial_softmax_num_keypoints: usize,
    /// Whether each camera has an encoder of its own.
    pub use_separate_rgb_encoder_per_camera: bool,
    /// Width of each level of the U-Net.
    pub down_dims: Vec<usize>,
    /// Steps that a convolution sees; odd.
    pub kernel_size: usize,
    /// Groups of its group normalisation; they divide all of `down_dims`.
    pub n_groups: usize,
    /// Width of the code for the diffusion step.
    pub diffusion_step_embed_dim: usize,
    /// Whether conditions scale activations besides shifting them.
    pub use_film_scale_modulation: bool,
    /// How a step of the reverse process is taken.
    pub noise_scheduler_type: Scheduler,
    /// Steps of the process in training.
    pub num_train_timesteps: usize,
    /// How the noise of a training step follows from its number.
    pub beta_schedule: BetaSchedule,
    /// Noise of the first step; for the schedules that use it.
    pub beta_start: f64,
    /// Noise of the last step; for the schedules that use it.
    pub beta_end: f64,
    /// What the network predicts.
    pub prediction_type: Prediction,
    /// Bound on the predicted sample, if it is clipped.
    pub clip_sample_range: Option<f64>,
    /// Steps of the reverse process: `num_inference_steps`, or all.
    pub num_inference_steps: usize,
}

/// How a step of the reverse process is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    /// With fresh noise at each step.
    Ddpm,
    /// Without noise.
    Ddim,
}

/// How the noise of a training step follows from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BetaSchedule {
    /// `squaredcos_cap_v2`.
    SquaredCosine,
    /// `linear`.
    Linear,
    /// `scaled_linear`: linear in the square root.
    ScaledLinear,
}

/// What the network predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// The sample without noise.
    Sample,
}

impl DiffusionConfig {
    pub(super) fn take(fields: &mut Fields, generation: Generation) -> Self {
        let new = generation == Generation::Resize;
        fields.ignore(&[
            "drop_n_last_frames",
            "crop_is_random",
            "pretrained_backbone_weights",
            "gradient_checkpointing",
            "compile_model",
            "compile_mode",
            "do_mask_loss_for_padding",
            "optimizer_betas",
            "optimizer_eps",
            "scheduler_name",
            "scheduler_warmup_steps",
        ]);
        let (resize_shape, crop_shape) = image_shapes(fields, new);
        let clipped = fields.truth("clip_sample", true);
        let range = fields.number("clip_sample_range", 1.0);
        let timesteps = fields.size("num_train_timesteps", 100, 10_000);
        let dims = fields.sizes("down_dims", WIDTH_LIMIT, LAYER_LIMIT.min(12));
        Self {
            horizon: fields.size("horizon", if new { 64 } else { 16 }, MAX_CHUNK),
            n_action_steps: fields.size("n_action_steps", if new { 32 } else { 8 }, MAX_CHUNK),
            vision_backbone: backbone(fields),
            resize_shape,
            crop_shape,
            use_group_norm: fields.truth("use_group_norm", !new),
            spatial_softmax_num_keypoints: fields.size("spatial_softmax_num_keypoints", 32, 4096),
            use_separate_rgb_encoder_per_camera: fields
                .truth("use_separate_rgb_encoder_per_camera", new),
            down_dims: dims.unwrap_or_else(|| vec![512, 1024, 2048]),
            kernel_size: fields.size("kernel_size", 5, 255),
            n_groups: fields.size("n_groups", 8, WIDTH_LIMIT),
            diffusion_step_embed_dim: fields.size("diffusion_step_embed_dim", 128, WIDTH_LIMIT),
            use_film_scale_modulation: fields.truth("use_film_scale_modulation", true),
            noise_scheduler_type: scheduler(fields),
            num_train_timesteps: timesteps,
            beta_schedule: beta_schedule(fields),
            beta_start: fields.number("beta_start", 0.0001),
            beta_end: fields.number("beta_end", 0.02),
            prediction_type: prediction(fields),
            clip_sample_range: clipped.then_some(range),
            num_inference_steps: fields.size("num_inference_steps", timesteps, 10_000),
        }
    }

    pub(super) fn check(&self, config: &Config, notes: &mut Fields) {
        let (horizon, levels) = (self.horizon, self.down_dims.len());
        notes.require(levels > 0, || "`down_dims` must not be empty".to_owned());
        notes.require(horizon.is_multiple_of(1 << levels), || {
            format!(
                "`horizon` ({horizon}) must be a multiple of {}, 2 to the number of `down_dims`",
                1usize << levels
            )
        });
        let steps = self.n_action_steps;
        notes.require(steps + config.n_obs_steps <= horizon + 1, || {
            format!(
                "`n_action_steps` ({steps}) must be at most `horizon` - `n_obs_steps` + 1 = {}",
                (horizon + 1).saturating_sub(config.n_obs_steps)
            )
        });
        notes.require(!self.kernel_size.is_multiple_of(2), || {
            format!("`kernel_size` must be odd, and it is {}", self.kernel_size)
        });
        let groups = self.n_groups;
        let divided = self.down_dims.iter().all(|dim| dim.is_multiple_of(groups));
        notes.require(divided, || {
            format!("`n_groups` ({groups}) must divide each of `down_dims`")
        });
        let embed = self.diffusion_step_embed_dim;
        notes.require(embed.is_multiple_of(2) && embed >= 4, || {
            format!("`diffusion_step_embed_dim` must be even and at least 4, and it is {embed}")
        });
        let (all, some) = (self.num_train_timesteps, self.num_inference_steps);
        notes.require(some <= all, || {
            format!("`num_inference_steps` ({some}) is above `num_train_timesteps` ({all})")
        });
        let range = self.clip_sample_range.unwrap_or(1.0);
        notes.require(range > 0.0, || {
            format!("`clip_sample_range` must be above 0, and it is {range}")
        });
        for (name, beta) in [("beta_start", self.beta_start), ("beta_end", self.beta_end)] {
            notes.require((0.0..1.0).contains(&beta), || {
                format!("`{name}` must be 0 to below 1, and it is {beta}")
            });
        }
        notes.require(config.state().is_some(), || {
            "a diffusion policy needs `observation.state` among its inputs".to_owned()
        });
        self.check_sizes(config, notes);
        self.check_images(config, notes);
    }

    /// Each number is bounded alone; memory goes by their products.
    fn check_sizes(&self, config: &Config, notes: &mut Fields) {
        let widest = self.down_dims.iter().copied().max().unwrap_or(0);
        let taps = self.kernel_size.max(4);
        notes.require(within(&[2, widest, widest, taps], WEIGHT_LIMIT), || {
            format!("a level of {widest} channels in `down_dims` with `kernel_size` {taps} has a weight of more than {WEIGHT_LIMIT} elements")
        });
        let images = config.images().count();
        let vectors = [config.state(), config.environment()];
        let vectors: usize = vectors.into_iter().flatten().map(|f| f.len()).sum();
        let observation = vectors + images * 2 * self.spatial_softmax_num_keypoints;
        let embed = self.diffusion_step_embed_dim;
        let condition = embed + config.n_obs_steps * observation;
        notes.require(within(&[2, widest, condition], WEIGHT_LIMIT), || {
            format!("{condition} conditions on {widest} channels are a weight of more than {WEIGHT_LIMIT} elements")
        });
        let (steps, action) = (
            self.num_inference_steps,
            config.action().map_or(1, |f| f.len()),
        );
        let fits = within(&[steps + 1, self.horizon, action], SAMPLE_LIMIT)
            && within(&[steps, embed], SAMPLE_LIMIT);
        notes.require(fits, || {
            format!("{steps} denoising steps of `horizon` {} and `diffusion_step_embed_dim` {embed} need more than {SAMPLE_LIMIT} numbers", self.horizon)
        });
    }

    fn check_images(&self, config: &Config, notes: &mut Fields) {
        let Some(first) = config.images().next() else {
            return;
        };
        for image in config.images() {
            notes.require(image.shape == first.shape, || {
                format!(
                    "all images must have one shape, and `{}` is {:?} where `{}` is {:?}",
                    image.name, image.shape, first.name, first.shape
                )
            });
        }
        let [height, width] = self
            .resize_shape
            .unwrap_or([first.shape[1], first.shape[2]]);
        if self.resize_shape.is_some() {
            let sides = [(first.shape[1], height), (first.shape[2], width)];
            let fits = sides
                .iter()
                .all(|&(from, to)| within(&[from, to], RESIZE_LIMIT));
            notes.require(fits, || {
                format!("`resize_shape` {height}×{width} is too far from the image, {:?}: that takes matrices of more than {RESIZE_LIMIT} elements", first.shape)
            });
        }
        if let Some([high, wide]) = self.crop_shape {
            notes.require(high <= height && wide <= width, || {
                format!("`crop_shape` {high}×{wide} is larger than the image, {height}×{width}")
            });
        }
    }
}

/// Where images are resized and cut. In 0.6 `crop_shape` follows from `resize_shape` if that is set.
fn image_shapes(fields: &mut Fields, new: bool) -> (Option<[usize; 2]>, Option<[usize; 2]>) {
    let absent = !fields.has("crop_shape");
    let resize = pair(fields, "resize_shape");
    let mut crop = pair(fields, "crop_shape");
    let ratio = fields.number("crop_ratio", 1.0);
    fields.require(ratio > 0.0 && ratio <= 1.0, || {
        format!("`crop_ratio` must be above 0 and at most 1, and it is {ratio}")
    });
    if absent && !new {
        crop = Some([84, 84]);
    }
    let Some(size) = resize else {
        return (None, crop);
    };
    let cut = size.map(|n| (n as f64 * ratio) as usize);
    fields.require(cut.iter().all(|n| *n > 0), || {
        "`crop_ratio` leaves nothing of `resize_shape`".to_owned()
    });
    (resize, (ratio < 1.0).then_some(cut))
}

fn pair(fields: &mut Fields, name: &str) -> Option<[usize; 2]> {
    let sizes = fields.sizes(name, WIDTH_LIMIT, 2)?;
    let pair = <[usize; 2]>::try_from(sizes).ok();
    fields.require(pair.is_some(), || {
        format!("`{name}` must be [height, width]")
    });
    pair
}

fn scheduler(fields: &mut Fields) -> Scheduler {
    match fields.text("noise_scheduler_type").as_deref() {
        None | Some("DDPM") => Scheduler::Ddpm,
        Some("DDIM") => Scheduler::Ddim,
        Some(_) => {
            fields.problem("`noise_scheduler_type` must be DDPM or DDIM");
            Scheduler::Ddpm
        }
    }
}

fn beta_schedule(fields: &mut Fields) -> BetaSchedule {
    match fields.text("beta_schedule").as_deref() {
        None | Some("squaredcos_cap_v2") => BetaSchedule::SquaredCosine,
        Some("linear") => BetaSchedule::Linear,
        Some("scaled_linear") => BetaSchedule::ScaledLinear,
        Some(_) => {
            fields.problem("`beta_schedule` must be squaredcos_cap_v2, linear or scaled_linear");
            BetaSchedule::SquaredCosine
        }
    }
}

fn prediction(fields: &mut Fields) -> Prediction {
    match fields.text("prediction_type").as_deref() {
        None | Some("epsilon") => Prediction::Epsilon,
        Some("sample") => Prediction::Sample,
        Some(_) => {
            fields.problem("`prediction_type` must be epsilon or sample");
            Prediction::Epsilon
        }
    }
}

//! A diffusion checkpoint without cameras that is small enough for every test run: two levels of 8
//! and 16 channels, four denoising steps.

use super::checkpoint::{Files, safetensors};
use super::tiny_act::Weights;
use serde_json::json;

const KERNEL: usize = 3;
/// Width of the time code.
const CODE: usize = 8;
/// Two observations of a state of 2 and surroundings of 3.
const CONDITIONING: usize = 10;

impl Weights {
    fn over_time(&mut self, name: &str, shape: [usize; 3], outputs: usize) {
        let spread = 1.5 / ((shape[1] * shape[2]) as f32).sqrt();
        self.add(&format!("{name}.weight"), &shape, 0.0, spread);
        self.add(&format!("{name}.bias"), &[outputs], 0.0, 0.2);
    }

    /// Convolution and group normalisation.
    fn part(&mut self, name: &str, inputs: usize, outputs: usize) {
        self.over_time(
            &format!("{name}.block.0"),
            [outputs, inputs, KERNEL],
            outputs,
        );
        self.add(&format!("{name}.block.1.weight"), &[outputs], 1.0, 0.2);
        self.add(&format!("{name}.block.1.bias"), &[outputs], 0.0, 0.2);
    }

    fn blocks(&mut self, name: &str, inputs: usize, outputs: usize) {
        for (index, inputs) in [inputs, outputs].into_iter().enumerate() {
            let name = format!("{name}.{index}");
            self.part(&format!("{name}.conv1"), inputs, outputs);
            self.part(&format!("{name}.conv2"), outputs, outputs);
            self.linear(
                &format!("{name}.cond_encoder.1"),
                CODE + CONDITIONING,
                outputs,
            );
            if inputs != outputs {
                self.over_time(
                    &format!("{name}.residual_conv"),
                    [outputs, inputs, 1],
                    outputs,
                );
            }
        }
    }
}

/// The files of the checkpoint.
pub(crate) fn tiny_diffusion() -> Files {
    let mut w = Weights::new();
    let name = |part: &str| format!("diffusion.unet.{part}");
    w.linear(&name("diffusion_step_encoder.1"), CODE, 4 * CODE);
    w.linear(&name("diffusion_step_encoder.3"), 4 * CODE, CODE);
    w.blocks(&name("down_modules.0"), 2, 8);
    w.over_time(&name("down_modules.0.2"), [8, 8, 3], 8);
    w.blocks(&name("down_modules.1"), 8, 16);
    w.blocks(&name("mid_modules"), 16, 16);
    w.blocks(&name("up_modules.0"), 32, 8);
    w.over_time(&name("up_modules.0.2"), [8, 8, 4], 8);
    w.part(&name("final_conv.0"), 8, 8);
    w.over_time(&name("final_conv.1"), [2, 8, 1], 2);
    Files {
        weights: safetensors(&w.tensors),
        config: json!({
            "type": "diffusion",
            "resize_shape": null,
            "input_features": {
                "observation.state": {"type": "STATE", "shape": [2]},
                "observation.environment_state": {"type": "ENV", "shape": [3]},
            },
            "output_features": {"action": {"type": "ACTION", "shape": [2]}},
            "n_obs_steps": 2, "horizon": 8, "n_action_steps": 4,
            "down_dims": [8, 16], "kernel_size": KERNEL, "n_groups": 4,
            "diffusion_step_embed_dim": CODE, "use_film_scale_modulation": false,
            "num_train_timesteps": 4,
        }),
        ..Files::default()
    }
}

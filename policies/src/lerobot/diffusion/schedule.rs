//! The reverse process: from noise to actions, step by step.
//!
//! Schedules and steps are those of diffusers' `DDPMScheduler` (variance `fixed_small`) and
//! `DDIMScheduler` (η = 0), with leading time steps and no offset, in the same precision: the
//! cumulative product is kept in double precision and stored in single, everything after it is in
//! single. Formulas: Ho et al., "Denoising Diffusion Probabilistic Models", (7); Song et al.,
//! "Denoising Diffusion Implicit Models", (12).

use crate::lerobot::config::{BetaSchedule, DiffusionConfig, Prediction, Scheduler};

/// The smallest variance of a step's noise.
const MIN_VARIANCE: f32 = 1e-20;
/// The largest β of the cosine schedule.
const MAX_BETA: f64 = 0.999;

/// A sampler with all its numbers computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    steps: Vec<Step>,
    scheduler: Scheduler,
    prediction: Prediction,
    clip: Option<f32>,
}

/// One step from time `t` towards the sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    /// Training step, which the network is told.
    timestep: usize,
    /// √ᾱ and √(1 − ᾱ) of `t`.
    pub(super) root_alpha: f32,
    pub(super) root_beta: f32,
    /// Factor of the predicted sample.
    pub(super) of_sample: f32,
    /// Factor of the current state (DDPM), or of the predicted noise (DDIM).
    pub(super) of_rest: f32,
    /// Standard deviation of fresh noise; zero where none is added.
    pub(super) sigma: f32,
}

impl Schedule {
    /// Computes the schedule that the configuration asks for.
    ///
    /// # Errors
    /// When the configuration leaves a step that divides by zero.
    pub fn new(config: &DiffusionConfig) -> Result<Self, String> {
        let alphas = cumulative_alphas(config);
        let (all, used) = (config.num_train_timesteps, config.num_inference_steps);
        let stride = all.checked_div(used).unwrap_or(0).max(1);
        let steps: Vec<Step> = (0..used)
            .rev()
            .map(|index| {
                let timestep = index * stride;
                let alpha = alphas.get(timestep).copied().unwrap_or(f32::NAN);
                let previous = match timestep.checked_sub(stride) {
                    Some(earlier) => alphas.get(earlier).copied().unwrap_or(f32::NAN),
                    None => 1.0,
                };
                Step::new(config.noise_scheduler_type, timestep, alpha, previous)
            })
            .collect();
        if let Some(step) = steps.iter().find(|step| !step.is_finite()) {
            return Err(format!(
                "the schedule of noise divides by zero at time step {}; `beta_start`, `beta_end` and `beta_schedule` \
                 leave no noise or no signal there",
                step.timestep
            ));
        }
        Ok(Self {
            steps,
            scheduler: config.noise_scheduler_type,
            prediction: config.prediction_type,
            clip: config.clip_sample_range.map(|range| range as f32),
        })
    }

    /// Steps from noise to actions.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no step at all.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The training steps that the network is told, in the order of use.
    pub fn timesteps(&self) -> impl Iterator<Item = usize> {
        self.steps.iter().map(|step| step.timestep)
    }

    /// How many samples of noise the process takes, each as large as the horizon's actions: the
    /// one that it starts from, and one for each step that adds noise.
    pub fn draws(&self) -> usize {
        1 + self.steps.iter().filter(|step| step.sigma > 0.0).count()
    }

    /// Whether step `index` adds fresh noise.
    pub fn adds_noise(&self, index: usize) -> bool {
        self.steps[index].sigma > 0.0
    }

    /// The numbers of step `index`.
    pub(super) fn factors(&self, index: usize) -> &Step {
        &self.steps[index]
    }

    /// Takes step `index`: `state` becomes the state before it. `predicted` is what the network said
    /// about `state`; `noise` is standard normal, of the same size, and used where
    /// [`Schedule::adds_noise`].
    pub fn step(&self, index: usize, state: &mut [f32], predicted: &[f32], noise: &[f32]) {
        let step = &self.steps[index];
        for (x, &output) in state.iter_mut().zip(predicted) {
            let (sample, epsilon) = self.split(step, *x, output);
            let rest = match self.scheduler {
                Scheduler::Ddpm => *x,
                Scheduler::Ddim => epsilon,
            };
            *x = step.of_sample * sample + step.of_rest * rest;
        }
        if step.sigma > 0.0 {
            for (x, noise) in state.iter_mut().zip(noise) {
                *x += step.sigma * noise;
            }
        }
    }

    /// The sample without noise, clipped, and the noise that the network's output stands for.
    fn split(&self, step: &Step, x: f32, output: f32) -> (f32, f32) {
        let (sample, epsilon) = match self.prediction {
            Prediction::Epsilon => ((x - step.root_beta * output) / step.root_alpha, output),
            Prediction::Sample => (output, (x - step.root_alpha * output) / step.root_beta),
        };
        match self.clip {
            Some(range) => (sample.clamp(-range, range), epsilon),
            None => (sample, epsilon),
        }
    }
}

impl Step {
    fn new(scheduler: Scheduler, timestep: usize, alpha: f32, previous: f32) -> Self {
        let beta = 1.0 - alpha;
        let (of_sample, of_rest, sigma) = match scheduler {
            Scheduler::Ddim => (previous.sqrt(), (1.0 - previous).sqrt(), 0.0),
            Scheduler::Ddpm => {
                let here = alpha / previous;
                let noise = 1.0 - here;
                let variance = (1.0 - previous) / beta * noise;
                (
                    previous.sqrt() * noise / beta,
                    here.sqrt() * (1.0 - previous) / beta,
                    // The last step gives the answer.
                    if timestep > 0 {
                        variance.max(MIN_VARIANCE).sqrt()
                    } else {
                        0.0
                    },
                )
            }
        };
        Self {
            timestep,
            root_alpha: alpha.sqrt(),
            root_beta: beta.sqrt(),
            of_sample,
            of_rest,
            sigma,
        }
    }

    fn is_finite(&self) -> bool {
        let divisors = [self.root_alpha, self.root_beta];
        let numbers = [self.of_sample, self.of_rest, self.sigma];
        divisors.iter().all(|d| *d > 0.0) && numbers.iter().all(|n| n.is_finite())
    }
}

/// ᾱ of every training step.
fn cumulative_alphas(config: &DiffusionConfig) -> Vec<f32> {
    let mut product = 1.0f64;
    betas(config)
        .into_iter()
        .map(|beta| {
            product *= f64::from(1.0 - beta);
            product as f32
        })
        .collect()
}

/// β of every training step.
fn betas(config: &DiffusionConfig) -> Vec<f32> {
    let steps = config.num_train_timesteps;
    let (start, end) = (config.beta_start, config.beta_end);
    match config.beta_schedule {
        BetaSchedule::Linear => evenly(start as f32, end as f32, steps),
        BetaSchedule::ScaledLinear => {
            let roots = evenly(start.sqrt() as f32, end.sqrt() as f32, steps);
            roots.into_iter().map(|root| root * root).collect()
        }
        BetaSchedule::SquaredCosine => {
            let remaining = |step: usize| {
                let time = (step as f64 / steps as f64 + 0.008) / 1.008;
                (time * std::f64::consts::FRAC_PI_2).cos().powi(2)
            };
            (0..steps)
                .map(|step| (1.0 - remaining(step + 1) / remaining(step)).min(MAX_BETA) as f32)
                .collect()
        }
    }
}

/// `count` numbers from `start` to `end`, counted from the nearer end as PyTorch does.
fn evenly(start: f32, end: f32, count: usize) -> Vec<f32> {
    let step = (end - start) / count.saturating_sub(1).max(1) as f32;
    (0..count)
        .map(|index| match index < count / 2 || count == 1 {
            true => start + step * index as f32,
            false => end - step * (count - 1 - index) as f32,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the sampler depends on; the rest is any valid configuration.
    fn config(scheduler: Scheduler, prediction: Prediction, steps: usize) -> DiffusionConfig {
        let mut config = super::super::tests::config();
        config.noise_scheduler_type = scheduler;
        config.prediction_type = prediction;
        config.num_inference_steps = steps;
        config
    }

    fn near(got: &[f32], wanted: &[f64]) {
        assert_eq!(got.len(), wanted.len());
        for (got, wanted) in got.iter().zip(wanted) {
            let error = (f64::from(*got) - wanted).abs();
            assert!(
                error <= 2e-7 * wanted.abs().max(1.0),
                "{got} where {wanted} is right"
            );
        }
    }

    /// Values of diffusers 0.39.
    #[test]
    fn schedules_are_those_of_diffusers() {
        let known = [
            (
                BetaSchedule::SquaredCosine,
                [
                    0.999_368_727,
                    0.998_252_511,
                    0.835_620_522,
                    0.478_264_57,
                    0.000_242_857_204,
                    2.428_540_71e-7,
                ],
            ),
            (
                BetaSchedule::Linear,
                [
                    0.999_899_983,
                    0.999_599_04,
                    0.934_216_678,
                    0.769_291_282,
                    0.370_982_915,
                    0.363_563_24,
                ],
            ),
            (
                BetaSchedule::ScaledLinear,
                [
                    0.999_899_983,
                    0.999_771_655,
                    0.979_241_312,
                    0.891_545_057,
                    0.494_479_448,
                    0.484_589_875,
                ],
            ),
        ];
        for (schedule, wanted) in known {
            let mut config = config(Scheduler::Ddpm, Prediction::Epsilon, 100);
            config.beta_schedule = schedule;
            let alphas = cumulative_alphas(&config);
            let got = [0, 1, 25, 50, 98, 99].map(|step| alphas[step]);
            for (got, wanted) in got.iter().zip(wanted) {
                let error = (f64::from(*got) - wanted).abs() / wanted;
                assert!(error < 2e-7, "{schedule:?}: {got} where {wanted} is right");
            }
        }
    }

    /// One step at each of the time steps 90, 50 and 0 of ten, by diffusers 0.39.
    #[test]
    fn steps_are_those_of_diffusers() {
        use {Prediction::*, Scheduler::*};
        let known: [(Scheduler, Prediction, bool, [[f64; 3]; 3]); 8] = [
            (
                Ddpm,
                Epsilon,
                true,
                [
                    [1.300_709_01, -0.306_403_518, 1.111_840_72],
                    [0.950_628_4, -0.106_458_172, 1.394_064_66],
                    [0.497_644_603, -0.224_945_873, 1.0],
                ],
            ),
            (
                Ddpm,
                Epsilon,
                false,
                [
                    [1.729_095_46, 0.678_331_852, 2.124_763_73],
                    [0.950_628_4, -0.106_458_172, 1.537_425_04],
                    [0.497_644_603, -0.224_945_873, 1.481_623_89],
                ],
            ),
            (
                Ddpm,
                Sample,
                true,
                [
                    [1.094_338_42, -0.765_004_873, 1.054_515_6],
                    [0.757_861_316, -0.732_086_003, 1.301_129_1],
                    [0.1, -1.0, 0.75],
                ],
            ),
            (
                Ddpm,
                Sample,
                false,
                [
                    [1.094_338_42, -0.765_004_873, 1.054_515_6],
                    [0.757_861_316, -0.732_086_003, 1.301_129_1],
                    [0.1, -1.0, 0.75],
                ],
            ),
            (
                Ddim,
                Epsilon,
                true,
                [
                    [0.387_446_195, -0.664_681_673, 1.009_158_13],
                    [0.552_558_72, -0.063_040_792_9, 1.249_962_21],
                    [0.497_644_603, -0.224_945_873, 1.0],
                ],
            ),
            (
                Ddim,
                Epsilon,
                false,
                [
                    [0.932_592_452, 0.588_450_193, 2.298_160_55],
                    [0.552_558_72, -0.063_040_792_9, 1.556_668_4],
                    [0.497_644_603, -0.224_945_873, 1.481_623_89],
                ],
            ),
            (
                Ddim,
                Sample,
                true,
                [
                    [0.498_658_538, -0.398_246_527, 1.566_515_45],
                    [0.441_118_538, -0.424_721_152, 1.420_063_73],
                    [0.1, -1.0, 0.75],
                ],
            ),
            (
                Ddim,
                Sample,
                false,
                [
                    [0.498_658_538, -0.398_246_527, 1.566_515_45],
                    [0.441_118_538, -0.424_721_152, 1.420_063_73],
                    [0.1, -1.0, 0.75],
                ],
            ),
        ];
        for (scheduler, prediction, clip, wanted) in known {
            let mut config = config(scheduler, prediction, 10);
            config.clip_sample_range = clip.then_some(1.0);
            let schedule = Schedule::new(&config).unwrap();
            for (index, wanted) in [0, 4, 9].into_iter().zip(&wanted) {
                let mut state = [0.5, -0.25, 1.5];
                schedule.step(index, &mut state, &[0.1, -1.0, 0.75], &[1.0, -0.5, 0.25]);
                near(&state, wanted);
            }
        }
    }

    #[test]
    fn time_steps_lead_and_the_last_one_adds_no_noise() {
        let ddpm = Schedule::new(&config(Scheduler::Ddpm, Prediction::Epsilon, 7)).unwrap();
        assert!(ddpm.timesteps().eq([84, 70, 56, 42, 28, 14, 0]));
        assert_eq!(ddpm.draws(), 7);
        assert!(ddpm.adds_noise(5) && !ddpm.adds_noise(6));
        let ddim = Schedule::new(&config(Scheduler::Ddim, Prediction::Sample, 10)).unwrap();
        assert_eq!((ddim.len(), ddim.draws()), (10, 1));
    }

    #[test]
    fn a_schedule_without_noise_is_refused() {
        let mut config = config(Scheduler::Ddpm, Prediction::Epsilon, 100);
        config.beta_schedule = BetaSchedule::Linear;
        config.beta_start = 0.0;
        let problem = Schedule::new(&config).unwrap_err();
        assert!(
            problem.contains("time step 0") && problem.contains("beta_start"),
            "{problem}"
        );
    }
}

//! `sinew policy compare`: how far apart the actions of two policies, engines or precisions are on
//! recorded observations.

use super::args::Compare;
use super::recorded::Recorded;
use crate::args::Computing;
use crate::commands::dataset::progress::Progress;
use crate::commands::dataset::text::cut;
use crate::failure::usage;
use anyhow::Result;
use serde::Serialize;
use sinew_hardware::Norm;
use sinew_policies::{LoadOptions, Policy};
use sinew_runtime::JointTarget;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, Serialize)]
struct Report {
    a: Side,
    b: Side,
    dataset: PathBuf,
    #[serde(flatten)]
    measured: Measured,
}

/// How far apart two policies were.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    frames: usize,
    /// Steps that were compared, of all frames.
    steps: usize,
    joints: Vec<Difference>,
    /// Of all joints, % of their range.
    pub(super) mean_percent: f64,
    pub(super) max_percent: f64,
    /// Middle of the times that each took for a chunk, ms.
    pub(super) a_ms: f64,
    pub(super) b_ms: f64,
}

#[derive(Debug, Serialize)]
struct Side {
    policy: String,
    engine: &'static str,
    provider: String,
    precision: String,
}

/// How far apart the two are in one joint.
#[derive(Debug, Serialize)]
struct Difference {
    joint: String,
    /// LeRobot's unit of the joint: `degrees` or `0..100`.
    unit: &'static str,
    mean: f64,
    max: f64,
    /// % of the joint's range.
    mean_percent: f64,
    max_percent: f64,
}

/// Runs the command.
pub(super) fn compare(args: &Compare) -> Result<()> {
    let recorded = Recorded::open(&args.dataset, &args.robot)?;
    let other = args.b.as_deref().unwrap_or(&args.a);
    let computing_b = Computing {
        engine: args.engine_b.unwrap_or(args.computing.engine),
        precision: args.precision_b.unwrap_or(args.computing.precision),
        provider: args.provider_b.unwrap_or(args.computing.provider),
        threads: args.computing.threads,
    };
    let load = |path: &Path, computing: &Computing| {
        let options = LoadOptions {
            // It would put another network in the place of the one that is compared.
            self_check: false,
            ..computing.options()
        };
        Policy::load(path, options, recorded.features()).map_err(usage)
    };
    let mut a = load(&args.a, &args.computing)?;
    let mut b = load(other, &computing_b)?;
    let indices = recorded.spread(args.frames);
    let measured = measure(&mut a, &mut b, &recorded, &indices)?;
    let side = |policy: &Policy, computing: &Computing| Side {
        policy: policy.info().name.clone(),
        engine: policy.engine_name(),
        provider: computing.provider.to_string(),
        precision: computing.precision.to_string(),
    };
    let report = Report {
        a: side(&a, &args.computing),
        b: side(&b, &computing_b),
        dataset: args.dataset.clone(),
        measured,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

/// Gives both the frames `indices` and compares what they answer.
pub(super) fn measure(
    a: &mut Policy,
    b: &mut Policy,
    recorded: &Recorded,
    indices: &[u64],
) -> Result<Measured> {
    let mut tally = Tally::new(recorded.blueprint.joints.len());
    let mut progress = Progress::new("frames");
    let (mut chunks, mut times) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for (done, index) in indices.iter().enumerate() {
        let seen = recorded.at(*index)?;
        for (side, policy) in [&mut *a, &mut *b].into_iter().enumerate() {
            policy.reset();
            // Policies that need noise get the same.
            policy.seed(*index);
            let start = Instant::now();
            seen.with(|input| policy.infer(input, &mut chunks[side]))?;
            times[side].push(start.elapsed().as_secs_f64() * 1e3);
        }
        tally.add(recorded, &chunks[0], &chunks[1]);
        progress.at(done as u64 + 1, indices.len() as u64);
    }
    let joints = tally.differences(recorded);
    let count = joints.len().max(1) as f64;
    let [a_ms, b_ms] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(0.0)
    });
    Ok(Measured {
        frames: indices.len(),
        steps: tally.steps,
        mean_percent: joints.iter().map(|joint| joint.mean_percent).sum::<f64>() / count,
        max_percent: joints
            .iter()
            .map(|joint| joint.max_percent)
            .fold(0.0, f64::max),
        joints,
        a_ms,
        b_ms,
    })
}

/// Sums and maxima for each joint, in its unit and as a share of its range.
struct Tally {
    steps: usize,
    sums: Vec<[f64; 2]>,
    largest: Vec<[f64; 2]>,
}

impl Tally {
    fn new(joints: usize) -> Self {
        Self {
            steps: 0,
            sums: vec![[0.0; 2]; joints],
            largest: vec![[0.0; 2]; joints],
        }
    }

    /// Compares chunks step by step, as far as both reach.
    fn add(&mut self, recorded: &Recorded, a: &[JointTarget], b: &[JointTarget]) {
        for (a, b) in a.iter().zip(b) {
            self.steps += 1;
            let joints = recorded
                .blueprint
                .joints
                .iter()
                .zip(recorded.units.joints());
            for (i, (joint, units)) in joints.enumerate() {
                let (a, b) = (a.position[i], b.position[i]);
                let unit = match joint.norm {
                    Norm::Range0To100 | Norm::RangeM100To100 => {
                        units.to_lerobot(a) - units.to_lerobot(b)
                    }
                    _ => (a - b).to_degrees(),
                };
                let [low, high] = joint.limits_rad;
                let sizes = [unit.abs(), (a - b).abs() / (high - low)];
                for (kind, size) in sizes.into_iter().enumerate() {
                    self.sums[i][kind] += size;
                    self.largest[i][kind] = self.largest[i][kind].max(size);
                }
            }
        }
    }

    fn differences(&self, recorded: &Recorded) -> Vec<Difference> {
        let steps = self.steps.max(1) as f64;
        let joints = recorded.blueprint.joints.iter().enumerate();
        let difference = |(i, joint): (usize, &sinew_hardware::blueprint::Joint)| Difference {
            joint: joint.name.clone(),
            unit: match joint.norm {
                Norm::Range0To100 => "0..100",
                Norm::RangeM100To100 => "-100..100",
                _ => "degrees",
            },
            mean: self.sums[i][0] / steps,
            max: self.largest[i][0],
            mean_percent: self.sums[i][1] / steps * 100.0,
            max_percent: self.largest[i][1] * 100.0,
        };
        joints.map(difference).collect()
    }
}

fn print(report: &Report) {
    let side = |side: &Side| {
        let name = cut(&side.policy, 30);
        format!(
            "{name} on {} ({}), {}",
            side.engine, side.provider, side.precision
        )
    };
    println!("{} against {}", side(&report.a), side(&report.b));
    table(&report.measured);
}

/// A line for each joint, and one for all.
pub(super) fn table(measured: &Measured) {
    println!(
        "{} frames, {} steps; a chunk took {:.2} ms and {:.2} ms",
        measured.frames, measured.steps, measured.a_ms, measured.b_ms
    );
    println!(
        "{:<24}{:<12}{:>12}{:>12}{:>12}{:>12}",
        "joint", "unit", "mean", "largest", "mean %", "largest %"
    );
    for joint in &measured.joints {
        println!(
            "{:<24}{:<12}{:>12.3e}{:>12.3e}{:>12.5}{:>12.5}",
            cut(&joint.joint, 23),
            joint.unit,
            joint.mean,
            joint.max,
            joint.mean_percent,
            joint.max_percent
        );
    }
    println!(
        "{:<60}{:>12.5}{:>12.5}",
        "all, % of the range", measured.mean_percent, measured.max_percent
    );
}

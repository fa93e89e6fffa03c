//! `sinew policy quantize`: what 8-bit integers need to know of a checkpoint, and what they cost.

use super::Stored;
use super::args::Quantize;
use super::compare::{Measured, measure, table};
use super::recorded::Recorded;
use crate::args::Computing;
use crate::commands::dataset::progress::Progress;
use crate::failure::usage;
use anyhow::Result;
use serde::Serialize;
use sinew_policies::graph::quantize::Recorder;
use sinew_policies::lerobot::{Architecture, Checkpoint};
use sinew_policies::{LoadOptions, Policy, Precision, Provider};
use std::path::PathBuf;
use std::sync::PoisonError;

#[derive(Debug, Serialize)]
struct Report {
    policy: String,
    engine: &'static str,
    /// The file with the ranges; none where the network needs none.
    written: Option<PathBuf>,
    /// Values whose ranges were measured, and on how many observations.
    ranges: usize,
    observations: usize,
    /// Single precision (a) against integers (b), on frames that were not used for the ranges.
    #[serde(flatten)]
    measured: Measured,
    /// How many times faster.
    speedup: f64,
}

/// Runs the command.
pub(super) fn quantize(args: &Quantize) -> Result<()> {
    let checkpoint = match Stored::open(&args.path)? {
        Stored::Checkpoint(checkpoint) => *checkpoint,
        _ => {
            return Err(usage(format!(
                "{} is no LeRobot checkpoint; only those have weights that can be quantised here",
                args.path.display()
            )));
        }
    };
    let recorded = Recorded::open(&args.dataset, &args.robot)?;
    let frames = recorded.spread(args.frames.saturating_mul(2));
    let (for_ranges, held_out): (Vec<_>, Vec<_>) = frames
        .iter()
        .enumerate()
        .partition(|(place, _)| place % 2 == 0);
    let [for_ranges, held_out] = [for_ranges, held_out].map(|half| {
        half.into_iter()
            .map(|(_, index)| *index)
            .collect::<Vec<_>>()
    });
    if held_out.is_empty() {
        return Err(usage(format!(
            "{} has too few frames: some must be left to compare on",
            args.dataset.display()
        )));
    }
    let (written, ranges) = match checkpoint.config.architecture {
        Architecture::Act(_) => {
            let (path, ranges) = calibrate(args, &checkpoint, &recorded, &for_ranges)?;
            (Some(path), ranges)
        }
        // Weights alone become integers: nothing of the observations is needed.
        _ => (None, 0),
    };
    let load = |precision| {
        let options = LoadOptions {
            // It would compute beside what is timed.
            self_check: false,
            ..computing(args, precision).options()
        };
        Policy::load(&args.path, options, recorded.features()).map_err(usage)
    };
    let (mut floats, mut integers) = (load(Precision::Fp32)?, load(Precision::Int8)?);
    let measured = measure(&mut floats, &mut integers, &recorded, &held_out)?;
    let report = Report {
        policy: floats.info().name.clone(),
        engine: integers.engine_name(),
        observations: if written.is_some() {
            for_ranges.len()
        } else {
            0
        },
        written,
        ranges,
        speedup: measured.a_ms / measured.b_ms,
        measured,
    };
    tell(args, &report)
}

fn computing(args: &Quantize, precision: Precision) -> Computing {
    Computing {
        engine: args.engine,
        provider: Provider::Cpu,
        precision,
        threads: args.threads,
    }
}

/// Runs the network in floats, notes the ranges of its values and keeps them beside it.
fn calibrate(
    args: &Quantize,
    checkpoint: &Checkpoint,
    recorded: &Recorded,
    frames: &[u64],
) -> Result<(PathBuf, usize)> {
    let recorder = Recorder::default();
    let how = LoadOptions {
        recorder: Some(recorder.clone()),
        self_check: false,
        ..computing(args, Precision::Fp32).options()
    };
    let mut policy = Policy::load(&args.path, how, recorded.features()).map_err(usage)?;
    let mut progress = Progress::new("frames");
    let mut chunk = Vec::new();
    for (done, index) in frames.iter().enumerate() {
        policy.reset();
        recorded
            .at(*index)?
            .with(|input| policy.infer(input, &mut chunk))?;
        progress.at(done as u64 + 1, frames.len() as u64);
    }
    let mut calibration = recorder.lock().unwrap_or_else(PoisonError::into_inner);
    calibration.observations = frames.len();
    calibration.write(&checkpoint.dir)?;
    let path = checkpoint
        .dir
        .join(sinew_policies::lerobot::CALIBRATION_FILE);
    Ok((
        path,
        calibration.ranges.values().map(|values| values.len()).sum(),
    ))
}

fn tell(args: &Quantize, report: &Report) -> Result<()> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    match &report.written {
        Some(path) => println!(
            "{}: {} ranges of {} observations",
            path.display(),
            report.ranges,
            report.observations
        ),
        None => println!(
            "{} needs no ranges: its weights alone become integers",
            report.policy
        ),
    }
    println!(
        "single precision against int8 on {}, {:.2} times as fast",
        report.engine, report.speedup
    );
    table(&report.measured);
    Ok(())
}

//! Runs a LeRobot checkpoint once for each line on standard input, and prints the milliseconds.
//!
//! `cargo run -p sinew-policies --example checkpoint_steps -- FOLDER ENGINE PRECISION THREADS`
//!
//! The first line printed is `ready`, the milliseconds of loading, and those of the first action. A
//! program that compares engines gives each of them a line in turn, so that all see the same
//! machine. After the last line comes the largest memory that was resident, MB. With `calibrate` as
//! the precision every line is an observation for int8, and its ranges are written to the checkpoint.
//! Pictures are noise, and joints move a little.

use sinew_policies::graph::quantize::Recorder;
use sinew_policies::lerobot::{Checkpoint, Feature};
use sinew_policies::{Channel, Features, LoadOptions, Policy, PolicyInput, Precision};
use sinew_runtime::{Frame, JointNames, JointState};
use std::error::Error;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

/// A robot that has what the checkpoint asks for.
fn robot_for(checkpoint: &Checkpoint) -> Features {
    let config = &checkpoint.config;
    let joints = config.action().map_or(0, Feature::len);
    let names = (0..joints).map(|joint| format!("joint_{joint}"));
    let values = config.environment().map_or(0, Feature::len);
    Features::new(&JointNames::new(names))
        .with_values(
            Channel::Environment,
            (0..values).map(|i| format!("value_{i}")),
        )
        .with_cameras(config.images().map(|image| checkpoint.names.camera(image)))
}

/// Smooth shapes and noise, another picture for each number.
fn picture(image: &Feature, number: usize) -> Frame {
    let (height, width) = (image.shape[1], image.shape[2]);
    let mut noise = number as u32 * 7919 + 1;
    let data = (0..3 * height * width).map(|i| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (x, y) = (i / 3 % width, i / 3 / width);
        let wave = ((x + 13 * number) as f32 * 0.02).sin() * ((y + 7 * number) as f32 * 0.03).cos();
        (110.0 + 80.0 * wave + (noise >> 26) as f32) as u8
    });
    Frame::new(width as u32, height as u32, data.collect())
}

fn resident_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, engine, precision, threads] = arguments.as_slice() else {
        return Err("FOLDER ENGINE PRECISION THREADS".into());
    };
    let folder = Path::new(folder);
    let recorder = (precision == "calibrate").then(Recorder::default);
    let options = LoadOptions {
        precision: match recorder {
            Some(_) => Precision::Fp32,
            None => precision.parse()?,
        },
        threads: threads.parse()?,
        self_check: std::env::var_os("SELF_CHECK").is_some(),
        recorder: recorder.clone(),
        ..LoadOptions::from(engine.parse::<sinew_policies::EngineChoice>()?)
    };
    let checkpoint = Checkpoint::open(folder)?;
    let features = robot_for(&checkpoint);
    let images: Vec<Feature> = checkpoint.config.images().cloned().collect();
    let joints = features.joints().len();
    let values = vec![0.1; features.values(Channel::Environment).len()];
    let mut policy = Policy::load(&checkpoint.dir, options, features)?;
    let loaded = begun.elapsed().as_secs_f64() * 1e3;
    let mut chunk = Vec::new();
    let mut number = 0;
    let mut step = |policy: &mut Policy| -> Result<f64, Box<dyn Error>> {
        number += 1;
        let frames: Vec<Frame> = images.iter().map(|image| picture(image, number)).collect();
        let frames: Vec<&Frame> = frames.iter().collect();
        let mut state = JointState {
            seq: number as u64,
            len: joints,
            ..JointState::default()
        };
        for (joint, position) in state.position[..joints].iter_mut().enumerate() {
            *position = 0.3 * ((number + 3 * joint) as f64 * 0.1).sin();
        }
        let input = PolicyInput {
            environment: &values,
            images: &frames,
            ..PolicyInput::new(&state)
        };
        let begun = Instant::now();
        policy.infer(&input, &mut chunk)?;
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    };
    step(&mut policy)?;
    println!(
        "ready {loaded:.1} {:.1}",
        begun.elapsed().as_secs_f64() * 1e3
    );
    for line in std::io::stdin().lock().lines() {
        line?;
        println!("{:.3}", step(&mut policy)?);
    }
    if let Some(recorder) = recorder {
        let mut calibration = recorder.lock().map_err(|e| e.to_string())?;
        calibration.observations = number;
        calibration.write(&checkpoint.dir)?;
    }
    println!("resident {:.1}", resident_mb().unwrap_or_default());
    Ok(())
}

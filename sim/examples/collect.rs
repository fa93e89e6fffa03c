//! Records demonstrations of the scripted operator in `so101-pick`, for distilling a policy.
//!
//! Runs in lockstep, as fast as it can. What the arm is told is disturbed by noise, what is
//! recorded is what the operator wanted, see [`Disturbance`]. Only solved episodes are kept.
//!
//! A row holds the measured joints, the environment, the operator's target, and 1 where the
//! operator waits for the arm to be still: how long it has waited cannot be seen, so a network
//! that imitates the waiting would wait forever.
//!
//! `cargo run -p sinew-sim --example collect -- --out DIR --seeds 1000..1400 --noise 0.05`
//! writes `DIR/demonstrations.f32` (rows of little-endian f32) and `DIR/demonstrations.json`
//! (their columns and the episodes).

use sinew_sim::pick::{DOF, Disturbance, ENVIRONMENT, JOINTS, Phase, PickTask, ScriptedPick};
use std::error::Error;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;

const RATE_HZ: f64 = 30.0;
const LONGEST_S: f64 = 25.0;
/// Ticks recorded after the operator is done, so that the policy learns to stay at home.
const TAIL_TICKS: usize = 12;

struct Options {
    out: PathBuf,
    seeds: Range<u64>,
    noise: f64,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        out: PathBuf::from("target/distil"),
        seeds: 1000..1400,
        noise: 0.05,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(key) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{key} needs a value"))?;
        match key.as_str() {
            "--out" => options.out = PathBuf::from(value),
            "--noise" => options.noise = value.parse()?,
            "--seeds" => {
                let (from, to) = value.split_once("..").ok_or("--seeds needs FROM..TO")?;
                options.seeds = from.parse()?..to.parse()?;
            }
            other => {
                return Err(format!("unknown option {other}; use --out, --seeds, --noise").into());
            }
        }
    }
    Ok(options)
}

/// One episode's rows; `None` when it was not solved.
fn episode(task: &mut PickTask, seed: u64, noise: f64) -> Result<Option<Vec<f32>>, Box<dyn Error>> {
    task.reset(seed)?;
    let mut operator = ScriptedPick::new(task)?;
    let mut noise = Disturbance::new(seed, noise, RATE_HZ);
    let mut rows = Vec::new();
    let mut tail = 0;
    while tail < TAIL_TICKS && task.world().time() < LONGEST_S {
        let (measured, state) = (task.positions(), task.state());
        let Ok(wanted) = operator.tick(task.world().time(), &measured, &state) else {
            return Ok(None);
        };
        let waiting = [match operator.phase() {
            Phase::Settle | Phase::Squeeze | Phase::Rest => 1.0,
            _ => 0.0,
        }];
        let environment = state.environment();
        let row = measured
            .iter()
            .chain(&environment)
            .chain(&wanted)
            .chain(&waiting);
        rows.extend(row.map(|&value| value as f32));
        let disturbance = noise.next(operator.phase());
        let target = std::array::from_fn(|i| wanted[i] + disturbance[i]);
        task.advance(&target, 1.0 / RATE_HZ)?;
        tail += usize::from(operator.is_done());
    }
    Ok(task.state().success.then_some(rows))
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(2);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    std::fs::create_dir_all(&options.out)?;
    let mut data = std::io::BufWriter::new(std::fs::File::create(
        options.out.join("demonstrations.f32"),
    )?);
    let width = 2 * DOF + ENVIRONMENT.len() + 1;
    let (mut episodes, mut rows_before, mut lost) = (Vec::new(), 0, 0);
    let mut task = PickTask::new(options.seeds.start)?;
    for seed in options.seeds.clone() {
        let Some(rows) = episode(&mut task, seed, options.noise)? else {
            lost += 1;
            continue;
        };
        for value in &rows {
            data.write_all(&value.to_le_bytes())?;
        }
        let count = rows.len() / width;
        episodes.push(serde_json::json!({ "seed": seed, "start": rows_before, "rows": count }));
        rows_before += count;
        if episodes.len() % 50 == 0 {
            println!(
                "{} episodes, {rows_before} rows, {lost} not solved",
                episodes.len()
            );
        }
    }
    data.flush()?;
    let index = serde_json::json!({
        "rate_hz": RATE_HZ,
        "joints": JOINTS,
        "environment": ENVIRONMENT,
        "columns": width,
        "noise_rad": options.noise,
        "episodes": episodes,
    });
    std::fs::write(
        options.out.join("demonstrations.json"),
        serde_json::to_string_pretty(&index)?,
    )?;
    println!(
        "{} episodes, {rows_before} rows, {lost} not solved; in {}",
        episodes.len(),
        options.out.display()
    );
    Ok(())
}

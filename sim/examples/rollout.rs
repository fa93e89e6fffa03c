//! Lets an ONNX policy solve `so101-pick` in lockstep, and says how often it does.
//!
//! `cargo run -p sinew-sim --example rollout -- --policy policies/demo/so101-pick --seeds 0..50 --engine auto`
//!
//! `--delay N` withholds each chunk for N ticks, as an inference thread would. `--start rest` begins
//! with the arm where it lies without power.

use sinew_policies::{Channel, EngineChoice, Features, Policy, PolicyInput};
use sinew_runtime::{JointNames, JointState, JointTarget};
use sinew_sim::pick::{DOF, ENVIRONMENT, JOINTS, PickTask};
use std::collections::VecDeque;
use std::error::Error;
use std::ops::Range;
use std::path::PathBuf;

/// An undisturbed demonstration takes about 9 s; a policy may look twice.
const LONGEST_S: f64 = 25.0;
/// One step of an STS3215's encoder, rad: measurements and targets are rounded to it.
const SERVO_STEP: f64 = std::f64::consts::TAU / 4096.0;

struct Options {
    policy: PathBuf,
    seeds: Range<u64>,
    engine: EngineChoice,
    delay: usize,
    at_rest: bool,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        policy: PathBuf::from("policies/demo/so101-pick"),
        seeds: 0..50,
        engine: EngineChoice::Auto,
        delay: 0,
        at_rest: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(key) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{key} needs a value"))?;
        match key.as_str() {
            "--policy" => options.policy = PathBuf::from(value),
            "--engine" => options.engine = value.parse()?,
            "--delay" => options.delay = value.parse()?,
            "--start" if value == "rest" => options.at_rest = true,
            "--start" if value == "home" => options.at_rest = false,
            "--seeds" => {
                let (from, to) = value.split_once("..").ok_or("--seeds needs FROM..TO")?;
                options.seeds = from.parse()?..to.parse()?;
            }
            other => {
                return Err(format!(
                    "unknown option {other}; use --policy, --seeds, --engine, --delay, --start home|rest"
                )
                .into());
            }
        }
    }
    Ok(options)
}

/// How an episode ended.
struct Outcome {
    seconds: f64,
    success: bool,
    lifted: bool,
    distance: f64,
}

fn rounded(rad: f64) -> f64 {
    (rad / SERVO_STEP).round() * SERVO_STEP
}

/// Whether the arm is back where it started.
fn at_home(positions: &[f64; DOF], home: &[f64; DOF]) -> bool {
    positions
        .iter()
        .zip(home)
        .take(DOF - 1)
        .all(|(is, home)| (is - home).abs() < 0.2)
}

fn episode(
    task: &mut PickTask,
    policy: &mut Policy,
    seed: u64,
    options: &Options,
) -> Result<Outcome, Box<dyn Error>> {
    let (delay, scene) = (options.delay, *task.scene());
    let start = if options.at_rest {
        scene.rest
    } else {
        scene.home
    };
    task.reset(seed)?;
    task.pose_arm(&start)?;
    policy.reset();
    let steps = policy.manifest().n_action_steps;
    let dt = policy.period_ns() as f64 * 1e-9;
    let mut chunk: Vec<JointTarget> = Vec::new();
    let mut queue: VecDeque<[f64; DOF]> = VecDeque::from(vec![start; delay.min(1)]);
    let mut last = start;
    let mut lifted = false;
    let mut tick = 0usize;
    loop {
        let (positions, state) = (task.positions(), task.state());
        lifted |= state.cube_position[2] > 0.035;
        let seconds = task.world().time();
        let done = state.success && at_home(&positions, &scene.home);
        if done || seconds >= LONGEST_S {
            let distance = state.distance_to_zone();
            return Ok(Outcome {
                seconds,
                success: state.success,
                lifted,
                distance,
            });
        }
        if tick.is_multiple_of(steps) {
            let mut joints = JointState {
                seq: tick as u64 + 1,
                len: DOF,
                ..JointState::default()
            };
            for (slot, rad) in joints.position.iter_mut().zip(positions) {
                *slot = rounded(rad);
            }
            let environment = state.environment();
            let input = PolicyInput {
                environment: &environment,
                ..PolicyInput::new(&joints)
            };
            policy.infer(&input, &mut chunk)?;
            // A chunk that arrives `delay` ticks late replaces what is left of the one before.
            queue.truncate(delay);
            let rows = chunk.iter().skip(queue.len()).take(steps + delay);
            queue.extend(rows.map(|row| std::array::from_fn(|i| row.position[i])));
        }
        last = queue.pop_front().unwrap_or(last);
        task.advance(&last.map(rounded), dt)?;
        tick += 1;
    }
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(2);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let features =
        Features::new(&JointNames::new(JOINTS)).with_values(Channel::Environment, ENVIRONMENT);
    let mut policy = Policy::load(&options.policy, options.engine, features)?;
    println!(
        "policy {} on engine {}",
        policy.manifest().name,
        policy.engine_name()
    );
    let mut task = PickTask::new(options.seeds.start)?;
    let (mut solved, mut lifted, mut seconds) = (0, 0, 0.0);
    let count = options.seeds.clone().count();
    for seed in options.seeds.clone() {
        let outcome = episode(&mut task, &mut policy, seed, &options)?;
        solved += usize::from(outcome.success);
        lifted += usize::from(outcome.lifted);
        seconds += outcome.seconds;
        let verdict = if outcome.success { "solved" } else { "failed" };
        let Outcome {
            seconds,
            distance,
            lifted,
            ..
        } = outcome;
        println!(
            "seed {seed}: {verdict} after {seconds:.1} s, lifted {lifted}, {:.0} mm from the zone",
            distance * 1e3
        );
    }
    println!(
        "{solved} of {count} solved, {lifted} lifted, mean {:.1} s",
        seconds / count as f64
    );
    Ok(())
}

//! Action strategies beside lerobot's own classes, step by step: `tests/peers/lerobot_actions.py` plays
//! random chunks through `ACTPolicy.select_action` and the robot client of its asynchronous inference.

use serde_json::Value;
use sinew_runtime::actions::{ActionQueue, ChunkBuf, InlineInference, Strategy};
use sinew_runtime::control::{ActionOutcome, ActionSource, Observation};
use sinew_runtime::{JointTarget, MAX_JOINTS};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const JOINTS: usize = 6;
/// lerobot computes with 32 bits: a part of the largest action that the script makes, about 200.
const TOLERANCE: f64 = 200.0 * 1e-6;
const PERIOD: Duration = Duration::from_millis(33);

fn lerobot_says() -> Value {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/sinew-peers");
    let peers = std::env::var_os("SINEW_PEERS").map_or_else(home, PathBuf::from);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/lerobot_actions.py");
    // lerobot's logger makes a folder where it is started.
    let scratch = std::env::temp_dir();
    let output = Command::new(peers.join("lerobot/bin/python"))
        .arg(script.canonicalize().unwrap())
        .current_dir(scratch)
        .output()
        .expect("lerobot's Python starts: `scripts/setup interop` brings it");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problem}");
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn numbers(row: &Value) -> Vec<f64> {
    let row = row.as_array().unwrap();
    row.iter().map(|x| x.as_f64().unwrap()).collect()
}

fn rows(chunk: &Value) -> Vec<Vec<f64>> {
    chunk["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(numbers)
        .collect()
}

fn fill(chunk: &mut ChunkBuf, rows: &[Vec<f64>]) {
    rows.iter().for_each(|row| assert!(chunk.push(row)));
}

/// Largest difference from what lerobot gave.
fn difference(ours: &[f64], theirs: &Value) -> f64 {
    let theirs = numbers(theirs);
    assert_eq!(ours.len(), theirs.len());
    ours.iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

/// `ACTPolicy.select_action`: the policy is asked at the same steps and the actions are the same.
fn compare_selection(case: &Value) -> f64 {
    let size = |key: &str| case[key].as_u64().unwrap() as usize;
    let strategy = match case["coeff"].as_f64() {
        Some(coeff) => Strategy::Ensemble { coeff },
        None => Strategy::Sync {
            n_action_steps: size("n_action_steps"),
        },
    };
    let chunks = case["chunks"].as_array().unwrap().clone();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    let infer = move |seen: &[Observation], chunk: &mut ChunkBuf| {
        let mut asked = noted.lock().unwrap();
        fill(chunk, &rows(&chunks[asked.len()]));
        asked.push(seen[0].step);
        Ok(())
    };
    let config = strategy.queue(JOINTS, size("chunk"), PERIOD);
    let mut source = InlineInference::new(Box::new(infer), config);
    let mut worst = 0.0_f64;
    for (step, action) in (0u64..).zip(case["actions"].as_array().unwrap()) {
        let observation = Observation {
            step,
            ..Observation::default()
        };
        let mut target = JointTarget::default();
        let outcome = source.act(&observation, &mut target);
        assert_eq!(outcome, ActionOutcome::Act, "{strategy} at step {step}");
        worst = worst.max(difference(target.positions(), action));
        assert!(worst < TOLERANCE, "{strategy} at step {step}: {worst}");
    }
    let theirs = case["chunks"].as_array().unwrap().iter();
    let theirs: Vec<u64> = theirs.map(|c| c["step"].as_u64().unwrap()).collect();
    assert_eq!(*asked.lock().unwrap(), theirs, "{strategy}");
    worst
}

/// The robot client: it asks at the same ticks and executes the same steps with the same actions. Its
/// timeline stands still while its queue is empty, so this one is moved on with it.
fn compare_client(case: &Value) -> (f64, [usize; 3]) {
    let strategy = Strategy::Async {
        refill: case["threshold"].as_f64().unwrap(),
        blend: case["blend"].as_str().unwrap().parse().unwrap(),
    };
    let chunk = case["chunk"].as_u64().unwrap() as usize;
    let mut queue = ActionQueue::new(strategy.queue(JOINTS, chunk, PERIOD));
    let (mut next, mut worst, mut empty) = (0, 0.0_f64, 0);
    for (number, tick) in case["ticks"].as_array().unwrap().iter().enumerate() {
        let at = format!("{strategy}, seed {}, tick {number}", case["seed"]);
        if let Some(start) = tick["delivered"]["start"].as_u64() {
            let mut buffer = ChunkBuf::new(chunk, JOINTS);
            buffer.restart(start);
            fill(&mut buffer, &rows(&tick["delivered"]));
            queue.push(&buffer, next);
        }
        assert_eq!(queue.wants_refill(next), tick["asked"], "{at}");
        let executed = &tick["executed"];
        assert_eq!(queue.remaining(next) > 0, !executed.is_null(), "{at}");
        if executed.is_null() {
            empty += 1;
            continue;
        }
        assert_eq!(executed["step"], next, "{at}");
        let action = queue.pop(next).expect("there is one");
        worst = worst.max(difference(action, &executed["action"]));
        assert!(worst < TOLERANCE, "{at}: {worst}");
        next += 1;
    }
    let counters = queue.counters();
    let seen = [counters.merged, counters.expired].map(|n| n as usize);
    (worst, [seen[0], seen[1], empty])
}

#[test]
fn every_step_is_lerobots() {
    let said = lerobot_says();
    let selected = said["select"].as_array().unwrap();
    let driven = said["client"].as_array().unwrap();
    assert_eq!((selected.len(), driven.len()), (27, 48));
    let largest = selected
        .iter()
        .flat_map(|case| case["actions"].as_array().unwrap())
        .flat_map(numbers)
        .fold(0.0_f64, |most, x| most.max(x.abs()));
    assert!(largest > 100.0 && JOINTS <= MAX_JOINTS);
    let worst = selected.iter().map(compare_selection).fold(0.0, f64::max);
    println!("select_action: at most {worst:e} apart, actions up to {largest}");
    let mut totals = [0; 3];
    let mut worst = 0.0_f64;
    for case in driven {
        let (apart, seen) = compare_client(case);
        worst = worst.max(apart);
        totals.iter_mut().zip(seen).for_each(|(t, n)| *t += n);
    }
    println!("client: at most {worst:e} apart; merged, late, empty ticks: {totals:?}");
    assert!(
        totals.iter().all(|&n| n > 100),
        "blending, lateness and starvation all happened: {totals:?}"
    );
}

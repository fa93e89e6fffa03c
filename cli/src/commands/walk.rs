//! `sinew sim go2-walk` and `g1-walk`: a walking robot in lockstep, driven by its trained policy.

use crate::args::Sim;
use crate::failure::usage;
use crate::native;
use anyhow::{Result, anyhow};
use sinew_policies::{Channel, Features, Manifest, ModelBytes, Policy, PolicyError, PolicyInput};
use sinew_runtime::JointTarget;
use sinew_runtime::histogram::LatencyHistogram;
use sinew_sim::legged::{COMMAND, IMU, LeggedWalk, Seen};
use sinew_sim::{SimError, g1, go2};
use std::path::Path;
use std::time::Instant;

const GO2: &str = include_str!("../../../policies/go2/policy.toml");
const G1_PPO: &str = include_str!("../../../policies/g1/ppo/policy.toml");
const G1_FASTSAC: &str = include_str!("../../../policies/g1/fastsac/policy.toml");

/// Walks, and says how far.
pub(crate) fn walk(args: &Sim) -> Result<()> {
    let seconds = args.seconds.unwrap_or(10.0);
    if !(0.02..=3600.0).contains(&seconds) {
        return Err(usage(format!("--seconds {seconds}: choose 0.02 to 3600")));
    }
    if !(-2.0..=2.0).contains(&args.speed) {
        return Err(usage(format!("--speed {}: choose -2 to 2 m/s", args.speed)));
    }
    let (mut walk, mut policy) = robot(args)?;
    walk.set_command([args.speed, 0.0, 0.0]);
    let mut latency = LatencyHistogram::new();
    let start = Instant::now();
    let mut chunk = Vec::new();
    walk.run(seconds, |seen| {
        decide(&mut policy, seen, &mut chunk, &mut latency)
    })
    .map_err(|stumble| anyhow!("{stumble}"))?;
    report(
        args,
        seconds,
        &walk,
        &policy,
        &latency,
        start.elapsed().as_secs_f64(),
    );
    if walk.upright() {
        Ok(())
    } else {
        Err(anyhow!("the robot fell"))
    }
}

/// The robot of the world that was asked for, and the policy bound to it.
fn robot(args: &Sim) -> Result<(LeggedWalk, Policy)> {
    let models = native::models()?;
    let (name, text, model) = match (args.world.as_str(), args.policy.as_str()) {
        ("go2-walk", _) => ("go2", GO2, "policy/policy.onnx"),
        (_, "ppo") => ("g1", G1_PPO, "policy/ppo_g1_29dof.onnx"),
        (_, "fastsac") => ("g1", G1_FASTSAC, "policy/fastsac_g1_29dof.onnx"),
        (_, other) => return Err(usage(format!("--policy {other}: choose ppo or fastsac"))),
    };
    let folder = models.join(name);
    let model = ModelBytes::read(&folder.join(model)).map_err(usage)?;
    let manifest = Manifest::parse(Path::new("policy.toml"), text)
        .and_then(|manifest| manifest.completed_by(&model.card()?))
        .map_err(usage)?;
    let walk = match (name, &manifest.gains) {
        ("go2", _) => go2::walk(&folder, args.seed),
        (_, gains) => {
            let of = |joint: &str| gains.as_ref()?.of(joint);
            g1::walk(&folder, of, args.seed)
        }
    };
    let walk = walk.map_err(usage)?;
    let features = Features::new(walk.joint_names())
        .of_robot(name)
        .with_values(Channel::Imu, IMU)
        .with_values(Channel::Command, COMMAND);
    let engine = args.engine.open(model, 1).map_err(usage)?;
    let policy = Policy::with_engine(manifest, engine, features).map_err(usage)?;
    Ok((walk, policy))
}

fn decide(
    policy: &mut Policy,
    seen: &Seen,
    chunk: &mut Vec<JointTarget>,
    latency: &mut LatencyHistogram,
) -> Result<JointTarget, Stumble> {
    let input = PolicyInput {
        imu: &seen.imu,
        command: &seen.command,
        ..PolicyInput::new(&seen.joints)
    };
    let asked = Instant::now();
    policy.infer(&input, chunk)?;
    latency.record(asked.elapsed().as_nanos() as u64);
    chunk.first().copied().ok_or(Stumble::Nothing)
}

fn report(
    args: &Sim,
    seconds: f64,
    walk: &LeggedWalk,
    policy: &Policy,
    latency: &LatencyHistogram,
    took: f64,
) {
    let [x, y, z] = walk.base_position();
    let distance = x.hypot(y);
    let (inference, engine) = (latency.summary(), policy.engine_name());
    if args.json {
        println!(
            "{}",
            serde_json::json!({
                "world": args.world, "policy": policy.info().name, "engine": engine,
                "seconds": seconds, "command_m_s": args.speed,
                "distance_m": distance, "position_m": [x, y, z], "upright": walk.upright(), "wall_s": took,
                "inference": inference,
            })
        );
        return;
    }
    println!(
        "{} after {seconds} s at {} m/s: {distance:.2} m away, trunk at {z:.2} m",
        if walk.upright() { "upright" } else { "FALLEN" },
        args.speed
    );
    println!(
        "lockstep ran in {took:.1} s ({:.0}x real time); {engine} inference p50 {:.0} µs, p99 {:.0} µs",
        seconds / took,
        inference.p50_us,
        inference.p99_us
    );
}

#[derive(Debug, thiserror::Error)]
enum Stumble {
    #[error(transparent)]
    Sim(#[from] SimError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("the policy gave no target")]
    Nothing,
}

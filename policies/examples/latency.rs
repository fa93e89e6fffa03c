//! Times a policy on every engine: observation in, chunk out.
//!
//! `cargo run -p sinew-policies --example latency -- policies/demo/so101-pick`
//!
//! The observation is zero everywhere and the robot has just the names that the policy asks for,
//! so it runs without a robot. Policies with images are not timed.

use sinew_policies::manifest::Source;
use sinew_policies::{Channel, EngineChoice, Features, Manifest, Policy, PolicyInput};
use sinew_runtime::{JointNames, JointState};
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

const ROUNDS: usize = 20_000;

/// A robot that has what the manifest names.
fn robot_for(manifest: &Manifest) -> Features {
    let joints = manifest
        .outputs
        .iter()
        .flat_map(|output| output.joints.iter().cloned());
    let mut features = Features::new(&JointNames::new(joints));
    for channel in Channel::ALL {
        let names = manifest
            .inputs
            .iter()
            .filter_map(|input| match &input.source {
                Source::Values(of, names) if *of == channel => Some(names.clone()),
                _ => None,
            });
        features = features.with_values(channel, names.flatten());
    }
    features
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args()
        .nth(1)
        .map_or_else(|| PathBuf::from("policies/demo/so101-pick"), PathBuf::from);
    let features = robot_for(&Manifest::read(&folder)?);
    for engine in [EngineChoice::Rten, EngineChoice::Ort] {
        let begun = Instant::now();
        let mut policy = Policy::load(&folder, engine, features.clone())?;
        let load_ms = begun.elapsed().as_secs_f64() * 1e3;
        let zeros = [0.0; 256];
        let values = |channel| &zeros[..features.values(channel).len().min(zeros.len())];
        let joints = JointState {
            len: features.joints().len(),
            ..JointState::default()
        };
        let input = PolicyInput {
            environment: values(Channel::Environment),
            command: values(Channel::Command),
            imu: values(Channel::Imu),
            ..PolicyInput::new(&joints)
        };
        let mut chunk = Vec::new();
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            policy.infer(&input, &mut chunk)?;
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((ROUNDS - 1) as f64 * share) as usize];
        println!(
            "{engine}: loaded in {load_ms:.1} ms; p50 {:.1} µs, p99 {:.1} µs, max {:.1} µs over {ROUNDS} inferences",
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    Ok(())
}

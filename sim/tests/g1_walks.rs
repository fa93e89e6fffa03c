//! The Unitree G1 model of mjlab and both trained walking policies of holosoma: do they still walk?

mod support;

use sinew_policies::{ModelBytes, Policy};
use sinew_runtime::JointTarget;
use sinew_sim::legged::LeggedWalk;
use sinew_sim::{SimError, g1};
use std::path::PathBuf;
use support::{distance, fetched, keep_picture, policy, steps};

fn model_dir() -> PathBuf {
    fetched("models/g1/g1.xml").with_file_name("")
}

/// The robot with the springs that the policy was trained with, and the policy.
fn robot(kind: &str, engine: &str, seed: u64) -> (LeggedWalk, Policy) {
    let text = std::fs::read_to_string(format!(
        "{}/../policies/g1/{kind}/policy.toml",
        env!("CARGO_MANIFEST_DIR")
    ));
    let manifest = sinew_policies::Manifest::parse("policy.toml".as_ref(), &text.unwrap()).unwrap();
    let model =
        ModelBytes::read(&fetched(&format!("models/g1/policy/{kind}_g1_29dof.onnx"))).unwrap();
    let manifest = manifest.completed_by(&model.card().unwrap()).unwrap();
    let gains = manifest.gains.unwrap();
    let walk = g1::walk(&model_dir(), |joint| gains.of(joint), seed).unwrap();
    let policy = policy(&format!("g1/{kind}"), engine, "g1", walk.joint_names());
    (walk, policy)
}

fn walk(kind: &str, engine: &str, command: [f64; 3], seconds: f64) -> LeggedWalk {
    let (mut walk, mut policy) = robot(kind, engine, 1);
    walk.set_command(command);
    walk.run(seconds, steps(&mut policy)).unwrap();
    let position = walk.base_position();
    println!(
        "{kind} on {engine}: {:.2} m to ({:.2}, {:.2}, {:.3}), yaw {:.3} rad, velocity {:.2?}",
        distance(&walk),
        position[0],
        position[1],
        position[2],
        walk.yaw(),
        walk.velocity()
    );
    walk
}

/// Ten seconds at 0.6 m/s, upright, straight ahead; the first two metres or so are lost to starting.
fn walks(kind: &str, engine: &str) {
    let walk = walk(kind, engine, [0.6, 0.0, 0.0], 10.0);
    let [x, y, z] = walk.base_position();
    assert!(walk.upright() && z > 0.7, "fell: {z}");
    assert!(x > 4.0 && y.abs() < 1.0, "it walks ahead: ({x}, {y})");
    let pixels = keep_picture(&walk, &format!("g1_{kind}_{engine}_after_10_s"));
    assert!(pixels.iter().any(|&p| p > 50), "the picture is not black");
}

#[test]
fn the_ppo_policy_walks() {
    walks("ppo", "rten");
}

#[test]
fn the_fastsac_policy_walks() {
    walks("fastsac", "rten");
}

#[test]
fn sixteen_bit_weights_walk() {
    walks("ppo", "fp16");
    walks("fastsac", "fp16");
}

#[test]
fn it_stands_without_a_command() {
    let walk = walk("fastsac", "rten", [0.0; 3], 4.0);
    assert!(walk.upright() && distance(&walk) < 0.3);
}

#[test]
fn all_engines_decide_alike_along_a_walk() {
    for kind in ["ppo", "fastsac"] {
        let (mut walk, mut by_rten) = robot(kind, "rten", 0);
        let mut others = ["ort", "auto"].map(|engine| robot(kind, engine, 0).1);
        walk.set_command([0.6, 0.0, 0.0]);
        let mut largest = 0.0f64;
        walk.run(4.0, |seen| {
            let target = steps(&mut by_rten)(seen)?;
            for other in &mut others {
                let there = steps(other)(seen)?;
                for (a, b) in target.positions().iter().zip(there.positions()) {
                    largest = largest.max((a - b).abs());
                }
            }
            Ok::<_, SimError>(target)
        })
        .unwrap();
        println!("{kind}: at most {largest:e} rad apart");
        assert_eq!(others.map(|policy| policy.engine_name()), ["ort", "direct"]);
        assert!(walk.upright() && largest < 1e-5, "{largest:e}");
    }
}

#[test]
fn without_a_policy_it_falls() {
    let (mut walk, _) = robot("ppo", "rten", 3);
    let limp = JointTarget::from_positions(&[0.0; 29]).unwrap();
    walk.run(3.0, |_| Ok::<_, SimError>(limp)).unwrap();
    assert!(!walk.upright(), "{:?}", walk.base_position());
}

#[test]
fn a_joint_without_gains_is_named() {
    let error = g1::walk(
        &model_dir(),
        |joint| (joint != "left_knee_joint").then_some([50.0, 2.0]),
        0,
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("left_knee_joint") && error.contains("gains"),
        "{error}"
    );
}

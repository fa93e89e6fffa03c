//! The blueprint's chain is the model's: the same tool pose as MuJoCo, in every pose.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sinew_hardware::kinematics::{Chain, Goal};
use sinew_hardware::{Blueprint, HardwareError};
use sinew_sim::World;
use sinew_sim::pick::{JOINTS, Scene};

const SITE: &str = "gripperframe";
const POSES: usize = 1000;

fn chain() -> Chain {
    Chain::new(&Blueprint::load("so101").unwrap(), SITE).unwrap()
}

/// A pose within the chain's limits.
fn random_pose(chain: &Chain, rng: &mut SmallRng) -> Vec<f64> {
    chain
        .limits()
        .map(|(low, high)| rng.random_range(low..=high))
        .collect()
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// The tool's origin and rotation matrix, row by row, as MuJoCo has them.
fn in_mujoco(world: &mut World, joints: &[f64]) -> ([f64; 3], [[f64; 3]; 3]) {
    let model = world.model().clone();
    for (name, angle) in JOINTS.into_iter().zip(joints) {
        world.set_position(model.joint(name).unwrap(), *angle);
    }
    world.forward().unwrap();
    let pose = world.site_pose(model.site(SITE).unwrap());
    let [w, x, y, z] = pose.quaternion;
    let rotation = [
        [
            1.0 - 2.0 * (y * y + z * z),
            2.0 * (x * y - w * z),
            2.0 * (x * z + w * y),
        ],
        [
            2.0 * (x * y + w * z),
            1.0 - 2.0 * (x * x + z * z),
            2.0 * (y * z - w * x),
        ],
        [
            2.0 * (x * z - w * y),
            2.0 * (y * z + w * x),
            1.0 - 2.0 * (x * x + y * y),
        ],
    ];
    (pose.position, rotation)
}

#[test]
fn forward_kinematics_are_mujocos() {
    let (chain, mut rng) = (chain(), SmallRng::seed_from_u64(1));
    let mut world = World::new(Scene::load().unwrap().0).unwrap();
    let (mut farthest, mut most_turned) = (0.0_f64, 0.0_f64);
    for _ in 0..POSES {
        let joints = random_pose(&chain, &mut rng);
        let ours = chain.forward(&joints);
        let (position, rotation) = in_mujoco(&mut world, &joints);
        farthest = farthest.max(distance(ours.position, position));
        for (a, b) in ours
            .rotation
            .iter()
            .flatten()
            .zip(rotation.iter().flatten())
        {
            most_turned = most_turned.max((a - b).abs());
        }
    }
    println!("{POSES} poses: at most {farthest:e} m and {most_turned:e} (rotation matrix) apart");
    assert!(farthest < 1e-6, "{farthest:e} m apart");
    assert!(most_turned < 1e-5, "{most_turned:e} apart");
}

#[test]
fn inverse_kinematics_come_back_to_where_mujoco_was() {
    let (chain, mut rng) = (chain(), SmallRng::seed_from_u64(2));
    let mut world = World::new(Scene::load().unwrap().0).unwrap();
    let seed = vec![0.0; chain.indices().len()];
    let (mut farthest, mut failed) = (0.0_f64, 0);
    for _ in 0..200 {
        let (position, _) = in_mujoco(&mut world, &random_pose(&chain, &mut rng));
        let Ok(solution) = chain.inverse(
            &Goal {
                position,
                ..Goal::default()
            },
            &seed,
        ) else {
            failed += 1;
            continue;
        };
        for (angle, (low, high)) in solution.joints.iter().zip(chain.limits()) {
            assert!(
                (low..=high).contains(angle),
                "{angle} outside {low}..{high}"
            );
        }
        let (reached, _) = in_mujoco(&mut world, &solution.joints);
        farthest = farthest.max(distance(reached, position));
    }
    println!("200 goals: {failed} not found, the others at most {farthest:e} m off in MuJoCo");
    assert_eq!(failed, 0, "every goal is a pose of this arm");
    assert!(farthest < 1e-4, "{farthest:e} m off");
}

#[test]
fn what_is_too_far_is_unreachable() {
    let (chain, mut rng) = (chain(), SmallRng::seed_from_u64(3));
    let seed = vec![0.0; chain.indices().len()];
    // No pose brings the tool farther from the base than this; found by looking, with some to spare.
    let reach = (0..20_000).map(|_| {
        distance(
            chain.forward(&random_pose(&chain, &mut rng)).position,
            [0.0; 3],
        )
    });
    let reach = reach.fold(0.0, f64::max) + 0.05;
    for _ in 0..20 {
        let direction: [f64; 3] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
        let length = distance(direction, [0.0; 3]).max(1e-3);
        let beyond = rng.random_range(0.02..1.0);
        let position = direction.map(|d| d / length * (reach + beyond));
        match chain.inverse(
            &Goal {
                position,
                ..Goal::default()
            },
            &seed,
        ) {
            Err(HardwareError::Unreachable { distance_m }) => {
                assert!(
                    distance_m >= beyond,
                    "{distance_m} m away, but {beyond} m is sure"
                );
            }
            other => panic!("{position:?}: {other:?}"),
        }
    }
}

//! Forward against known places, inverse against forward.

use super::*;
use proptest::prelude::*;

fn chain(tool: &str) -> Chain {
    Chain::new(&Blueprint::load("so101").unwrap(), tool).unwrap()
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    (Vector3::from(a) - Vector3::from(b)).norm()
}

/// Joint angles at places 0..1 between the limits.
fn within(chain: &Chain, places: &[f64]) -> Vec<f64> {
    chain
        .limits()
        .zip(places)
        .map(|((low, high), place)| low + (high - low) * place)
        .collect()
}

#[test]
fn the_tool_is_where_mujoco_puts_it() {
    // MuJoCo 3.17 on so101.xml, site gripperframe.
    let gripper = chain("gripperframe");
    let straight = gripper.forward(&[0.0; 5]);
    assert!(
        distance(
            straight.position,
            [0.391_361_9, -0.000_011_255_287, 0.226_468_745]
        ) < 1e-7,
        "{straight:?}"
    );
    let bent = gripper.forward(&[0.0, -0.6, 0.6, 1.2, 0.0]);
    assert!(
        distance(
            bent.position,
            [0.214_015_098, -0.000_011_255_287, 0.079_248_778_7]
        ) < 1e-7,
        "{bent:?}"
    );
    assert!(bent.approach[2] < -0.93);
}

#[test]
fn a_thousand_reachable_poses_are_reached() {
    let gripper = chain("gripperframe");
    let (mut worst_m, mut worst_rad) = (0.0_f64, 0.0_f64);
    let mut missed = 0;
    for k in 1..=1000 {
        let places: Vec<f64> = (0..5).map(|i| halton(k + 50, PRIMES[i])).collect();
        let pose = gripper.forward(&within(&gripper, &places));
        let goal = Goal {
            position: pose.position,
            approach: Some(pose.approach),
            roll_rad: None,
        };
        let solution = gripper.inverse(&goal, &[0.0; 5]).unwrap();
        let reached = gripper.forward(&solution.joints);
        worst_m = worst_m.max(distance(reached.position, pose.position));
        worst_rad = worst_rad.max(solution.approach_error_rad);
        missed += usize::from(solution.approach_error_rad > 1e-3);
        for ((low, high), angle) in gripper.limits().zip(&solution.joints) {
            assert!((low..=high).contains(angle));
        }
    }
    eprintln!(
        "worst position error {worst_m:e} m, direction {worst_rad:e} rad, directions missed {missed}"
    );
    assert!(worst_m <= POSITION_TOLERANCE_M);
    assert!(
        missed <= 5,
        "{missed} of 1000 directions missed, worst {worst_rad} rad"
    );
}

#[test]
fn the_seed_is_kept_when_it_is_already_there() {
    let pinch = chain("so101_pinch");
    let joints = [0.3, -0.2, 0.5, 0.9, 0.4];
    let pose = pinch.forward(&joints);
    let goal = Goal {
        position: pose.position,
        approach: Some(pose.approach),
        roll_rad: Some(0.4),
    };
    let solution = pinch.inverse(&goal, &joints).unwrap();
    for (found, given) in solution.joints.iter().zip(joints) {
        assert!((found - given).abs() < 1e-6, "{solution:?}");
    }
}

#[test]
fn the_hand_points_down_over_the_table_with_the_roll_asked_for() {
    let pinch = chain("so101_pinch");
    for (x, y) in [(0.22, 0.0), (0.25, 0.05), (0.2, 0.12), (0.18, -0.15)] {
        let goal = Goal {
            position: [x, y, 0.02],
            approach: Some([0.0, 0.0, -1.0]),
            roll_rad: Some(0.0),
        };
        let solution = pinch.inverse(&goal, &[0.0; 5]).unwrap();
        assert!(solution.approach_error_rad < 1e-3, "{x} {y}: {solution:?}");
        assert_eq!(solution.joints[4], 0.0);
    }
}

#[test]
fn a_direction_that_cannot_be_had_still_gives_the_place() {
    let pinch = chain("so101_pinch");
    // Sideways at full stretch ahead: the place is reachable, the direction is not.
    let goal = Goal {
        position: [0.3, 0.0, 0.2],
        approach: Some([0.0, 1.0, 0.0]),
        roll_rad: None,
    };
    let solution = pinch.inverse(&goal, &[0.0; 5]).unwrap();
    assert!(solution.position_error_m <= POSITION_TOLERANCE_M);
    assert!(solution.approach_error_rad > 0.1);
}

#[test]
fn out_of_reach_says_how_far() {
    let goal = Goal {
        position: [1.0, 0.0, 0.2],
        ..Goal::default()
    };
    match chain("gripperframe").inverse(&goal, &[0.0; 5]) {
        Err(HardwareError::Unreachable { distance_m }) => {
            assert!((0.4..0.7).contains(&distance_m), "{distance_m}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_tools_and_robots_without_a_chain_say_so() {
    let error = Chain::new(&Blueprint::load("so101").unwrap(), "hook")
        .unwrap_err()
        .to_string();
    assert!(error.contains("gripperframe, so101_pinch"), "{error}");
    let error = Chain::new(&Blueprint::load("go2").unwrap(), "hook")
        .unwrap_err()
        .to_string();
    assert!(error.contains("[kinematics]"), "{error}");
}

#[test]
fn senseless_goals_are_refused() {
    let gripper = chain("gripperframe");
    let fine = Goal {
        position: [0.2, 0.0, 0.1],
        ..Goal::default()
    };
    for goal in [
        Goal {
            position: [f64::NAN, 0.0, 0.0],
            ..fine
        },
        Goal {
            approach: Some([0.0; 3]),
            ..fine
        },
        Goal {
            approach: Some([f64::INFINITY, 0.0, 0.0]),
            ..fine
        },
        Goal {
            roll_rad: Some(7.0),
            ..fine
        },
    ] {
        let error = gripper.inverse(&goal, &[0.0; 5]).unwrap_err();
        assert!(
            matches!(error, HardwareError::BadGoal { .. }),
            "{goal:?}: {error}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_target_and_seed_give_an_answer_within_limits(
        position in proptest::array::uniform3(-0.6..0.6),
        approach in proptest::array::uniform3(-1.0..1.0),
        seed in proptest::collection::vec(any::<f64>(), 0..8),
    ) {
        let pinch = chain("so101_pinch");
        match pinch.inverse(&Goal { position, approach: Some(approach), roll_rad: None }, &seed) {
            Ok(solution) => {
                let reached = pinch.forward(&solution.joints).position;
                prop_assert!(distance(reached, position) <= POSITION_TOLERANCE_M + 1e-12);
                for ((low, high), angle) in pinch.limits().zip(&solution.joints) {
                    prop_assert!((low..=high).contains(angle));
                }
            }
            Err(HardwareError::Unreachable { distance_m }) => prop_assert!(distance_m > POSITION_TOLERANCE_M),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn rotations_stay_rotations(joints in proptest::collection::vec(-10.0..10.0, 5)) {
        let rows = chain("gripperframe").forward(&joints).rotation.map(Vector3::from);
        for i in 0..3 {
            for j in 0..3 {
                let expected = if i == j { 1.0 } else { 0.0 };
                prop_assert!((rows[i].dot(&rows[j]) - expected).abs() < 1e-12);
            }
        }
        prop_assert!((rows[0].cross(&rows[1]).dot(&rows[2]) - 1.0).abs() < 1e-12);
    }
}

//! Ticks, rad and LeRobot's units agree with LeRobot's formulas and with each other.

use super::*;
use crate::calibration::Calibration;
use proptest::prelude::*;

fn joint(norm: Norm, center_rad: f64) -> Joint {
    let mut joint = Blueprint::load("so101").unwrap().joints[0].clone();
    (joint.norm, joint.center_rad) = (norm, center_rad);
    joint
}

fn calibration(range_min: i32, range_max: i32, drive_mode: i32) -> JointCalibration {
    JointCalibration {
        id: 1,
        drive_mode,
        homing_offset: 0,
        range_min,
        range_max,
    }
}

/// LeRobot's `_normalize`, written down again in its own terms.
fn lerobot_normalize(norm: Norm, raw: i32, c: &JointCalibration) -> f64 {
    let (min, max) = (f64::from(c.range_min), f64::from(c.range_max));
    let bounded = f64::from(raw).clamp(min, max);
    match norm {
        Norm::RangeM100To100 => {
            let value = (bounded - min) / (max - min) * 200.0 - 100.0;
            if c.drive_mode == 1 { -value } else { value }
        }
        Norm::Range0To100 => {
            let value = (bounded - min) / (max - min) * 100.0;
            if c.drive_mode == 1 {
                100.0 - value
            } else {
                value
            }
        }
        Norm::Degrees => (f64::from(raw) - (min + max) / 2.0) * 360.0 / 4095.0,
        Norm::Radians => f64::NAN,
    }
}

fn norms() -> impl Strategy<Value = Norm> {
    prop_oneof![
        Just(Norm::Degrees),
        Just(Norm::Range0To100),
        Just(Norm::RangeM100To100)
    ]
}

proptest! {
    #[test]
    fn ticks_through_rad_give_lerobots_numbers(
        norm in norms(), raw in 0..4096, min in 0..4000_i32, length in 1..4095_i32, flipped in 0..=1, center in -2.0..2.0,
    ) {
        let c = calibration(min, i32::min(min + length, 4095), flipped);
        let units = JointUnits::new(&joint(norm, center), &c);
        let ours = units.to_lerobot(units.rad_from_raw(raw));
        prop_assert!((ours - lerobot_normalize(norm, raw, &c)).abs() < 1e-8);
    }

    #[test]
    fn ticks_survive_rad(raw in 0..4096, min in 0..4000_i32, length in 1..4095_i32, center in -2.0..2.0) {
        let units = JointUnits::new(&joint(Norm::Degrees, center), &calibration(min, i32::min(min + length, 4095), 0));
        prop_assert_eq!(units.raw_from_rad(units.rad_from_raw(raw)), raw);
    }

    #[test]
    fn rad_survives_lerobots_units_within_range(
        norm in norms(), share in -1.0..1.0, min in 0..4000_i32, length in 1..4095_i32, flipped in 0..=1, center in -2.0..2.0,
    ) {
        let c = calibration(min, i32::min(min + length, 4095), flipped);
        let units = JointUnits::new(&joint(norm, center), &c);
        let rad = center + share * c.half_range_rad();
        prop_assert!((units.from_lerobot(units.to_lerobot(rad)) - rad).abs() < 1e-12);
    }

    #[test]
    fn whole_arrays_survive_as_f32(shares in proptest::array::uniform6(-1.0..1.0)) {
        let blueprint = Blueprint::load("so101").unwrap();
        let units = Units::default_of(&blueprint).unwrap();
        let mut rad = [0.0; 6];
        for ((rad, joint), share) in rad.iter_mut().zip(&blueprint.joints).zip(shares) {
            let [low, high] = joint.limits_rad;
            *rad = (low + high) / 2.0 + share * (high - low) / 2.0;
        }
        let (mut values, mut back) = ([0.0; 6], [0.0; 6]);
        units.to_lerobot(&rad, &mut values);
        units.from_lerobot(&values, &mut back);
        for (rad, back) in rad.iter().zip(back) {
            prop_assert!((rad - back).abs() < 1e-5);
        }
    }

    #[test]
    fn no_number_makes_a_tick_outside_the_encoder(rad in any::<f64>(), value in any::<f64>()) {
        let units = JointUnits::new(&joint(Norm::Range0To100, 0.0), &calibration(1000, 3000, 1));
        prop_assert!((0..TICKS_PER_TURN).contains(&units.raw_from_rad(rad)));
        prop_assert!((0..TICKS_PER_TURN).contains(&units.raw_from_rad(units.from_lerobot(value))));
    }
}

#[test]
fn the_default_so101_has_zero_in_the_middle_and_the_gripper_from_0_to_100() {
    let blueprint = Blueprint::load("so101").unwrap();
    let units = Units::default_of(&blueprint).unwrap();
    assert_eq!(units.names()[0], "shoulder_pan.pos");
    for (joint, units) in blueprint.joints.iter().zip(units.joints()).take(5) {
        assert!(
            (2047..=2048).contains(&units.raw_from_rad(0.0)),
            "{}",
            joint.name
        );
        for limit in joint.limits_rad {
            let tick = units.raw_from_rad(limit);
            let range = joint.calibration.unwrap();
            assert!(
                (range.range_min..=range.range_max).contains(&tick),
                "{} at {limit}",
                joint.name
            );
            assert!((units.to_lerobot(limit) - limit.to_degrees()).abs() < 1e-9);
        }
    }
    let (gripper, [closed, open]) = (&units.joints()[5], blueprint.joints[5].limits_rad);
    assert!(
        gripper.to_lerobot(closed).abs() < 0.1,
        "{}",
        gripper.to_lerobot(closed)
    );
    assert!(
        (gripper.to_lerobot(open) - 100.0).abs() < 0.1,
        "{}",
        gripper.to_lerobot(open)
    );
}

#[test]
fn a_robot_without_servos_converts_by_its_limits() {
    let units = Units::default_of(&Blueprint::load("go2").unwrap()).unwrap();
    assert_eq!(units.joints().len(), 12);
    assert_eq!(units.joints()[2].to_lerobot(-1.5), -1.5);
}

#[test]
fn units_need_this_robots_calibration() {
    let blueprint = Blueprint::load("so101").unwrap();
    let other = Calibration::new(vec![("tail".to_owned(), calibration(0, 9, 0))]).unwrap();
    assert!(matches!(
        Units::new(&blueprint, &other),
        Err(HardwareError::Calibration { .. })
    ));
}

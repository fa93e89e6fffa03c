//! A servo on its own with an [`InertialPlant`] behind it.

use super::*;
use crate::emulator::{InertialPlant, Plant};
use proptest::prelude::*;

struct Bench {
    servo: Servo,
    plant: InertialPlant,
}

impl Bench {
    fn new(position_ticks: f64) -> Self {
        Self::with(position_ticks, &[])
    }

    fn with(position_ticks: f64, eeprom: &[(Register, i32)]) -> Self {
        let config = ServoConfig {
            position_ticks,
            eeprom: eeprom.to_vec(),
            ..ServoConfig::new(1)
        };
        Self {
            servo: Servo::new(&config),
            plant: InertialPlant::new(),
        }
    }

    fn set(&mut self, register: Register, value: i32) -> &mut Self {
        let bytes = register.encode(value).unwrap().to_le_bytes();
        self.servo
            .write(register.addr, &bytes[..register.size.into()]);
        self
    }

    fn get(&self, register: Register) -> i32 {
        self.servo.get(&register)
    }

    fn run(&mut self, seconds: f64) -> &mut Self {
        for _ in 0..(seconds * 1000.0) as usize {
            let drive = self.servo.drive(1e-3);
            let mut shaft = self.servo.measurement();
            self.plant
                .step(1e-3, &[drive], std::slice::from_mut(&mut shaft));
            self.servo.measure(1e-3, &shaft);
        }
        self
    }
}

fn near(got: i32, want: i32) {
    assert!((got - want).abs() <= 2, "got {got}, want {want}");
}

#[test]
fn position_mode_reaches_the_goal_and_reports_it() {
    let mut bench = Bench::new(2048.0);
    bench
        .set(reg::TORQUE_ENABLE, 1)
        .set(reg::GOAL_POSITION, 3000)
        .run(0.2);
    assert_eq!(bench.get(reg::MOVING), 1);
    assert!(bench.get(reg::PRESENT_VELOCITY) > 200);
    bench.run(2.0);
    near(bench.get(reg::PRESENT_POSITION), 3000);
    assert_eq!(
        (bench.get(reg::MOVING), bench.get(reg::GOAL_POSITION_2)),
        (0, 3000)
    );
}

#[test]
fn without_torque_nothing_moves() {
    let mut bench = Bench::new(2048.0);
    bench.set(reg::GOAL_POSITION, 3000).run(1.0);
    assert_eq!(bench.get(reg::PRESENT_POSITION), 2048);
}

#[test]
fn goals_are_clamped_to_the_position_limits() {
    let mut bench = Bench::new(2048.0);
    bench
        .set(reg::MIN_POSITION_LIMIT, 1000)
        .set(reg::MAX_POSITION_LIMIT, 2500);
    bench
        .set(reg::TORQUE_ENABLE, 1)
        .set(reg::GOAL_POSITION, 4000)
        .run(2.0);
    near(bench.get(reg::PRESENT_POSITION), 2500);
    bench.set(reg::GOAL_POSITION, 10).run(2.0);
    near(bench.get(reg::PRESENT_POSITION), 1000);
    assert_eq!(
        bench.get(reg::GOAL_POSITION),
        10,
        "the register keeps what was written"
    );
}

#[test]
fn homing_offset_shifts_what_is_reported_and_what_goals_mean() {
    let mut bench = Bench::new(3000.0);
    bench.set(reg::HOMING_OFFSET, 952);
    assert_eq!(bench.get(reg::PRESENT_POSITION), 2048);
    bench.set(reg::HOMING_OFFSET, -1470);
    assert_eq!(bench.get(reg::PRESENT_POSITION), (3000 + 1470) % 4096);
    bench
        .set(reg::TORQUE_ENABLE, 1)
        .set(reg::GOAL_POSITION, 500)
        .run(2.0);
    near(bench.get(reg::PRESENT_POSITION), 500);
    near(
        bench.servo.measurement().position_ticks as i32,
        500 + 4096 - 1470,
    );
}

#[test]
fn torque_128_makes_here_the_middle_and_keeps_it() {
    let mut bench = Bench::new(777.0);
    bench.set(reg::TORQUE_ENABLE, 128);
    assert_eq!(bench.get(reg::PRESENT_POSITION), 2048);
    assert_eq!(
        (bench.get(reg::HOMING_OFFSET), bench.get(reg::TORQUE_ENABLE)),
        (777 - 2048, 0)
    );
    bench.servo.power_cycle();
    assert_eq!(bench.get(reg::PRESENT_POSITION), 2048);
}

#[test]
fn goal_velocity_and_acceleration_shape_the_move() {
    let mut bench = Bench::new(0.0);
    bench
        .set(reg::ACCELERATION, 20)
        .set(reg::GOAL_VELOCITY, 800);
    bench
        .set(reg::TORQUE_ENABLE, 1)
        .set(reg::GOAL_POSITION, 2000)
        .run(0.2);
    near(bench.servo.profile.velocity as i32, 400);
    bench.run(0.8);
    near(bench.servo.profile.velocity as i32, 800);
    bench.run(2.5);
    near(bench.get(reg::PRESENT_POSITION), 2000);
}

#[test]
fn coarse_velocity_unit_counts_fifty_ticks() {
    let mut bench = Bench::new(0.0);
    bench
        .set(reg::PHASE, 8)
        .set(reg::GOAL_VELOCITY, 10)
        .set(reg::TORQUE_ENABLE, 1);
    bench.set(reg::GOAL_POSITION, 4000).run(1.0);
    near(bench.servo.profile.velocity as i32, 500);
    near(bench.get(reg::PRESENT_VELOCITY), 10);
}

#[test]
fn goal_time_stretches_the_move() {
    let mut bench = Bench::new(1000.0);
    bench.set(reg::TORQUE_ENABLE, 1).run(0.01);
    let goal = [2000u16.to_le_bytes(), 1500u16.to_le_bytes()].concat();
    bench.servo.write(reg::GOAL_POSITION.addr, &goal);
    bench.run(1.4);
    assert_ne!(bench.servo.profile.velocity, 0.0);
    bench.run(0.15);
    assert_eq!(
        (bench.servo.profile.position, bench.servo.profile.velocity),
        (2000.0, 0.0)
    );
}

#[test]
fn velocity_mode_turns_without_end_in_both_directions() {
    let mut bench = Bench::new(2048.0);
    bench
        .set(reg::OPERATING_MODE, 1)
        .set(reg::TORQUE_ENABLE, 1)
        .set(reg::GOAL_VELOCITY, 2000)
        .run(4.0);
    assert!(bench.servo.measurement().position_ticks > 9000.0);
    near(bench.get(reg::PRESENT_VELOCITY), 2000);
    bench.set(reg::GOAL_VELOCITY, -500).run(2.0);
    near(bench.get(reg::PRESENT_VELOCITY), -500);
    assert!((0..4096).contains(&bench.get(reg::PRESENT_POSITION)));
}

#[test]
fn pwm_mode_applies_the_signed_duty() {
    let mut bench = Bench::new(2048.0);
    bench.set(reg::OPERATING_MODE, 2).set(reg::TORQUE_ENABLE, 1);
    bench
        .servo
        .write(reg::GOAL_TIME.addr, &(300u16 | 1 << 10).to_le_bytes());
    bench.run(0.5);
    assert_eq!(bench.get(reg::PRESENT_LOAD), -300);
    assert!(bench.get(reg::PRESENT_VELOCITY) < -500);
}

#[test]
fn step_mode_adds_each_goal_to_the_last() {
    let mut bench = Bench::new(2048.0);
    bench
        .set(reg::OPERATING_MODE, 3)
        .set(reg::TORQUE_ENABLE, 1)
        .run(0.01);
    bench
        .set(reg::GOAL_POSITION, 300)
        .run(1.0)
        .set(reg::GOAL_POSITION, -100)
        .run(1.0);
    near(bench.get(reg::PRESENT_POSITION), 2248);
}

#[test]
fn limits_of_zero_mean_many_turns() {
    let mut bench = Bench::with(2048.0, &[(reg::MAX_POSITION_LIMIT, 0)]);
    bench
        .set(reg::TORQUE_ENABLE, 1)
        .set(reg::GOAL_POSITION, -6000)
        .run(4.0);
    near(bench.get(reg::PRESENT_POSITION), -6000);
}

#[test]
fn torque_limit_is_the_load_against_a_stop() {
    let mut bench = Bench::with(2048.0, &[(reg::MAX_TORQUE_LIMIT, 500)]);
    assert_eq!(
        bench.get(reg::TORQUE_LIMIT),
        500,
        "loaded from the EEPROM at power-up"
    );
    bench.plant.set_stops(0, Some((2000.0, 2100.0)));
    bench
        .set(reg::TORQUE_ENABLE, 1)
        .set(reg::GOAL_POSITION, 3000)
        .run(1.0);
    assert_eq!(bench.get(reg::PRESENT_LOAD), 500);
    bench.set(reg::TORQUE_LIMIT, 300).run(0.1);
    assert_eq!(bench.get(reg::PRESENT_LOAD), 300);
    bench.set(reg::TORQUE_LIMIT, 900).run(0.1);
    assert_eq!(
        bench.get(reg::PRESENT_LOAD),
        500,
        "the EEPROM's maximum stays on top"
    );
}

#[test]
fn a_blocked_servo_goes_to_protective_torque_and_recovers_on_the_way_back() {
    let mut bench = Bench::new(2048.0);
    bench.plant.set_stops(0, Some((2000.0, 2100.0)));
    bench
        .set(reg::TORQUE_ENABLE, 1)
        .set(reg::GOAL_POSITION, 3000)
        .run(1.5);
    assert_eq!(
        (bench.get(reg::PRESENT_LOAD), bench.get(reg::STATUS)),
        (1000, 0)
    );
    near(bench.get(reg::PRESENT_CURRENT), (2.7f64 / 0.0065) as i32);
    bench.run(1.5);
    assert_eq!(
        (bench.get(reg::PRESENT_LOAD), bench.get(reg::STATUS)),
        (200, 32)
    );
    bench.set(reg::GOAL_POSITION, 2050).run(1.5);
    assert_eq!(bench.get(reg::STATUS), 0);
    near(bench.get(reg::PRESENT_POSITION), 2050);
}

#[test]
fn the_unloading_mask_decides_whether_heat_switches_off() {
    for (mask, on) in [(44, false), (0, true)] {
        let mut bench = Bench::with(2048.0, &[(reg::UNLOADING_CONDITION, mask)]);
        bench.set(reg::TORQUE_ENABLE, 1);
        bench.servo.set_temperature(75.0);
        bench.run(0.01);
        assert_eq!(bench.get(reg::STATUS), 4);
        assert_eq!(bench.servo.drive(1e-3).torque_on, on);
    }
}

#[test]
fn supply_and_temperature_are_reported_in_their_units() {
    let mut bench = Bench::new(2048.0);
    bench.servo.set_supply(6.1);
    bench.servo.set_temperature(41.0);
    bench.run(0.01);
    assert_eq!(
        (
            bench.get(reg::PRESENT_VOLTAGE),
            bench.get(reg::PRESENT_TEMPERATURE)
        ),
        (61, 41)
    );
    bench.servo.set_supply(3.0);
    bench.run(0.01);
    assert_eq!(bench.get(reg::STATUS), 1);
}

#[test]
fn an_injected_overload_weakens_the_motor_until_it_is_taken_back() {
    let mut bench = Bench::new(2048.0);
    bench.set(reg::TORQUE_ENABLE, 1);
    bench.servo.force_alarms(32);
    assert_eq!(
        (bench.get(reg::STATUS), bench.servo.drive(1e-3).torque_limit),
        (32, 0.2)
    );
    bench.servo.force_alarms(0);
    assert_eq!(
        (bench.get(reg::STATUS), bench.servo.drive(1e-3).torque_limit),
        (0, 1.0)
    );
}

#[test]
fn power_cycle_forgets_what_was_written_under_lock() {
    let mut bench = Bench::new(2048.0);
    bench.set(reg::P_COEFFICIENT, 16);
    bench.servo.power_cycle();
    assert_eq!(bench.get(reg::P_COEFFICIENT), 32);
    bench
        .set(reg::LOCK, 0)
        .set(reg::P_COEFFICIENT, 16)
        .set(reg::TORQUE_ENABLE, 1);
    bench.servo.power_cycle();
    assert_eq!(
        (bench.get(reg::P_COEFFICIENT), bench.get(reg::TORQUE_ENABLE)),
        (16, 0)
    );
}

#[test]
fn a_measurement_that_is_no_number_changes_nothing() {
    let mut bench = Bench::new(2048.0);
    let bad = ServoMeasurement {
        position_ticks: f64::NAN,
        velocity_ticks_per_s: f64::INFINITY,
        load: f64::NAN,
    };
    bench.servo.measure(1e-3, &bad);
    assert_eq!(bench.get(reg::PRESENT_POSITION), 2048);
}

proptest! {
    /// No sequence of writes makes a servo panic, report outside its registers, or ask its motor
    /// for something that is not a number.
    #[test]
    fn any_writes_leave_a_working_servo(
        writes in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..8)), 0..40),
    ) {
        let mut bench = Bench::new(2048.0);
        for (addr, data) in &writes {
            bench.servo.write(*addr, data);
            bench.run(0.004);
            let drive = bench.servo.drive(1e-3);
            prop_assert!(drive.setpoint_ticks.is_finite() && drive.setpoint_velocity.is_finite());
            prop_assert!((0.0..=1.0).contains(&drive.torque_limit));
        }
    }
}

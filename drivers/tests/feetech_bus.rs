//! The bus against servos on a pseudo-terminal that lie, stutter, fall silent and vanish.

mod feetech_support;

use feetech_support::{FakeBus, open_pty};
use proptest::prelude::*;
use sinew_drivers::feetech::packet::{ALARM_OVERHEAT, ALARM_OVERLOAD};
use sinew_drivers::feetech::registers as reg;
use sinew_drivers::feetech::{BusOptions, FeetechBus, Reply, ReplyStatus};
use sinew_drivers::{DriverError, ServoProblem};
use std::time::Duration;

const IDS: [u8; 6] = [1, 2, 3, 4, 5, 6];
/// Long enough that a busy test machine is not taken for a silent servo.
const BUDGET: Duration = Duration::from_millis(1500);
const PATIENT: BusOptions = BusOptions {
    baud: 1_000_000,
    reply_margin: Duration::from_millis(200),
    op_timeout: Duration::from_millis(200),
    retries: 2,
    look: Duration::ZERO,
};

fn open(fake: &FakeBus) -> FeetechBus {
    FeetechBus::open(&fake.path, PATIENT).unwrap()
}

fn read_positions(bus: &mut FeetechBus) -> [Reply; 6] {
    let mut replies = [Reply::default(); 6];
    bus.sync_read(reg::PRESENT_POSITION.addr, 2, &IDS, &mut replies, BUDGET)
        .unwrap();
    replies
}

fn positions(replies: &[Reply]) -> Vec<Option<i32>> {
    replies
        .iter()
        .map(|r| r.value(&reg::PRESENT_POSITION, reg::PRESENT_POSITION.addr))
        .collect()
}

fn all_good() -> Vec<Option<i32>> {
    IDS.iter().map(|id| Some(2000 + i32::from(*id))).collect()
}

/// Everyone but `id` is good.
fn good_but(id: u8) -> Vec<Option<i32>> {
    let mut values = all_good();
    values[usize::from(id) - 1] = None;
    values
}

#[test]
fn all_servos_answer() {
    let fake = FakeBus::new(6);
    let mut bus = open(&fake);
    assert_eq!(positions(&read_positions(&mut bus)), all_good());
    let stats = bus.stats();
    assert_eq!(
        (
            stats.requests,
            stats.replies,
            stats.retries,
            stats.noise_bytes
        ),
        (1, 6, 0, 0)
    );
    assert_eq!(
        (stats.tx_bytes, stats.rx_bytes, stats.wire_ns),
        (14, 48, 620_000)
    );
    assert!(!bus.echoes());
}

#[test]
fn one_silent_servo_hides_no_other() {
    let fake = FakeBus::new(6);
    fake.sabotage(|id, _, reply| if id == 3 { vec![] } else { reply });
    let mut bus = open(&fake);
    let replies = read_positions(&mut bus);
    assert_eq!(positions(&replies), good_but(3));
    assert_eq!(replies[2].status, ReplyStatus::Timeout);
    assert_eq!(bus.stats().retries, 2);
}

#[test]
fn a_servo_with_bad_checksums_is_corrupt_not_silent() {
    let fake = FakeBus::new(6);
    fake.sabotage(|id, _, mut reply| {
        if id == 5 {
            *reply.last_mut().unwrap() ^= 0x10;
        }
        reply
    });
    let replies = read_positions(&mut open(&fake));
    assert_eq!(positions(&replies), good_but(5));
    assert_eq!(replies[4].status, ReplyStatus::Corrupt);
}

#[test]
fn only_the_missing_servo_is_asked_again() {
    let fake = FakeBus::new(6);
    fake.sabotage(|_, n, mut reply| {
        if n == 4 {
            reply[5] ^= 1;
        }
        reply
    });
    let mut bus = open(&fake);
    assert_eq!(positions(&read_positions(&mut bus)), all_good());
    let stats = bus.stats();
    assert_eq!(
        (stats.requests, stats.retries, stats.replies, stats.corrupt),
        (2, 1, 6, 1)
    );
}

#[test]
fn noise_between_replies_costs_nothing() {
    let fake = FakeBus::new(6);
    fake.sabotage(|id, _, reply| [&[0xFF, 0x00, 0xFF, 0xFF, id, 0x77][..], &reply].concat());
    let mut bus = open(&fake);
    for _ in 0..3 {
        assert_eq!(positions(&read_positions(&mut bus)), all_good());
    }
    assert_eq!((bus.stats().retries, bus.stats().noise_bytes), (0, 3 * 36));
}

#[test]
fn a_doubled_byte_is_recovered() {
    for at in 0..8 {
        let fake = FakeBus::new(6);
        fake.sabotage(move |_, n, mut reply| {
            if n == 2 {
                reply.insert(at, reply[at]);
            }
            reply
        });
        assert_eq!(
            positions(&read_positions(&mut open(&fake))),
            all_good(),
            "byte {at} doubled"
        );
    }
}

#[test]
fn a_truncated_reply_is_recovered() {
    for keep in 0..8 {
        let fake = FakeBus::new(6);
        fake.sabotage(move |_, n, reply| {
            if n == 3 || n == 6 {
                reply[..keep].to_vec()
            } else {
                reply
            }
        });
        assert_eq!(
            positions(&read_positions(&mut open(&fake))),
            all_good(),
            "{keep} bytes kept"
        );
    }
}

#[test]
fn a_reply_cut_short_every_time_is_corrupt() {
    let fake = FakeBus::new(6);
    fake.sabotage(|id, _, reply| if id == 6 { reply[..7].to_vec() } else { reply });
    let replies = read_positions(&mut open(&fake));
    assert_eq!(positions(&replies), good_but(6));
    assert_eq!(replies[5].status, ReplyStatus::Corrupt);
}

#[test]
fn alarm_bits_come_with_the_value() {
    let fake = FakeBus::new(6);
    fake.state
        .lock()
        .unwrap()
        .alarms
        .insert(2, ALARM_OVERLOAD | ALARM_OVERHEAT);
    let mut bus = open(&fake);
    let replies = read_positions(&mut bus);
    assert_eq!(positions(&replies), all_good());
    assert_eq!(replies[1].status, ReplyStatus::Ok { alarms: 36 });
    assert_eq!(bus.ping(2).unwrap(), Some(36));
}

#[test]
fn a_late_reply_is_never_the_answer_to_another_question() {
    let fake = FakeBus::new(1);
    fake.set(1, &reg::PRESENT_VOLTAGE, 120);
    fake.set(1, &reg::PRESENT_TEMPERATURE, 33);
    let mut bus = FeetechBus::open(
        &fake.path,
        BusOptions {
            reply_margin: Duration::from_millis(5),
            ..BusOptions::default()
        },
    )
    .unwrap();
    fake.sabotage(|_, n, reply| {
        if n == 1 {
            std::thread::sleep(Duration::from_millis(60));
        }
        reply
    });
    let mut reply = [Reply::default()];
    let budget = Duration::from_millis(10);
    let voltage = &reg::PRESENT_VOLTAGE;
    assert_eq!(
        bus.sync_read_retrying(voltage.addr, 1, &[1], &mut reply, budget, 0)
            .unwrap(),
        0
    );
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(bus.read(1, &reg::PRESENT_TEMPERATURE).unwrap(), 33);
}

/// A reply given up on, taken as the answer to the same question asked again, leaves one reply
/// too many on its way even though that request went well.
#[test]
fn a_late_reply_does_not_leave_the_bus_one_step_behind() {
    let fake = FakeBus::new(1);
    fake.set(1, &reg::PRESENT_VOLTAGE, 120);
    fake.set(1, &reg::PRESENT_TEMPERATURE, 33);
    let options = BusOptions {
        reply_margin: Duration::from_millis(5),
        op_timeout: Duration::from_secs(2),
        ..BusOptions::default()
    };
    let mut bus = FeetechBus::open(&fake.path, options).unwrap();
    fake.sabotage(|_, n, reply| {
        if n == 1 {
            std::thread::sleep(Duration::from_millis(60));
        }
        reply
    });
    let (mut reply, voltage) = ([Reply::default()], &reg::PRESENT_VOLTAGE);
    let budget = Duration::from_millis(10);
    bus.sync_read_retrying(voltage.addr, 1, &[1], &mut reply, budget, 0)
        .unwrap();
    assert_eq!(bus.read(1, voltage).unwrap(), 120);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(bus.read(1, &reg::PRESENT_TEMPERATURE).unwrap(), 33);
}

#[test]
fn an_echoing_adapter_is_recognised() {
    let fake = FakeBus::new(6);
    fake.state.lock().unwrap().echo = true;
    // A voltage alarm makes the reply to a ping equal to its echo.
    fake.state.lock().unwrap().alarms.insert(1, 1);
    let mut bus = open(&fake);
    assert!(bus.echoes());
    for _ in 0..3 {
        assert_eq!(positions(&read_positions(&mut bus)), all_good());
        bus.sync_write(&reg::GOAL_POSITION, &IDS, &[5; 6]).unwrap();
    }
    assert_eq!(bus.read(4, &reg::GOAL_POSITION).unwrap(), 5);
    assert_eq!(
        (bus.ping(1).unwrap(), bus.ping(9).unwrap()),
        (Some(1), None)
    );
    assert_eq!(bus.stats().noise_bytes, 0);
}

#[test]
fn a_babbling_line_does_not_hold_the_caller() {
    let fake = FakeBus::new(6);
    let mut bus = open(&fake);
    fake.state.lock().unwrap().babble = true;
    fake.sabotage(|_, _, _| vec![0xFF; 300]);
    let mut replies = [Reply::default(); 6];
    for _ in 0..5 {
        let got = bus
            .sync_read(56, 2, &IDS, &mut replies, Duration::from_millis(20))
            .unwrap();
        assert_eq!(got, 0);
    }
}

#[test]
fn an_unplugged_adapter_is_reported_as_such() {
    let mut fake = FakeBus::new(6);
    let mut bus = open(&fake);
    read_positions(&mut bus);
    fake.unplug();
    let mut replies = [Reply::default(); 6];
    let error = bus
        .sync_read(56, 2, &IDS, &mut replies, BUDGET)
        .unwrap_err();
    assert!(matches!(error, DriverError::Disconnected { .. }), "{error}");
    assert!(bus.sync_write(&reg::GOAL_POSITION, &IDS, &[0; 6]).is_err());
}

#[test]
fn unplugging_wakes_a_waiting_read() {
    let mut fake = FakeBus::new(1);
    let mut bus = open(&fake);
    fake.sabotage(|_, _, _| vec![]);
    let wait = move || {
        let mut replies = [Reply::default()];
        bus.sync_read_retrying(56, 2, &[1], &mut replies, Duration::from_secs(5), 1000)
    };
    let reader = std::thread::Builder::new()
        .name("reader".to_owned())
        .spawn(wait)
        .unwrap();
    std::thread::sleep(Duration::from_millis(30));
    fake.unplug();
    assert!(matches!(
        reader.join().unwrap(),
        Err(DriverError::Disconnected { .. })
    ));
}

#[test]
fn eeprom_is_unlocked_for_the_write_only() {
    let fake = FakeBus::new(2);
    let mut bus = open(&fake);
    bus.write(2, &reg::HOMING_OFFSET, -1470).unwrap();
    assert_eq!(
        (fake.get(2, &reg::HOMING_OFFSET), fake.get(2, &reg::LOCK)),
        (-1470, 1)
    );
    assert!(!bus.ensure(2, &reg::HOMING_OFFSET, -1470).unwrap());
    bus.set_torque(2, false).unwrap();
    assert_eq!(fake.get(2, &reg::LOCK), 0);
    assert!(bus.ensure(2, &reg::P_COEFFICIENT, 16).unwrap());
    assert_eq!(fake.get(2, &reg::LOCK), 0);
}

#[test]
fn stored_writes_happen_together() {
    let fake = FakeBus::new(2);
    let mut bus = open(&fake);
    bus.reg_write(1, &reg::GOAL_POSITION, 100).unwrap();
    bus.reg_write(2, &reg::GOAL_POSITION, 200).unwrap();
    assert_eq!(fake.get(1, &reg::GOAL_POSITION), 0);
    bus.action().unwrap();
    assert_eq!(bus.read(1, &reg::GOAL_POSITION).unwrap(), 100);
    assert_eq!(bus.read(2, &reg::GOAL_POSITION).unwrap(), 200);
}

#[test]
fn ids_are_scanned_and_changed() {
    let fake = FakeBus::new(3);
    let mut bus = open(&fake);
    assert_eq!(bus.scan(0..=5).unwrap(), [1, 2, 3]);
    bus.change_id(3, 5).unwrap();
    assert_eq!(bus.scan(0..=5).unwrap(), [1, 2, 5]);
    assert_eq!(fake.get(5, &reg::LOCK), 1);
}

#[test]
fn a_servo_that_does_not_acknowledge_writes_is_read_back() {
    let fake = FakeBus::new(1);
    let mut bus = FeetechBus::open(
        &fake.path,
        BusOptions {
            op_timeout: Duration::from_millis(30),
            ..PATIENT
        },
    )
    .unwrap();
    fake.sabotage(|_, _, reply| if reply.len() == 6 { vec![] } else { reply });
    bus.write(1, &reg::TORQUE_ENABLE, 1).unwrap();
    assert_eq!(fake.get(1, &reg::TORQUE_ENABLE), 1);
}

#[test]
fn errors_name_joint_id_and_register() {
    let fake = FakeBus::new(1);
    let mut bus = open(&fake);
    bus.set_names([(1, "shoulder_pan"), (4, "wrist_flex")]);
    let error = bus.read(4, &reg::PRESENT_LOAD).unwrap_err();
    let expected = format!(
        "wrist_flex (id 4) on {}, register Present_Load: no reply",
        fake.path
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
    let error = bus.write(1, &reg::HOMING_OFFSET, 2114).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("Homing_Offset takes -2047..=2047, not 2114"),
        "{error}"
    );
    let error = bus.write(1, &reg::PRESENT_POSITION, 1).unwrap_err();
    assert!(matches!(
        error,
        DriverError::Servo {
            id: 1,
            problem: ServoProblem::ReadOnly,
            ..
        }
    ));
}

#[test]
fn calls_that_cannot_be_packed_are_refused() {
    let fake = FakeBus::new(1);
    let mut bus = open(&fake);
    let mut replies = [Reply::default(); 2];
    assert!(matches!(
        bus.sync_read(56, 17, &[1], &mut replies, BUDGET),
        Err(DriverError::Count { .. })
    ));
    assert!(matches!(
        bus.sync_read(56, 2, &[1, 2, 3], &mut replies, BUDGET),
        Err(DriverError::Count { .. })
    ));
    assert!(matches!(
        bus.sync_read(56, 2, &[1; 33], &mut replies, BUDGET),
        Err(DriverError::Count { .. })
    ));
    assert!(matches!(
        bus.sync_write(&reg::GOAL_POSITION, &[1, 2], &[1]),
        Err(DriverError::Count { .. })
    ));
}

#[test]
fn wrong_ports_give_one_clear_sentence() {
    let open = |path: &str| FeetechBus::open(path, BusOptions::default()).unwrap_err();
    assert!(matches!(
        open("/dev/ttyNOSUCH"),
        DriverError::PortMissing { .. }
    ));
    assert!(matches!(open("/dev/null"), DriverError::NotSerial { .. }));
    assert!(matches!(
        open(env!("CARGO_MANIFEST_DIR")),
        DriverError::NotSerial { .. }
    ));
    let (_master, path) = open_pty();
    let _first = FeetechBus::open(&path, BusOptions::default()).unwrap();
    let error = open(&path);
    assert_eq!(
        error.to_string(),
        format!("{path} is in use by another program; close that program, then start again")
    );
}

#[test]
fn a_port_is_free_again_after_use() {
    let (_master, path) = open_pty();
    drop(FeetechBus::open(&path, BusOptions::default()).unwrap());
    FeetechBus::open(&path, BusOptions::default()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// The checksum catches every change of one byte, so no such change may alter a value.
    #[test]
    fn one_changed_byte_never_changes_a_value(which in 1u64..=6, at in 0usize..8, flip in 1u8..) {
        let fake = FakeBus::new(6);
        let mut bus = open(&fake);
        fake.sabotage(move |_, n, mut reply| {
            if n == which {
                reply[at] ^= flip;
            }
            reply
        });
        prop_assert_eq!(positions(&read_positions(&mut bus)), all_good());
        prop_assert_eq!(positions(&read_positions(&mut bus)), all_good());
    }
}

//! Two clients that are not ours, rustypot and feetech-servo-sdk as PyPI ships them, drive the
//! emulator; what they read must be what its servos hold.

use serde_json::Value;
use sinew_drivers::emulator::{
    EmulatedChain, InertialPlant, PlantThread, PtyOptions, PtyServer, ServoConfig, SharedChain,
};
use sinew_drivers::feetech::registers as reg;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const CLIENTS: [(&str, u16); 2] = [("rustypot", 1500), ("scservo_sdk", 2500)];
const IDS: [u8; 4] = [1, 2, 3, 6];

fn python() -> PathBuf {
    let peers = std::env::var_os("SINEW_PEERS")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            let home = std::env::var_os("HOME").unwrap_or_default();
            PathBuf::from(home).join(".cache/sinew-peers")
        });
    let python = peers.join("light/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `scripts/setup tests`",
        python.display()
    );
    python
}

/// Runs the exercise on `server`'s port and returns what the clients saw.
fn exercise(server: &PtyServer) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/servo_diff.py");
    let ids = IDS.map(|id| id.to_string());
    let output = Command::new(python())
        .arg(script)
        .arg(server.path())
        .args(ids)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the clients gave up; run `scripts/setup tests` if a module is missing\n{errors}"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn chain() -> SharedChain {
    let configs: Vec<_> = IDS
        .iter()
        .map(|id| ServoConfig {
            position_ticks: 1800.0 + 100.0 * f64::from(*id),
            eeprom: vec![(reg::MIN_POSITION_LIMIT, 100), (reg::HOMING_OFFSET, -70)],
            ..ServoConfig::new(*id)
        })
        .collect();
    SharedChain::new(EmulatedChain::new(&configs).unwrap())
}

fn bytes(value: &Value) -> Vec<u8> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b.as_u64().unwrap() as u8)
        .collect()
}

fn word(value: &Value) -> u16 {
    let b = bytes(value);
    u16::from_le_bytes([b[0], b[1]])
}

fn items<'a>(report: &'a Value, key: &str) -> &'a [Value] {
    report[key].as_array().unwrap()
}

/// The table of servo `id` as the emulator holds it.
fn memory(chain: &SharedChain, id: u8) -> Vec<u8> {
    let mut all = vec![0; reg::TABLE_BYTES];
    chain.lock().servo(id).unwrap().read(0, &mut all);
    all
}

#[test]
fn two_foreign_clients_read_and_write_what_the_servos_hold() {
    let chain = chain();
    let before = IDS.map(|id| memory(&chain, id));
    let server = PtyServer::start(chain.clone(), &PtyOptions::default()).unwrap();
    let _plant = PlantThread::start(
        chain.clone(),
        InertialPlant::new(),
        Duration::from_millis(1),
    )
    .unwrap();
    let report = exercise(&server);

    // Nobody wrote anything before rustypot read: its copy is the memory itself.
    for (i, id) in IDS.iter().enumerate() {
        let seen = bytes(&report["rustypot"]["memory"][id.to_string()]);
        assert_eq!(seen, before[i], "servo {id}");
    }
    for (client, base) in CLIENTS {
        let report = &report[client];
        assert_eq!(
            report["pings"],
            serde_json::json!([true, true, true, true]),
            "{client}"
        );
        assert_eq!(report["absent"], false, "{client}");
        let whole = bytes(&report["memory"]["1"]);
        assert_eq!(
            bytes(&report["bytes"]),
            whole,
            "{client}: one by one and at once"
        );
        check_positions(report, client);
        check_writes(report, client, base);
    }
    check_final_state(&chain, &report);
    check_register_table(&report["rustypot"]);
}

/// Sync read and plain read agree.
fn check_positions(report: &Value, client: &str) {
    for (i, id) in IDS.iter().enumerate() {
        let whole = bytes(&report["memory"][id.to_string()]);
        let position = word(&items(report, "sync_position")[i]);
        let plain = u16::from_le_bytes([whole[56], whole[57]]);
        assert!(
            position.abs_diff(plain) <= 1,
            "{client}, servo {id}: {position} and {plain}"
        );
    }
}

fn check_writes(report: &Value, client: &str, base: u16) {
    let goals: Vec<_> = (0..IDS.len() as u16).map(|i| base + 10 * i).collect();
    for key in ["goals", "goal_echo"] {
        let seen: Vec<_> = items(report, key).iter().map(word).collect();
        assert_eq!(seen, goals, "{client}: {key}");
    }
    let eeprom = bytes(&report["eeprom"]);
    assert_eq!(u16::from(eeprom[0]), base % 100, "{client}");
    assert_eq!(
        u16::from_le_bytes([eeprom[10], eeprom[11]]),
        (base % 1000) | (1 << 11),
        "{client}"
    );
    assert_eq!(
        word(&report["read_only_kept"]),
        reg::MODEL_STS3215,
        "{client}"
    );
    for (here, goal) in items(report, "arrived").iter().zip(goals) {
        assert!(
            (here.as_i64().unwrap() - i64::from(goal)).abs() <= 3,
            "{client}: {here} instead of {goal}"
        );
    }
}

/// What the last client wrote is in the servos, the EEPROM of servo 6 included.
fn check_final_state(chain: &SharedChain, report: &Value) {
    let mut chain = chain.lock();
    let last = &mut chain.servos_mut()[IDS.len() - 1];
    last.power_cycle();
    assert_eq!(
        (last.get(&reg::P_COEFFICIENT), last.get(&reg::HOMING_OFFSET)),
        (0, -500)
    );
    assert_eq!(chain.servos()[0].get(&reg::GOAL_POSITION), 2500);
    assert_eq!(chain.servos()[0].get(&reg::ACCELERATION), 33);
    let extras = &report["scservo_sdk"]["extras"];
    assert_eq!(
        (&extras["before_action"], &extras["after_action"]),
        (&0.into(), &33.into())
    );
    assert_eq!(
        (&extras["reg_write"], &extras["action"]),
        (&0.into(), &0.into())
    );
}

/// rustypot's own register table agrees with ours, and its decoded values with the memory.
fn check_register_table(report: &Value) {
    let extras = &report["extras"];
    assert_eq!(extras["scan"], serde_json::json!(IDS));
    assert_eq!(extras["broadcast_scan"], serde_json::json!(IDS));
    let mut compared = 0;
    for (name, entry) in extras["table"].as_object().unwrap() {
        let (addr, size) = (
            entry[0].as_u64().unwrap() as u8,
            entry[1].as_u64().unwrap() as u8,
        );
        let ours =
            reg::by_addr(addr).unwrap_or_else(|| panic!("{name} at {addr} is not in our table"));
        assert_eq!((ours.addr, ours.size), (addr, size), "{name}");
        if let Some(bit) = entry[2].as_u64() {
            assert_eq!(ours.sign_bit.map(u64::from), Some(bit), "{name}");
        }
        compared += 1;
    }
    assert!(compared >= 50, "{compared}");
    assert_eq!(extras["named"]["model_number"], 777);
    assert_eq!(extras["named"]["homing_offset"], -70);
    assert_eq!(extras["named"]["min_position_limit"], 100);
}

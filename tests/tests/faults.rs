//! What breaks while an arm moves, and how it is left: with real processes, each given a time to
//! end in. Where the arm is emulated inside the test, its servos' registers are the proof.

use sinew_datasets::{Dataset, EpisodeMarks};
use sinew_drivers::feetech::registers as reg;
use sinew_tests::{Arm, JOINTS, Network, Outcome, Running, Simulator, wait_until, write_policy};
use std::time::Duration;
use tempfile::TempDir;

/// Well away from rest, in every joint that gravity pulls.
const AWAY: [f64; 6] = [0.6, -0.6, 0.5, 0.6, 0.4, 0.9];
/// What friction and the encoder leave between a pose and its goal, ticks.
const NEAR: i32 = 25;

/// A policy in a folder of its own.
struct Policy(TempDir);

impl Policy {
    fn new(name: &str, network: Network) -> Self {
        let folder = TempDir::new().unwrap();
        write_policy(folder.path(), name, network);
        Self(folder)
    }

    fn start(&self, arm: &Arm, arguments: &[&str]) -> Running {
        let folder = self.0.path().to_str().unwrap();
        let mut all = vec!["run", "--port", arm.port(), "--policy", folder, "--json"];
        all.extend(arguments);
        Running::sinew(&all)
    }
}

fn go_away() -> Policy {
    Policy::new("go-away", Network::GoTo(AWAY))
}

/// Runs a policy for a moment and checks that nothing is left of what happened before.
fn works_again(arm: &Arm) {
    let policy = go_away();
    let outcome = policy.start(arm, &["--seconds", "1.5"]).wait();
    outcome.succeeded();
    assert_eq!(
        outcome.json()["session"]["device"]["left"],
        "resting",
        "{outcome:?}"
    );
    assert!(arm.is_limp());
}

fn left_resting(arm: &Arm, outcome: &Outcome) {
    assert_eq!(
        outcome.json()["session"]["device"]["left"],
        "resting",
        "{outcome:?}"
    );
    assert!(arm.is_limp(), "{:?}", arm.registers(&reg::TORQUE_ENABLE));
    assert!(
        arm.ticks_from_rest() <= NEAR,
        "{} ticks from rest",
        arm.ticks_from_rest()
    );
}

/// A run in progress on a simulator without cameras.
fn busy(verb: &[&str]) -> (Simulator, Running) {
    let simulator = Simulator::start(&["--camera-fps", "0"]);
    let mut all = verb.to_vec();
    all.extend(["--port", simulator.port(), "--json"]);
    let mut client = Running::sinew(&all);
    std::thread::sleep(Duration::from_secs(4));
    client.still_runs();
    (simulator, client)
}

#[test]
fn the_simulator_dies_under_a_teleoperation() {
    let (simulator, client) = busy(&["teleop", "--teleop", "scripted"]);
    simulator.kill();
    let outcome = client.wait();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let said = outcome.complaint();
    assert!(
        said.contains("connection lost") || said.contains("the simulator ended"),
        "{said}"
    );
    assert!(said.contains("arm."), "names what was lost: {said}");
    assert!(
        outcome.stderr.contains("could not be told to stop"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_simulator_dies_under_a_policy() {
    let (simulator, client) = busy(&["run", "--policy", "policies/demo/so101-pick"]);
    simulator.kill();
    let outcome = client.wait();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let said = outcome.complaint();
    assert!(
        said.contains("connection lost") || said.contains("the simulator ended"),
        "{said}"
    );
    assert!(
        outcome.stderr.contains("could not be told to stop"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_simulator_dies_under_a_recording_and_saved_episodes_stay() {
    let folder = TempDir::new().unwrap();
    let dataset = folder.path().join("set");
    let simulator = Simulator::start(&["--camera-fps", "0"]);
    let at = dataset.to_str().unwrap();
    let arguments = [
        "record",
        "--port",
        simulator.port(),
        "--teleop",
        "scripted",
        "--dataset",
        at,
        "--episode-time",
        "3",
    ];
    let mut client = Running::sinew(&arguments);
    let saved = || Dataset::open(&dataset).is_ok_and(|set| set.episodes().len() == 2);
    wait_until("two episodes are saved", || {
        client.still_runs();
        saved()
    });
    std::thread::sleep(Duration::from_secs(1));
    simulator.kill();
    let outcome = client.wait();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let said = outcome.complaint();
    assert!(
        said.contains("connection lost") || said.contains("the simulator ended"),
        "{said}"
    );
    let set = Dataset::open(&dataset).unwrap();
    assert_eq!(set.episodes().len(), 2);
    for episode in set.episodes() {
        assert!(episode.length > 30, "{} rows", episode.length);
        assert_eq!(
            set.actions(episode.index).unwrap().len() as u64,
            episode.length
        );
    }
}

#[test]
fn the_recorder_is_killed_and_saved_episodes_stay() {
    let folder = TempDir::new().unwrap();
    let dataset = folder.path().join("set");
    let simulator = Simulator::start(&["--camera-fps", "0"]);
    let at = dataset.to_str().unwrap();
    let mut all = vec![
        "record",
        "--port",
        simulator.port(),
        "--teleop",
        "scripted",
        "--dataset",
        at,
        "--episode-time",
        "3",
    ];
    let mut client = Running::sinew(&all);
    let episodes = || Dataset::open(&dataset).map_or(0, |set| set.episodes().len());
    wait_until("an episode is saved", || {
        client.still_runs();
        episodes() == 1
    });
    std::thread::sleep(Duration::from_secs(1));
    client.signal(libc::SIGKILL);
    assert_eq!(client.wait().code, None);
    assert_eq!(episodes(), 1);
    all.extend(["--resume", "--episodes", "1", "--json"]);
    let outcome = Running::to_end(&all);
    outcome.succeeded();
    // One before the crash, one after it, and the one that it interrupted, if one had begun.
    let marks = EpisodeMarks::read(&dataset).unwrap();
    let recovered = marks.episodes.values().filter(|mark| mark.recovered);
    assert_eq!(episodes(), 2 + recovered.count());
}

#[test]
fn the_emulator_dies() {
    let mut arm = Arm::start();
    let policy = go_away();
    let mut client = policy.start(&arm, &[]);
    arm.wait_for_motion(&mut client);
    arm.kill_emulator();
    let outcome = client.wait();
    outcome.failed(1, &["arm.port", "connection lost"]);
    assert!(
        outcome.stderr.contains("could not be told to stop"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_adapter_is_pulled_out_and_put_back() {
    let arm = Arm::start();
    let policy = go_away();
    let mut client = policy.start(&arm, &[]);
    arm.wait_for_motion(&mut client);
    arm.inject("unplug");
    let outcome = client.wait();
    outcome.failed(1, &["arm.port", "connection lost", "check the cable"]);
    assert!(
        outcome.stderr.contains("could not be told to stop"),
        "{}",
        outcome.stderr
    );
    assert!(arm.is_stiff(), "nothing could reach the servos");
    arm.faults().clear();
    wait_until("the port is back", || arm.is_plugged());
    works_again(&arm);
}

#[test]
fn a_policy_that_diverges_is_named_and_the_arm_rests() {
    let arm = Arm::start();
    for engine in ["rten", "ort"] {
        let policy = Policy::new("runs-wild", Network::Diverges(0.3));
        let outcome = policy.start(&arm, &["--engine", engine]).wait();
        outcome.failed(1, &["runs-wild", "shoulder_pan", "not a finite number"]);
        assert!(arm.is_limp());
        assert!(
            arm.ticks_from_rest() <= NEAR,
            "{} ticks from rest",
            arm.ticks_from_rest()
        );
    }
}

#[test]
fn a_killed_client_leaves_servos_with_their_limits_and_another_takes_over() {
    let arm = Arm::start();
    let policy = go_away();
    let mut client = policy.start(&arm, &[]);
    arm.wait_for_motion(&mut client);
    client.signal(libc::SIGKILL);
    assert_eq!(client.wait().code, None);
    assert!(arm.is_stiff(), "an arm that nobody switched off holds");
    assert_eq!(
        arm.registers(&reg::MIN_POSITION_LIMIT),
        [795, 909, 945, 966, 0, 1421]
    );
    assert_eq!(
        arm.registers(&reg::MAX_POSITION_LIMIT),
        [3299, 3185, 3149, 3128, 4095, 2673]
    );
    let gripper = |register| arm.registers(register)[5];
    assert_eq!(gripper(&reg::MAX_TORQUE_LIMIT), 500);
    assert_eq!(gripper(&reg::TORQUE_LIMIT), 500);
    assert_eq!(gripper(&reg::OVERLOAD_TORQUE), 25);
    for (goal, joint) in arm.registers(&reg::GOAL_POSITION).into_iter().zip(0..) {
        let limits =
            [reg::MIN_POSITION_LIMIT, reg::MAX_POSITION_LIMIT].map(|r| arm.registers(&r)[joint]);
        assert!(
            (limits[0]..=limits[1]).contains(&goal),
            "{}: goal {goal} outside {limits:?}",
            JOINTS[joint]
        );
    }
    works_again(&arm);
}

#[test]
fn a_noisy_line_is_counted_and_the_run_goes_on() {
    let arm = Arm::start();
    let policy = go_away();
    let mut client = policy.start(&arm, &["--seconds", "6"]);
    arm.wait_for_motion(&mut client);
    arm.inject("noise:0.01");
    std::thread::sleep(Duration::from_secs(3));
    arm.faults().clear();
    let outcome = client.wait();
    outcome.succeeded();
    let counters = &outcome.json()["session"]["device"]["counters"];
    let sum = |key: &str| {
        counters[key]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_u64().unwrap())
            .sum::<u64>()
    };
    assert!(
        sum("joint_timeouts") + sum("joint_corrupt") > 0,
        "{counters}"
    );
    left_resting(&arm, &outcome);
}

#[test]
fn garbage_on_the_line_ends_in_a_clear_error_or_not_at_all() {
    let arm = Arm::start();
    let policy = go_away();
    let mut client = policy.start(&arm, &["--seconds", "5"]);
    arm.wait_for_motion(&mut client);
    arm.inject("noise:0.4");
    let outcome = client.wait();
    match outcome.code {
        Some(0) => outcome.succeeded(),
        _ => outcome.failed(1, &["arm.port"]),
    }
    // Whatever is said about how the arm was left must be true.
    let unknown = format!("{}{}", outcome.stderr, outcome.stdout)
        .contains("could not be told to stop")
        || outcome.stdout.contains("\"unknown\"");
    assert!(
        unknown || arm.is_limp(),
        "{outcome:?}, {:?}",
        arm.registers(&reg::TORQUE_ENABLE)
    );
    arm.faults().clear();
    works_again(&arm);
}

#[test]
fn a_servo_that_falls_silent_is_named() {
    let arm = Arm::start();
    let policy = go_away();
    let mut client = policy.start(&arm, &[]);
    arm.wait_for_motion(&mut client);
    arm.inject("silent:3");
    let outcome = client.wait();
    outcome.failed(1, &["elbow_flex", "no reply", "check its cable"]);
    assert!(
        arm.is_limp(),
        "even the servo that does not answer: {:?}",
        arm.registers(&reg::TORQUE_ENABLE)
    );
}

#[test]
fn a_servo_that_answers_now_and_then_is_counted_alone() {
    let arm = Arm::start();
    let policy = go_away();
    let mut client = policy.start(&arm, &["--seconds", "5"]);
    arm.wait_for_motion(&mut client);
    arm.inject("silent:3@0.3");
    let outcome = client.wait();
    outcome.succeeded();
    let counters = outcome.json()["session"]["device"]["counters"].clone();
    let timeouts: Vec<u64> = counters["joint_timeouts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .collect();
    // A busy machine may cost all joints a cycle now and then; the silent one stands out.
    let others = (0..6)
        .filter(|i| *i != 2)
        .map(|i| timeouts[i])
        .max()
        .unwrap();
    assert!(
        timeouts[2] > 10 && timeouts[2] > 3 * others,
        "the others stay readable: {counters}"
    );
    left_resting(&arm, &outcome);
}

#[test]
fn signals_end_a_run_gracefully() {
    let arm = Arm::start();
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let policy = go_away();
        let mut client = policy.start(&arm, &[]);
        arm.wait_for_motion(&mut client);
        client.signal(signal);
        let outcome = client.wait();
        assert_eq!(outcome.code, Some(130), "{outcome:?}");
        assert!(!outcome.stderr.contains("sinew: "), "{}", outcome.stderr);
        left_resting(&arm, &outcome);
    }
}

#[test]
fn a_second_signal_ends_it_where_the_arm_is() {
    let arm = Arm::start();
    let policy = go_away();
    let mut client = policy.start(&arm, &[]);
    arm.wait_for_motion(&mut client);
    client.signal(libc::SIGINT);
    std::thread::sleep(Duration::from_millis(200));
    client.signal(libc::SIGINT);
    let outcome = client.wait();
    assert_eq!(outcome.code, Some(130), "{outcome:?}");
    assert_eq!(outcome.json()["session"]["device"]["left"], "limp");
    assert!(arm.is_limp());
    assert!(
        arm.ticks_from_rest() > NEAR,
        "it did not take the time to go to rest"
    );
}

#[test]
fn an_overloaded_servo_is_released_and_counted() {
    let arm = Arm::start();
    let policy = go_away();
    let mut client = policy.start(&arm, &["--seconds", "4"]);
    arm.wait_for_motion(&mut client);
    arm.inject("overload:6");
    let one_is_off = [1, 1, 1, 1, 1, 0];
    wait_until("the gripper is released", || {
        client.still_runs();
        arm.registers(&reg::TORQUE_ENABLE) == one_is_off
    });
    // The alarm goes with the torque; the joint stays off, and the others go on.
    arm.faults().clear();
    std::thread::sleep(Duration::from_secs(1));
    client.still_runs();
    assert_eq!(arm.registers(&reg::TORQUE_ENABLE), one_is_off);
    let outcome = client.wait();
    outcome.succeeded();
    let device = &outcome.json()["session"]["device"];
    let safety = &device["counters"]["safety"];
    assert_eq!(safety["alarms"], serde_json::json!([0, 0, 0, 0, 0, 1]));
    assert_eq!(
        (&safety["releases"], &device["left"]),
        (&1.into(), &"limp".into())
    );
    assert!(arm.is_limp());
}

//! `sinew sim so101-pick --serve`, by a client that knows only the documented bytes.

use serde_json::{Value, json};
use sinew_hardware::{Blueprint, Units};
use sinew_sim::pick::{DOF, DONE_FOR_S, LockstepPick, ROBOT, ScriptedPick};
use sinew_tests::{LIMIT, Running, wait_until};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Rendering a whole episode on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(180);

/// A client as another language would write it.
struct Client(UnixStream);

impl Client {
    fn connect(socket: &Path) -> (Self, Value) {
        let stream = UnixStream::connect(socket).expect("the simulator listens");
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut client = Self(stream);
        let (hello, _) = client.receive().expect("hello");
        (client, hello)
    }

    fn send(&mut self, header: &[u8], payload: &[u8]) {
        let mut message = (header.len() as u32).to_le_bytes().to_vec();
        message.extend((payload.len() as u32).to_le_bytes());
        message.extend(header);
        message.extend(payload);
        self.0.write_all(&message).unwrap();
    }

    /// One message, or `None` when the connection was closed.
    fn receive(&mut self) -> Option<(Value, Vec<u8>)> {
        let mut lengths = [0; 8];
        self.0.read_exact(&mut lengths).ok()?;
        let length = |i: usize| u32::from_le_bytes(lengths[i..i + 4].try_into().unwrap()) as usize;
        let (mut header, mut payload) = (vec![0; length(0)], vec![0; length(4)]);
        self.0.read_exact(&mut header).ok()?;
        self.0.read_exact(&mut payload).ok()?;
        Some((serde_json::from_slice(&header).unwrap(), payload))
    }

    fn ask(&mut self, request: &Value) -> (Value, Vec<u8>) {
        self.send(request.to_string().as_bytes(), &[]);
        self.receive().expect("an answer")
    }

    /// Checks that the next message is an error with `word`.
    fn refused(&mut self, word: &str) {
        let (answer, payload) = self.receive().expect("an answer");
        assert_eq!(answer["type"], "error", "{answer}");
        assert!(payload.is_empty());
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(word), "no `{word}` in: {message}");
    }
}

fn start(folder: &TempDir) -> (Running, std::path::PathBuf) {
    let socket = folder.path().join("serve.sock");
    let running = Running::sinew(&[
        "sim",
        "so101-pick",
        "--serve",
        socket.to_str().unwrap(),
        "--camera-size",
        "32x24",
    ]);
    wait_until("the simulator listens", || socket.exists());
    (running, socket)
}

fn reset(seed: u64) -> Value {
    json!({ "type": "reset", "seed": seed })
}

fn step(action: &[f64], seconds: f64) -> Value {
    json!({ "type": "step", "action": action, "seconds": seconds })
}

/// Some steps of an episode: everything that was answered.
fn episode(client: &mut Client, seed: u64) -> Vec<(Value, Vec<u8>)> {
    let mut seen = vec![client.ask(&reset(seed))];
    for k in 0..5 {
        let action = [f64::from(k), -80.0, 70.0, 80.0, 5.0, 40.0];
        seen.push(client.ask(&step(&action, 0.1)));
    }
    seen
}

#[test]
fn worlds_wait_for_their_clients_and_are_the_same_in_every_run() {
    let folder = TempDir::new().unwrap();
    let (_running, socket) = start(&folder);
    let (mut one, hello) = Client::connect(&socket);
    assert_eq!(hello["version"], 1);
    assert_eq!(hello["world"], "so101-pick");
    assert_eq!(hello["joints"][0], "shoulder_pan.pos");
    assert_eq!(
        hello["cameras"],
        json!([{ "name": "front", "width": 32, "height": 24 }, { "name": "wrist", "width": 32, "height": 24 }])
    );
    let first = episode(&mut one, 7);
    let (last, images) = first.last().unwrap();
    assert_eq!(images.len(), 2 * 3 * 32 * 24);
    assert!(
        (last["time_s"].as_f64().unwrap() - 0.5).abs() < 1e-9,
        "{last}"
    );
    assert_eq!(
        (&last["reward"], &last["success"]),
        (&json!(0.0), &json!(false))
    );
    assert!(
        last["state"][5].as_f64().unwrap() > 20.0,
        "the gripper opened: {last}"
    );
    // A second world beside the first, which another seed has gone through before.
    let (mut two, _) = Client::connect(&socket);
    let other = episode(&mut two, 8);
    assert_ne!(first[0].1, other[0].1, "another seed, another picture");
    assert_eq!(first, episode(&mut two, 7));
    assert_eq!(first, episode(&mut one, 7));
}

#[test]
fn a_served_world_is_the_one_that_evaluations_play_in() {
    let folder = TempDir::new().unwrap();
    let (_running, socket) = start(&folder);
    let (mut client, _) = Client::connect(&socket);
    let units = Units::default_of(&Blueprint::load(ROBOT).unwrap()).unwrap();
    let mut world = LockstepPick::new(5, None).unwrap();
    let mut operator = ScriptedPick::new(world.task()).unwrap();
    let (mut answer, _) = client.ask(&reset(5));
    let mut done_since = None;
    // 30 Hz is no multiple of a physics step.
    for step_number in 0..900 {
        let seen = world.observe().unwrap();
        let mut state = [0.0; DOF];
        units.to_lerobot(&seen.positions, &mut state);
        let served: Vec<f32> = serde_json::from_value(answer["state"].clone()).unwrap();
        assert_eq!(served, state, "step {step_number}");
        let time_s = answer["time_s"].as_f64().unwrap();
        assert!((time_s - seen.state.time_s).abs() < 1e-9, "{time_s}");
        done_since = seen
            .state
            .success
            .then(|| done_since.unwrap_or(step_number));
        let success = done_since.is_some_and(|since| step_number - since >= 15);
        assert_eq!(answer["success"], json!(success), "step {step_number}");
        assert_eq!(world.is_done_for(DONE_FOR_S), success);
        if success {
            assert_eq!(answer["reward"], 1.0);
            return;
        }
        let wanted = operator
            .tick(seen.state.time_s, &seen.positions, &seen.state)
            .unwrap();
        // In the middle of an encoder step, where the single precision of the action changes nothing.
        let encoder = std::f64::consts::TAU / 4096.0;
        let told = wanted.map(|rad| (rad / encoder).round() * encoder);
        let mut action = [0.0; DOF];
        units.to_lerobot(&told, &mut action);
        world.advance(&told, 1.0 / 30.0).unwrap();
        (answer, _) = client.ask(&step(&action.map(f64::from), 1.0 / 30.0));
    }
    panic!("the operator did not solve it: {answer}");
}

#[test]
fn wrong_steps_are_refused_and_the_world_goes_on() {
    let folder = TempDir::new().unwrap();
    let (_running, socket) = start(&folder);
    let (mut client, _) = Client::connect(&socket);
    let still = [0.0; 6];
    client.send(step(&still, 0.1).to_string().as_bytes(), &[]);
    client.refused("send a reset first");
    client.ask(&reset(1));
    for (action, seconds, word) in [
        (&still[..5], 0.1, "5 values"),
        (&[0.0; 1000][..], 0.1, "1000 values"),
        (&still[..], 0.0, "choose more than 0"),
        (&still[..], 1e9, "at most 1 s"),
        (&still[..], -0.1, "choose more than 0"),
    ] {
        client.send(step(action, seconds).to_string().as_bytes(), &[]);
        client.refused(word);
    }
    let (answer, _) = client.ask(&step(&[1e300; 6], 0.1));
    assert_eq!(answer["type"], "observation", "joints end at their limits");
}

#[test]
fn bytes_that_are_no_protocol_end_the_connection_but_not_the_simulator() {
    let folder = TempDir::new().unwrap();
    let (running, socket) = start(&folder);
    let cases: [(&[u8], &[u8], &str); 5] = [
        (b"not json", b"", "not valid"),
        (br#"{"type":"dance"}"#, b"", "dance"),
        (
            br#"{"type":"step","action":[NaN],"seconds":0.1}"#,
            b"",
            "not valid",
        ),
        (br#"{"type":"reset","seed":-1}"#, b"", "not valid"),
        (br#"{"type":"reset","seed":1}"#, b"surplus", "payload"),
    ];
    for (header, payload, word) in cases {
        let (mut client, _) = Client::connect(&socket);
        client.send(header, payload);
        client.refused(word);
        assert!(client.receive().is_none(), "the connection is closed");
    }
    let (mut client, _) = Client::connect(&socket);
    client.0.write_all(&[0xff; 64]).unwrap();
    client.refused("longer than");
    // Cut off in the middle of a message.
    let (mut client, _) = Client::connect(&socket);
    client.0.write_all(&[20, 0, 0, 0, 0]).unwrap();
    drop(client);
    let (mut client, _) = Client::connect(&socket);
    assert_eq!(client.ask(&reset(3)).0["type"], "observation");
    running.signal(libc::SIGINT);
    let outcome = running.wait();
    outcome.succeeded();
    assert!(!socket.exists(), "the socket is removed");
}

#[test]
fn lockstep_recordings_are_the_same_in_every_run() {
    let folder = TempDir::new().unwrap();
    let record = |name: &str| {
        let dataset = folder.path().join(name);
        let outcome = Running::sinew(&[
            "record",
            "--lockstep",
            "--teleop",
            "scripted",
            "--images",
            "--fps",
            "10",
            "--camera-size",
            "32x24",
            "--noise",
            "0.05",
            "--episodes",
            "1",
            "--seed",
            "5",
            "--json",
            "--dataset",
            dataset.to_str().unwrap(),
        ])
        .wait_for(PATIENCE);
        outcome.succeeded();
        let report = outcome.json();
        assert_eq!(report["episodes"][0]["success"], true, "{report}");
        assert!(
            report["episodes"][0]["frames"].as_u64() > Some(80),
            "{report}"
        );
        std::fs::read(dataset.join("data/chunk-000/file-000.parquet")).unwrap()
    };
    assert!(record("one") == record("two"));
}

#[test]
fn lockstep_recording_says_what_does_not_go_together() {
    let folder = TempDir::new().unwrap();
    let dataset = folder.path().join("d");
    for (extra, word) in [
        (&["--teleop", "keyboard"][..], "--teleop scripted"),
        (&["--teleop", "scripted", "--noise", "-1"][..], "--noise"),
        (&["--teleop", "scripted", "--robot", "so100"][..], "so101"),
    ] {
        let mut arguments = vec![
            "record",
            "--lockstep",
            "--dataset",
            dataset.to_str().unwrap(),
        ];
        arguments.extend(extra);
        Running::to_end(&arguments).failed(2, &[word]);
        assert!(!dataset.exists(), "nothing half-made stays behind");
    }
    for (option, value) in [
        ("--port", Some("sim")),
        ("--view", Some("spawn")),
        ("--topics", None),
        ("--supervisor", Some("/o/s")),
        ("--camera-timeout", Some("1")),
    ] {
        let set = dataset.to_str().unwrap();
        let mut arguments = vec!["record", "--lockstep", "--dataset", set, option];
        arguments.extend(value);
        let outcome = Running::to_end(&arguments);
        let refusal = format!("'--lockstep' cannot be used with '{option}");
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains(&refusal), "{outcome:?}");
        assert!(!dataset.exists(), "nothing half-made stays behind");
    }
}

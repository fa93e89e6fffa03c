//! Our topics against independent ROS 2 peers: rosbags judges bytes and hashes, zenoh-ros2-sdk
//! talks to a live session.

use serde_json::{Value, json};
use sinew_runtime::topics::messages::*;
use sinew_runtime::topics::{Node, TopicsConfig};
use sinew_tests::{free_port, peer_python, root, run_peer, wait_until};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PEER: &str = "topics_peers.py";

fn header() -> Header {
    Header {
        stamp: Time {
            sec: 12,
            nanosec: 34,
        },
        frame_id: "base".into(),
    }
}

fn joint_state() -> JointStateMsg {
    JointStateMsg {
        header: header(),
        name: vec!["shoulder_pan".into(), "gripper".into()],
        position: vec![0.25, -1.5],
        velocity: vec![0.0, 3.0],
        effort: vec![],
    }
}

fn config(port: u16, listens: bool) -> TopicsConfig {
    let endpoint = vec![format!("tcp/127.0.0.1:{port}")];
    let mut config = TopicsConfig::local("/so101", "test");
    if listens {
        config.listen = endpoint;
    } else {
        config.listen = vec!["tcp/127.0.0.1:0".into()];
        config.connect = endpoint;
    }
    config
}

fn decoded_by_rosbags<M: Message>(ros_type: &str, message: &M) -> Value {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    run_peer("light", PEER, &["decode", ros_type, &hex])
}

#[test]
fn rosbags_computes_the_hashes_that_we_ship() {
    let hashes = run_peer("light", PEER, &["hashes"]);
    let ours = [
        ("std_msgs/msg/String", StringMsg::HASH),
        ("sensor_msgs/msg/JointState", JointStateMsg::HASH),
        ("sensor_msgs/msg/Image", ImageMsg::HASH),
        ("sensor_msgs/msg/CompressedImage", CompressedImageMsg::HASH),
        (
            "trajectory_msgs/msg/JointTrajectory",
            JointTrajectoryMsg::HASH,
        ),
        (
            "diagnostic_msgs/msg/DiagnosticArray",
            DiagnosticArrayMsg::HASH,
        ),
    ];
    for (ros_type, hash) in ours {
        assert_eq!(hashes[ros_type], hash, "{ros_type}");
    }
    macro_rules! arrays {
        ($($number:ty)*) => {
            [$((MultiArray::<$number>::ros_name(), MultiArray::<$number>::HASH)),*]
        };
    }
    for (ros_type, hash) in arrays!(f32 f64 i8 i16 i32 i64 u8 u16 u32 u64) {
        assert_eq!(hashes[&ros_type], hash, "{ros_type}");
    }
}

#[test]
fn rosbags_reads_every_message_that_we_write() {
    let head = json!({"stamp": {"sec": 12, "nanosec": 34}, "frame_id": "base"});
    assert_eq!(
        decoded_by_rosbags("sensor_msgs/msg/JointState", &joint_state()),
        json!({"header": head, "name": ["shoulder_pan", "gripper"], "position": [0.25, -1.5], "velocity": [0.0, 3.0], "effort": []})
    );
    let image = ImageMsg {
        header: header(),
        height: 1,
        width: 2,
        encoding: "rgb8".into(),
        is_bigendian: 0,
        step: 6,
        data: vec![1, 2, 3, 4, 5, 6],
    };
    let decoded = decoded_by_rosbags("sensor_msgs/msg/Image", &image);
    assert_eq!(
        (&decoded["data"], &decoded["step"], &decoded["encoding"]),
        (&json!([1, 2, 3, 4, 5, 6]), &json!(6), &json!("rgb8"))
    );
    let compressed = CompressedImageMsg {
        header: header(),
        format: "jpeg".into(),
        data: vec![255, 216],
    };
    assert_eq!(
        decoded_by_rosbags("sensor_msgs/msg/CompressedImage", &compressed)["data"],
        json!([255, 216])
    );
    let point = TrajectoryPoint {
        positions: vec![1.0],
        velocities: vec![],
        accelerations: vec![],
        effort: vec![],
        time_from_start: Time {
            sec: 0,
            nanosec: 33,
        },
    };
    let chunk = JointTrajectoryMsg {
        header: header(),
        joint_names: vec!["a".into()],
        points: vec![point.clone(), point],
    };
    let decoded = decoded_by_rosbags("trajectory_msgs/msg/JointTrajectory", &chunk);
    assert_eq!(
        (
            &decoded["points"][1]["positions"],
            &decoded["points"][1]["time_from_start"]["nanosec"]
        ),
        (&json!([1.0]), &json!(33))
    );
    let health = DiagnosticArrayMsg {
        header: header(),
        status: vec![DiagnosticStatus {
            level: 1,
            name: "loop".into(),
            message: "late".into(),
            hardware_id: "so101".into(),
            values: vec![KeyValue {
                key: "late ticks".into(),
                value: "3".into(),
            }],
        }],
    };
    assert_eq!(
        decoded_by_rosbags("diagnostic_msgs/msg/DiagnosticArray", &health)["status"][0]["values"],
        json!([{"key": "late ticks", "value": "3"}])
    );
}

#[test]
fn we_read_what_rosbags_writes() {
    let hex = run_peer("light", PEER, &["encode"])["hex"]
        .as_str()
        .unwrap()
        .to_owned();
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect();
    let message = JointStateMsg::decode(&bytes).unwrap();
    assert_eq!(message.name, ["a", "bcd"]);
    assert_eq!(
        (message.position, message.velocity, message.effort),
        (vec![0.5, -1.0], vec![0.25], vec![])
    );
}

#[test]
fn zenoh_ros2_sdk_receives_our_joint_states() {
    let port = free_port();
    let node = Node::open(config(port, true)).unwrap();
    let mut publisher = node.publisher::<JointStateMsg>("joint_states").unwrap();
    let mut peer = Command::new(peer_python("light"))
        .arg(root().join("tests/peers").join(PEER))
        .args(["listen", &port.to_string(), "/so101/joint_states", "5"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(40);
    while peer.try_wait().unwrap().is_none() && Instant::now() < deadline {
        publisher.publish(&joint_state()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = peer.wait_with_output().unwrap();
    let heard: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(heard["received"].as_array().unwrap().len(), 5);
    assert_eq!(
        heard["received"][4],
        json!({"name": ["shoulder_pan", "gripper"], "position": [0.25, -1.5]})
    );
}

#[test]
fn we_receive_commands_from_zenoh_ros2_sdk() {
    let port = free_port();
    let node = Node::open(config(port, true)).unwrap();
    let (sender, received) = mpsc::sync_channel(64);
    let _subscription = node.subscribe::<JointStateMsg>("joint_command", move |m, attachment| {
        let _ = sender.try_send((m, attachment));
    });
    run_peer(
        "light",
        PEER,
        &[
            "command",
            &port.to_string(),
            "/so101/joint_command",
            "elbow_flex,gripper",
            "0.5,1.25",
            "2",
        ],
    );
    let (message, attachment) = received.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(
        (message.name, message.position),
        (
            vec!["elbow_flex".to_owned(), "gripper".to_owned()],
            vec![0.5, 1.25]
        )
    );
    assert!(
        attachment.is_some(),
        "rmw_zenoh peers attach sequence, time and id"
    );
}

#[test]
fn images_travel_in_shared_memory_between_two_sessions() {
    let port = free_port();
    let robot = Node::open(config(port, true)).unwrap();
    let viewer = Node::open(config(port, false)).unwrap();
    let (sender, received) = mpsc::sync_channel(64);
    let subscription = viewer
        .subscribe::<ImageMsg>("front/image_raw", move |m, _| {
            let _ = sender.try_send(m);
        })
        .unwrap();
    let mut publisher = robot.image_publisher("front/image_raw").unwrap();
    let pixels: Vec<u8> = (0..320 * 240 * 3).map(|i| (i % 251) as u8).collect();
    let frame = sinew_runtime::Frame::new(320, 240, pixels.clone());
    let message = loop {
        publisher
            .publish(&frame, "front", Time { sec: 1, nanosec: 2 })
            .unwrap();
        if let Ok(message) = received.recv_timeout(Duration::from_millis(100)) {
            break message;
        }
    };
    assert_eq!(
        (
            message.width,
            message.height,
            message.step,
            message.encoding.as_str()
        ),
        (320, 240, 960, "rgb8")
    );
    assert_eq!(message.data, pixels);
    assert!(publisher.shared > 0 && publisher.copied == 0);
    assert_eq!(subscription.rejected(), 0);
}

#[test]
fn a_node_that_comes_and_goes_is_noticed() {
    let port = free_port();
    let robot = Node::open(config(port, true)).unwrap();
    let (sender, lost) = mpsc::sync_channel(64);
    let watch = robot
        .watch_node("/so101/operator", move || {
            let _ = sender.try_send(());
        })
        .unwrap();
    assert!(!watch.is_present());
    let operator = Node::open(TopicsConfig {
        node: "operator".into(),
        ..config(port, false)
    })
    .unwrap();
    wait_until("the operator is seen", || watch.is_present());
    assert!(lost.try_recv().is_err());
    drop(operator);
    lost.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(!watch.is_present());
    assert!(robot.watch_node("/so101/*", || {}).is_err());
}

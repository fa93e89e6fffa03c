//! A ROS 2 peer that is not ours moves the arm: zenoh-ros2-sdk publishes a joint command, `sinew
//! teleop` obeys, and the servos' registers show it.

use sinew_tests::{Arm, Running, free_port, run_peer, wait_until};

const PEER: &str = "topics_peers.py";
/// What the servo's encoder and friction leave between goal and position, rad.
const NEAR: f64 = 0.03;

#[test]
fn a_ros_peer_moves_two_joints_and_the_others_stay() {
    let arm = Arm::start();
    let port = free_port();
    let endpoint = format!("tcp/127.0.0.1:{port}");
    let before: Vec<f64> = (0..6).map(|joint| arm.position(joint)).collect();
    let arguments = [
        "teleop",
        "--port",
        arm.port(),
        "--teleop",
        "topic",
        "--listen",
        &endpoint,
        "--json",
    ];
    let mut client = Running::sinew(&arguments);
    wait_until("the endpoint listens", || {
        client.still_runs();
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    assert!(arm.is_limp(), "nobody has commanded anything yet");
    let wanted = [(0, 0.5), (5, 1.0)];
    let command = [
        "command",
        &port.to_string(),
        "/so101/joint_command",
        "gripper,shoulder_pan",
        "1.0,0.5",
        "5",
    ];
    let sent = run_peer("light", PEER, &command)["sent"].as_u64().unwrap();
    assert!(sent > 20, "{sent} commands");
    client.still_runs();
    let now: Vec<f64> = (0..6).map(|joint| arm.position(joint)).collect();
    for (joint, angle) in wanted {
        assert!(
            (now[joint] - angle).abs() < NEAR,
            "joint {joint} at {} rad, wanted {angle}",
            now[joint]
        );
    }
    for joint in 1..5 {
        assert!(
            (now[joint] - before[joint]).abs() < NEAR,
            "joint {joint} moved to {} rad",
            now[joint]
        );
    }
    client.signal(libc::SIGINT);
    let outcome = client.wait();
    assert_eq!(outcome.code, Some(130), "{outcome:?}");
    assert_eq!(outcome.json()["device"]["left"], "resting");
    assert!(arm.is_limp());
}

#[test]
fn a_ros_peer_hears_the_joints_of_a_running_arm() {
    let arm = Arm::start();
    let port = free_port();
    let endpoint = format!("tcp/127.0.0.1:{port}");
    let arguments = [
        "teleop",
        "--port",
        arm.port(),
        "--teleop",
        "topic",
        "--listen",
        &endpoint,
        "--json",
    ];
    let mut client = Running::sinew(&arguments);
    wait_until("the endpoint listens", || {
        client.still_runs();
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let heard = run_peer(
        "light",
        PEER,
        &["listen", &port.to_string(), "/so101/joint_states", "10"],
    );
    let heard = heard["received"].as_array().unwrap();
    assert_eq!(heard.len(), 10);
    assert_eq!(heard[9]["name"], serde_json::json!(sinew_tests::JOINTS));
    for (joint, position) in heard[9]["position"].as_array().unwrap().iter().enumerate() {
        let apart = position.as_f64().unwrap() - arm.position(joint);
        assert!(apart.abs() < 1e-3, "joint {joint}: {apart} rad apart");
    }
    client.still_runs();
}

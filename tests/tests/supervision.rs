//! The emergency stop from elsewhere: by message, and by the loss of a supervisor, a ROS node of
//! zenoh-ros2-sdk that is killed. The servos' registers show whether the arm obeys.

use sinew_runtime::topics::messages::{Header, JointStateMsg, StringMsg, Time};
use sinew_runtime::topics::{Node, TopicPublisher, TopicsConfig};
use sinew_tests::{Arm, Running, free_port, peer_python, root, wait_until};
use std::io::BufRead;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the servo's encoder and friction leave between goal and position, rad.
const NEAR: f64 = 0.03;
/// Time in which an arm that obeys would be where it is told to go.
const MOVES_WITHIN: Duration = Duration::from_secs(2);

/// A ROS node that is not ours.
struct Station(Child);

impl Station {
    fn start(port: u16) -> Self {
        let mut child = Command::new(peer_python("light"))
            .arg(root().join("tests/peers/topics_peers.py"))
            .args(["station", &port.to_string(), "/operator", "station"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer's Python starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("a pipe");
        std::io::BufReader::new(out)
            .read_line(&mut line)
            .expect("the peer speaks");
        assert!(line.contains("ready"), "{line}");
        Self(child)
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An arm that obeys `joint_command`, and who commands it.
struct Commanded {
    arm: Arm,
    client: Running,
    commands: TopicPublisher<JointStateMsg>,
    node: Node,
}

impl Commanded {
    fn start(port: u16, supervisor: &[&str]) -> (Self, Option<Station>) {
        let arm = Arm::start();
        let endpoint = format!("tcp/127.0.0.1:{port}");
        let mut arguments = vec!["teleop", "--port", arm.port(), "--teleop", "topic"];
        arguments.extend(["--listen", &endpoint, "--json"]);
        arguments.extend(supervisor);
        let mut client = Running::sinew(&arguments);
        wait_until("the endpoint listens", || {
            client.still_runs();
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let station = (!supervisor.is_empty()).then(|| {
            assert!(arm.is_limp(), "nothing starts without the supervisor");
            Station::start(port)
        });
        let node = Node::open(TopicsConfig {
            connect: vec![endpoint],
            listen: vec!["tcp/127.0.0.1:0".into()],
            ..TopicsConfig::local("/so101", "commander")
        })
        .expect("a node");
        let commands = node.publisher("joint_command").expect("a publisher");
        let commanded = Self {
            arm,
            client,
            commands,
            node,
        };
        (commanded, station)
    }

    /// Commands the first joint for as long as it may take, and says whether it went there.
    fn goes_to(&mut self, angle: f64) -> bool {
        let start = Instant::now();
        while start.elapsed() < MOVES_WITHIN {
            self.client.still_runs();
            self.command(angle);
            std::thread::sleep(Duration::from_millis(50));
        }
        (self.arm.position(0) - angle).abs() < NEAR
    }

    fn command(&mut self, angle: f64) {
        let message = JointStateMsg {
            header: Header {
                stamp: Time { sec: 0, nanosec: 0 },
                frame_id: String::new(),
            },
            name: vec!["shoulder_pan".into()],
            position: vec![angle],
            velocity: vec![],
            effort: vec![],
        };
        self.commands.publish(&message).expect("it is sent");
    }

    fn say(&self, topic: &str) {
        let mut publisher = self
            .node
            .publisher::<StringMsg>(topic)
            .expect("a publisher");
        // Until zenoh has told the other side of the new publisher.
        std::thread::sleep(Duration::from_millis(500));
        let message = StringMsg {
            data: "by a test".into(),
        };
        publisher.publish(&message).expect("it is sent");
        std::thread::sleep(Duration::from_millis(200));
    }

    fn end(self) -> serde_json::Value {
        self.client.signal(libc::SIGINT);
        let outcome = self.client.wait();
        assert_eq!(outcome.code, Some(130), "{outcome:?}");
        outcome.json()
    }
}

#[test]
fn an_arm_stops_when_its_supervisor_is_killed_until_it_is_back_and_says_so() {
    let port = free_port();
    let (mut commanded, station) = Commanded::start(port, &["--supervisor", "/operator/station"]);
    wait_until("the arm obeys", || commanded.goes_to(0.4));
    drop(station);
    let mut goal = 0.4;
    wait_until("the stop is tripped", || {
        goal = 0.6 - goal;
        !commanded.goes_to(goal)
    });
    assert!(commanded.arm.is_stiff(), "stopped means held, not dropped");
    commanded.say("estop_release");
    assert!(!commanded.goes_to(0.8), "nobody supervises");
    let _station = Station::start(port);
    assert!(!commanded.goes_to(0.8), "a stop stays until it is released");
    commanded.say("estop_release");
    assert!(commanded.goes_to(0.8));
    let report = commanded.end();
    assert_eq!(report["device"]["counters"]["safety"]["estops"], 1);
}

#[test]
fn a_message_stops_the_arm_and_another_releases_it() {
    let (mut commanded, _) = Commanded::start(free_port(), &[]);
    wait_until("the arm obeys", || commanded.goes_to(0.4));
    commanded.say("estop");
    assert!(!commanded.goes_to(0.6));
    assert!(commanded.arm.is_stiff(), "stopped means held, not dropped");
    commanded.say("estop_release");
    assert!(commanded.goes_to(0.6));
    assert_eq!(commanded.end()["device"]["counters"]["safety"]["estops"], 1);
}

#[test]
fn without_the_supervisor_that_it_was_promised_nothing_starts() {
    let arm = Arm::start();
    let endpoint = format!("tcp/127.0.0.1:{}", free_port());
    let arguments = |name| {
        let port = arm.port();
        let mut all = vec!["teleop", "--port", port, "--teleop", "topic"];
        all.extend(["--listen", &endpoint, "--supervisor", name]);
        all
    };
    Running::to_end(&arguments("/operator/station")).failed(
        2,
        &["/operator/station", "is not there", "start that ROS node"],
    );
    Running::to_end(&arguments("/operator/*")).failed(2, &["/operator/*", "no ROS node name"]);
    assert!(arm.is_limp());
}

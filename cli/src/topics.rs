//! The robot on ROS 2 topics: joint states, images and health go out; commands and the emergency
//! stop come in.

use crate::args::OutputArgs;
use crate::failure::usage;
use crate::session::Rig;
use crate::source::NewestTarget;
use crate::supervision::Supervision;
use crate::world::World;
use anyhow::{Context, Result};
use sinew_runtime::control::{TickFlags, TickRecord};
use sinew_runtime::ring::RingReader;
use sinew_runtime::safety::EStop;
use sinew_runtime::slot::SlotWriter;
use sinew_runtime::stop::StopToken;
use sinew_runtime::topics::messages::{
    DiagnosticArrayMsg, DiagnosticStatus, Header, JointStateMsg, KeyValue,
};
use sinew_runtime::topics::{
    self, ImagePublisher, Node, TopicPublisher, TopicSubscriber, TopicsConfig,
};
use sinew_runtime::{Clock, JointFault, JointTarget, MonotonicClock};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a command stays good without a newer one.
const COMMAND_AGE: Duration = Duration::from_millis(500);
const HEALTH_EVERY_NS: u64 = 1_000_000_000;

/// An open node with this robot's publishers.
#[derive(Debug)]
pub(crate) struct Topics {
    rig: Rig,
    states: TopicPublisher<JointStateMsg>,
    commands: TopicPublisher<JointStateMsg>,
    health: TopicPublisher<DiagnosticArrayMsg>,
    images: Vec<(String, ImagePublisher)>,
    _supervision: Supervision,
    _node: Arc<Node>,
}

/// Opens this robot's node as the arguments say.
pub(crate) fn open_node(rig: &Rig, output: &OutputArgs) -> Result<Node> {
    let config = TopicsConfig {
        domain: output.domain,
        connect: output.connect.clone(),
        listen: output.listen.clone(),
        ..TopicsConfig::local(&format!("/{}", rig.blueprint.name), "sinew")
    };
    Node::open(config).map_err(usage)
}

impl Topics {
    /// Declares the publishers, and lets others stop the robot: see [`Supervision`].
    pub(crate) fn open(
        rig: &Rig,
        world: &World,
        node: Arc<Node>,
        estop: EStop,
        supervisor: Option<&str>,
    ) -> Result<Self> {
        let images = world.cameras().into_iter().map(|camera| {
            let publisher = node.image_publisher(&format!("{}/image_raw", camera.name))?;
            Ok((camera.name, publisher))
        });
        Ok(Self {
            rig: rig.clone(),
            states: node.publisher("joint_states")?,
            commands: node.publisher("joint_target")?,
            health: node.publisher("/diagnostics")?,
            images: images.collect::<Result<_>>()?,
            _supervision: Supervision::open(&node, estop, supervisor)?,
            _node: node,
        })
    }

    /// Publishes ticks until the session ends.
    pub(crate) fn publish(
        mut self,
        mut ticks: RingReader<TickRecord>,
        stop: StopToken,
    ) -> Result<JoinHandle<()>> {
        let thread = std::thread::Builder::new()
            .name("topics".into())
            .spawn(move || {
                let (mut health_due, mut late) = (0, 0);
                let mut seen = vec![0; self.images.len()];
                loop {
                    let closed = ticks.is_closed();
                    while let Some(record) = ticks.pop() {
                        late += u64::from(record.tick.flags.contains(TickFlags::LATE));
                        let sent = self.send(&record, &mut seen).and_then(|()| {
                            if record.tick.started_ns >= health_due {
                                health_due = record.tick.started_ns + HEALTH_EVERY_NS;
                                self.send_health(&record, std::mem::take(&mut late))?;
                            }
                            Ok(())
                        });
                        if let Err(error) = sent {
                            tracing::warn!("{error:#}");
                            if stop.is_set() {
                                return;
                            }
                        }
                    }
                    if closed {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        thread.context("cannot start the topics' thread")
    }

    fn send(&mut self, record: &TickRecord, seen: &mut [u64]) -> Result<()> {
        let tick = &record.tick;
        let now = MonotonicClock.now();
        let header = |captured| Header {
            stamp: topics::stamp(captured, now),
            frame_id: self.rig.blueprint.name.clone(),
        };
        let (state, len) = (&tick.state, tick.state.len);
        let name: Vec<String> = self.rig.names.to_vec();
        if state.seq > 0 {
            self.states.publish(&JointStateMsg {
                header: header(state.captured_ns),
                name: name.clone(),
                position: state.position[..len].to_vec(),
                velocity: state.velocity[..len].to_vec(),
                effort: state.effort[..len].to_vec(),
            })?;
        }
        if tick.flags.contains(TickFlags::ACTED) {
            self.commands.publish(&JointStateMsg {
                header: header(tick.target.issued_ns),
                name,
                position: tick.target.positions().to_vec(),
                velocity: vec![],
                effort: vec![],
            })?;
        }
        for (((camera, publisher), seen), frame) in
            self.images.iter_mut().zip(seen).zip(&record.frames)
        {
            if let Some(frame) = frame.as_ref().filter(|frame| frame.seq > *seen) {
                *seen = frame.seq;
                publisher.publish(frame, camera, topics::stamp(frame.captured_ns, now))?;
            }
        }
        Ok(())
    }

    /// Health as of `record`, `late` ticks having been late since the last message.
    fn send_health(&mut self, record: &TickRecord, late: u64) -> Result<()> {
        let robot = &self.rig.blueprint.name;
        let joint = |(i, name): (usize, &String)| {
            let (level, message) = match record.tick.state.fault[i] {
                JointFault::None => (0, "ok".to_owned()),
                JointFault::Timeout => (2, "no reply".to_owned()),
                JointFault::Corrupt => (2, "damaged reply".to_owned()),
                JointFault::Alarm(bits) => (1, crate::units::alarm(bits)),
            };
            DiagnosticStatus {
                level,
                name: name.clone(),
                message,
                hardware_id: robot.clone(),
                values: vec![],
            }
        };
        let mut status: Vec<DiagnosticStatus> =
            self.rig.names.iter().enumerate().map(joint).collect();
        let value = |key: &str, value: u64| KeyValue {
            key: key.to_owned(),
            value: value.to_string(),
        };
        status.push(DiagnosticStatus {
            level: u8::from(late > 0),
            name: "loop".to_owned(),
            message: match late {
                0 => "ok".to_owned(),
                late => format!("{late} late ticks since the last message"),
            },
            hardware_id: robot.clone(),
            values: vec![
                value("tick", record.tick.seq),
                value("late ticks", late),
                value("wake error ns", record.tick.wake_error_ns),
                value("observation age ns", record.tick.age_ns),
            ],
        });
        let now = MonotonicClock.now();
        let header = Header {
            stamp: topics::stamp(record.tick.started_ns, now),
            frame_id: robot.clone(),
        };
        self.health
            .publish(&DiagnosticArrayMsg { header, status })?;
        Ok(())
    }
}

/// Commands from the topic `joint_command`: a sensor_msgs/JointState with the joints to move, by
/// name. Joints that no command has named yet stay where they are.
#[derive(Debug)]
pub(crate) struct Commands {
    _subscriber: TopicSubscriber,
    _node: Arc<Node>,
}

impl Commands {
    /// Subscribes, and returns the source that the loop acts on.
    pub(crate) fn open(
        rig: &Rig,
        node: Arc<Node>,
        mut states: sinew_runtime::slot::SlotReader<sinew_runtime::JointState>,
    ) -> Result<(Self, NewestTarget)> {
        let (targets, source) = NewestTarget::new(COMMAND_AGE);
        let names = rig.names.clone();
        let mut goal: Option<JointTarget> = None;
        let mut take = move |message: JointStateMsg, targets: &mut SlotWriter<JointTarget>| {
            let indices = match names.bind(message.name.iter().map(String::as_str)) {
                Ok(indices) if indices.len() == message.position.len() => indices,
                Ok(_) => {
                    return tracing::warn!(
                        "joint_command: names and positions differ in number; ignored"
                    );
                }
                Err(missing) => {
                    return tracing::warn!(
                        "joint_command: this robot has no {}; ignored",
                        missing.join(", ")
                    );
                }
            };
            let state = states.latest();
            let mut next = goal.unwrap_or_else(|| JointTarget {
                len: state.len,
                position: state.position,
                ..JointTarget::default()
            });
            for (index, position) in indices.into_iter().zip(&message.position) {
                next.position[index] = *position;
            }
            next.issued_ns = MonotonicClock.now();
            goal = Some(next);
            targets.publish(next);
        };
        let slot = Mutex::new(targets);
        let subscriber = node.subscribe::<JointStateMsg>("joint_command", move |message, _| {
            if let Ok(mut targets) = slot.lock() {
                take(message, &mut targets);
            }
        })?;
        Ok((
            Self {
                _subscriber: subscriber,
                _node: node,
            },
            source,
        ))
    }
}

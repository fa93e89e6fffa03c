//! ROS 2 topics over zenoh, wire-compatible with rmw_zenoh: ROS nodes see a Sinew robot without a
//! bridge. Never used from a real-time thread; it drains rings that the loop fills.
//!
//! The default session is a peer on loopback, without multicast: robots on one network never hear
//! each other by accident.

pub mod keys;
mod presence;

pub use crate::ros::messages;

use crate::frame::Frame;
use keys::{Attachment, Endpoint};
use messages::{Header, ImageMsg, Message, Time};
pub use presence::NodeWatch;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use thiserror::Error;
use zenoh::Wait;
use zenoh::liveliness::LivelinessToken;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::shm::{GarbageCollect, PosixShmProviderBackend, ShmProvider, ShmProviderBuilder};

/// Where rmw_zenoh nodes look for a router.
pub const DEFAULT_ENDPOINT: &str = "tcp/127.0.0.1:7447";

/// How long others wait for a sign of life from us before they take us for lost, ms. zenoh's own
/// 10 s is long for whoever watches a robot.
const LEASE_MS: &str = "2000";

/// Shared memory for images: room for tens of 640×480 frames.
const SHM_BYTES: usize = 32 << 20;

/// Why a topic could not be opened or published.
#[derive(Debug, Error)]
pub enum TopicsError {
    /// The session did not open.
    #[error(
        "topics: zenoh did not open ({0}); check --connect and --listen (like {DEFAULT_ENDPOINT})"
    )]
    Session(String),
    /// A publisher, subscriber or token was refused.
    #[error("topics: {name}: {reason}")]
    Endpoint {
        /// Topic name.
        name: String,
        /// zenoh's words.
        reason: String,
    },
}

/// How to reach other processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicsConfig {
    /// ROS domain id.
    pub domain: u32,
    /// Prefix of every topic, such as `/so101`.
    pub namespace: String,
    /// Node name.
    pub node: String,
    /// Endpoints to connect to; empty for the default.
    pub connect: Vec<String>,
    /// Endpoints to listen on; empty for the default.
    pub listen: Vec<String>,
}

impl TopicsConfig {
    /// Loopback, domain 0.
    pub fn local(namespace: &str, node: &str) -> Self {
        Self {
            domain: 0,
            namespace: namespace.to_owned(),
            node: node.to_owned(),
            connect: vec![],
            listen: vec![],
        }
    }
}

/// A ROS node: a zenoh session, its announcements, and its topics.
#[derive(Debug)]
pub struct Node {
    session: zenoh::Session,
    config: TopicsConfig,
    zid: String,
    entities: AtomicU32,
    _token: LivelinessToken,
}

impl Node {
    /// Opens the session. With no endpoints given it listens where ROS nodes look
    /// ([`DEFAULT_ENDPOINT`]), or connects there when a router or another robot already does.
    pub fn open(config: TopicsConfig) -> Result<Self, TopicsError> {
        let default = [DEFAULT_ENDPOINT.to_owned()];
        let session = if config.listen.is_empty() && config.connect.is_empty() {
            open_session(&[], &default)
                .or_else(|_| open_session(&default, &["tcp/127.0.0.1:0".to_owned()]))?
        } else {
            open_session(&config.connect, &config.listen)?
        };
        let zid = session.zid().to_string();
        let key = keys::node_token(config.domain, &zid, &config.namespace, &config.node);
        let token = declare_token(&session, key)?;
        Ok(Self {
            session,
            config,
            zid,
            entities: AtomicU32::new(1),
            _token: token,
        })
    }

    fn full_name(&self, topic: &str) -> String {
        if topic.starts_with('/') {
            topic.to_owned()
        } else {
            format!("{}/{topic}", self.config.namespace)
        }
    }

    fn announce<M: Message>(
        &self,
        kind: Endpoint,
        name: &str,
    ) -> Result<(LivelinessToken, u32), TopicsError> {
        let entity = self.entities.fetch_add(1, Ordering::Relaxed);
        let TopicsConfig {
            domain,
            namespace,
            node,
            ..
        } = &self.config;
        let key =
            keys::endpoint_token::<M>(*domain, &self.zid, entity, kind, namespace, node, name);
        Ok((declare_token(&self.session, key)?, entity))
    }

    /// A publisher on `topic`, relative to the namespace unless it starts with `/`.
    pub fn publisher<M: Message>(&self, topic: &str) -> Result<TopicPublisher<M>, TopicsError> {
        let name = self.full_name(topic);
        let publisher = self
            .session
            .declare_publisher(keys::topic::<M>(self.config.domain, &name))
            .congestion_control(CongestionControl::Drop)
            .priority(Priority::RealTime)
            .express(true)
            .wait()
            .map_err(|e| TopicsError::Endpoint {
                name: name.clone(),
                reason: e.to_string(),
            })?;
        let (token, entity) = self.announce::<M>(Endpoint::Publisher, &name)?;
        let mut gid = [0; 16];
        for (to, from) in gid.iter_mut().zip(self.zid.bytes().rev()) {
            *to = from;
        }
        gid[12..].copy_from_slice(&entity.to_le_bytes());
        Ok(TopicPublisher {
            publisher,
            name,
            gid,
            sequence: 0,
            buffer: Vec::new(),
            _token: token,
            _type: std::marker::PhantomData,
        })
    }

    /// A publisher of camera images through shared memory.
    pub fn image_publisher(&self, topic: &str) -> Result<ImagePublisher, TopicsError> {
        let provider = ShmProviderBuilder::default_backend(SHM_BYTES)
            .wait()
            .map_err(|e| TopicsError::Endpoint {
                name: topic.to_owned(),
                reason: format!("no shared memory: {e}"),
            })?;
        Ok(ImagePublisher {
            inner: self.publisher(topic)?,
            provider,
            shared: 0,
            copied: 0,
        })
    }

    /// Calls `handle` with each message on `topic`, from a zenoh thread. What cannot be decoded is
    /// counted and dropped.
    pub fn subscribe<M: Message>(
        &self,
        topic: &str,
        mut handle: impl FnMut(M, Option<Attachment>) + Send + Sync + 'static,
    ) -> Result<TopicSubscriber, TopicsError> {
        let name = self.full_name(topic);
        let rejected = Arc::new(AtomicU64::new(0));
        let counter = rejected.clone();
        let subscriber = self
            .session
            .declare_subscriber(keys::topic::<M>(self.config.domain, &name))
            .callback_mut(move |sample| {
                let attachment = sample
                    .attachment()
                    .and_then(|a| Attachment::from_bytes(&a.to_bytes()));
                match M::decode(&sample.payload().to_bytes()) {
                    Ok(message) => handle(message, attachment),
                    Err(error) => {
                        counter.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!("{}: {error}", sample.key_expr());
                    }
                }
            })
            .wait()
            .map_err(|e| TopicsError::Endpoint {
                name: name.clone(),
                reason: e.to_string(),
            })?;
        let (token, _) = self.announce::<M>(Endpoint::Subscriber, &name)?;
        Ok(TopicSubscriber {
            _subscriber: subscriber,
            _token: token,
            rejected,
        })
    }
}

fn declare_token(session: &zenoh::Session, key: String) -> Result<LivelinessToken, TopicsError> {
    session
        .liveliness()
        .declare_token(key.clone())
        .wait()
        .map_err(|e| TopicsError::Endpoint {
            name: key,
            reason: e.to_string(),
        })
}

fn open_session(connect: &[String], listen: &[String]) -> Result<zenoh::Session, TopicsError> {
    let mut config = zenoh::Config::default();
    let connect_json = json_list(connect);
    let listen_json = json_list(listen);
    for (key, value) in [
        ("mode", "\"peer\""),
        ("scouting/multicast/enabled", "false"),
        ("connect/endpoints", &connect_json),
        ("connect/timeout_ms", "2000"),
        (
            "connect/exit_on_failure",
            if connect.is_empty() { "false" } else { "true" },
        ),
        ("listen/endpoints", &listen_json),
        ("listen/exit_on_failure", "true"),
        ("timestamping/enabled", "true"),
        ("transport/link/tx/lease", LEASE_MS),
    ] {
        config
            .insert_json5(key, value)
            .map_err(|e| TopicsError::Session(format!("{key} = {value}: {e}")))?;
    }
    zenoh::open(config)
        .wait()
        .map_err(|e| TopicsError::Session(e.to_string()))
}

fn json_list(items: &[String]) -> String {
    let quoted: Vec<String> = items
        .iter()
        .map(|i| format!("\"{}\"", i.replace(['"', '\\'], "")))
        .collect();
    format!("[{}]", quoted.join(","))
}

/// Publishes one topic.
#[derive(Debug)]
pub struct TopicPublisher<M> {
    publisher: zenoh::pubsub::Publisher<'static>,
    name: String,
    gid: [u8; 16],
    sequence: i64,
    buffer: Vec<u8>,
    _token: LivelinessToken,
    _type: std::marker::PhantomData<fn(M)>,
}

impl<M: Message> TopicPublisher<M> {
    fn attachment(&mut self) -> [u8; keys::ATTACHMENT_LEN] {
        let sequence = self.sequence;
        self.sequence += 1;
        Attachment {
            sequence,
            source_ns: unix_ns() as i64,
            gid: self.gid,
        }
        .to_bytes()
    }

    /// Sends one message.
    pub fn publish(&mut self, message: &M) -> Result<(), TopicsError> {
        message.encode(&mut self.buffer);
        let attachment = self.attachment();
        self.publisher
            .put(self.buffer.clone())
            .attachment(attachment)
            .wait()
            .map_err(|e| TopicsError::Endpoint {
                name: self.name.clone(),
                reason: e.to_string(),
            })
    }
}

/// Publishes camera frames; on one host the pixels travel in shared memory.
#[derive(Debug)]
pub struct ImagePublisher {
    inner: TopicPublisher<ImageMsg>,
    provider: ShmProvider<PosixShmProviderBackend>,
    /// Frames written straight into shared memory.
    pub shared: u64,
    /// Frames copied instead, because slow readers held all of it.
    pub copied: u64,
}

impl ImagePublisher {
    /// Sends one frame, `stamp` being the capture time.
    pub fn publish(&mut self, frame: &Frame, camera: &str, stamp: Time) -> Result<(), TopicsError> {
        let message = ImageMsg {
            header: Header {
                stamp,
                frame_id: camera.to_owned(),
            },
            height: frame.height,
            width: frame.width,
            encoding: "rgb8".to_owned(),
            is_bigendian: 0,
            step: 3 * frame.width,
            data: Vec::new(),
        };
        // Everything but the pixels, whose count is the last word of the empty message.
        message.encode(&mut self.inner.buffer);
        let head = self.inner.buffer.len() - 4;
        let total = head + 4 + frame.data.len();
        let count = (frame.data.len() as u32).to_le_bytes();
        let attachment = self.inner.attachment();
        let sent = match self
            .provider
            .alloc(total)
            .with_policy::<GarbageCollect>()
            .wait()
        {
            Ok(mut block) => {
                self.shared += 1;
                block[..head].copy_from_slice(&self.inner.buffer[..head]);
                block[head..head + 4].copy_from_slice(&count);
                block[head + 4..].copy_from_slice(&frame.data);
                self.inner
                    .publisher
                    .put(block)
                    .attachment(attachment)
                    .wait()
            }
            Err(_) => {
                self.copied += 1;
                self.inner.buffer.truncate(head);
                self.inner.buffer.extend_from_slice(&count);
                self.inner.buffer.extend_from_slice(&frame.data);
                self.inner
                    .publisher
                    .put(self.inner.buffer.clone())
                    .attachment(attachment)
                    .wait()
            }
        };
        sent.map_err(|e| TopicsError::Endpoint {
            name: self.inner.name.clone(),
            reason: e.to_string(),
        })
    }
}

/// Keeps a subscription alive.
#[derive(Debug)]
pub struct TopicSubscriber {
    _subscriber: zenoh::pubsub::Subscriber<()>,
    _token: LivelinessToken,
    rejected: Arc<AtomicU64>,
}

impl TopicSubscriber {
    /// Samples that were not the promised message.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }
}

fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos() as u64)
}

/// Unix time of a monotonic instant, for message stamps.
pub fn stamp(captured_ns: crate::Nanos, now_ns: crate::Nanos) -> Time {
    let unix = unix_ns().saturating_sub(now_ns.saturating_sub(captured_ns));
    Time {
        sec: (unix / 1_000_000_000) as i32,
        nanosec: (unix % 1_000_000_000) as u32,
    }
}

//! Key expressions, liveliness tokens and the sample attachment, as rmw_zenoh has them.

use super::messages::Message;

/// Length of the attachment on every sample.
pub const ATTACHMENT_LEN: usize = 33;

/// QoS in a liveliness token: all defaults, depth 10.
const QOS: &str = "::,10:,:,:,,";

/// What a liveliness token announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Publisher.
    Publisher,
    /// Subscriber.
    Subscriber,
}

/// `<domain>/<name>/<type>/<hash>`, where samples of `name` travel.
pub fn topic<M: Message>(domain: u32, name: &str) -> String {
    format!(
        "{domain}/{}/{}/{}",
        name.trim_matches('/'),
        M::TYPE,
        M::HASH
    )
}

/// The token that announces a node.
pub fn node_token(domain: u32, zid: &str, namespace: &str, node: &str) -> String {
    format!(
        "@ros2_lv/{domain}/{zid}/0/0/NN/%/{}/{node}",
        mangle(namespace)
    )
}

/// What matches the tokens of the node `name` (`/namespace/node`) in every session; `None` if that
/// is no ROS name.
pub fn node_pattern(domain: u32, name: &str) -> Option<String> {
    let name = name.strip_prefix('/').unwrap_or(name);
    let word = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (namespace, node) = name.rsplit_once('/').unwrap_or(("", name));
    let valid = name.split('/').all(word);
    let namespace = if namespace.is_empty() {
        String::new()
    } else {
        format!("/{namespace}")
    };
    valid.then(|| {
        let namespace = mangle(&namespace);
        format!("@ros2_lv/{domain}/*/*/*/NN/*/{namespace}/{node}")
    })
}

/// The token that announces a publisher or subscriber; `entity` is unique in the session.
pub fn endpoint_token<M: Message>(
    domain: u32,
    zid: &str,
    entity: u32,
    kind: Endpoint,
    namespace: &str,
    node: &str,
    name: &str,
) -> String {
    let kind = match kind {
        Endpoint::Publisher => "MP",
        Endpoint::Subscriber => "MS",
    };
    let name = mangle(&format!("/{}", name.trim_matches('/')));
    format!(
        "@ros2_lv/{domain}/{zid}/0/{entity}/{kind}/%/{}/{node}/{name}/{}/{}/{QOS}",
        mangle(namespace),
        M::TYPE,
        M::HASH
    )
}

fn mangle(name: &str) -> String {
    if name.trim_matches('/').is_empty() {
        "%".to_owned()
    } else {
        name.replace('/', "%")
    }
}

/// Sequence number, source time (Unix ns) and the publisher's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    /// Counts samples of one publisher.
    pub sequence: i64,
    /// Unix time in ns.
    pub source_ns: i64,
    /// Stable for a publisher's life.
    pub gid: [u8; 16],
}

impl Attachment {
    /// The 33 bytes on the wire.
    pub fn to_bytes(self) -> [u8; ATTACHMENT_LEN] {
        let mut bytes = [0; ATTACHMENT_LEN];
        bytes[..8].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.source_ns.to_le_bytes());
        bytes[16] = 16;
        bytes[17..].copy_from_slice(&self.gid);
        bytes
    }

    /// Reads what a publisher attached; `None` if it is not an rmw_zenoh attachment.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ATTACHMENT_LEN] = bytes.try_into().ok()?;
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            i64::from_le_bytes(word)
        };
        let mut gid = [0; 16];
        gid.copy_from_slice(&bytes[17..]);
        (bytes[16] == 16).then_some(Self {
            sequence: word(0),
            source_ns: word(8),
            gid,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::StringMsg;
    use super::*;

    const HASH: &str = "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18";

    #[test]
    fn keys_equal_those_captured_from_a_real_peer() {
        let zid = "5bf09b6abf73f06dbb9f5c51370d5bc6";
        assert_eq!(
            topic::<StringMsg>(0, "/robot1/chatter"),
            format!("0/robot1/chatter/std_msgs::msg::dds_::String_/{HASH}")
        );
        assert_eq!(
            node_token(0, zid, "/robot1", "talker"),
            format!("@ros2_lv/0/{zid}/0/0/NN/%/%robot1/talker")
        );
        assert_eq!(
            endpoint_token::<StringMsg>(
                0,
                zid,
                0,
                Endpoint::Publisher,
                "/robot1",
                "talker",
                "/robot1/chatter"
            ),
            format!(
                "@ros2_lv/0/{zid}/0/0/MP/%/%robot1/talker/%robot1%chatter/std_msgs::msg::dds_::String_/{HASH}/::,10:,:,:,,"
            )
        );
    }

    #[test]
    fn a_node_is_found_by_its_ros_name_alone() {
        for (name, pattern) in [
            (
                "/operator/station",
                "@ros2_lv/3/*/*/*/NN/*/%operator/station",
            ),
            ("station", "@ros2_lv/3/*/*/*/NN/*/%/station"),
            ("/a/b/c", "@ros2_lv/3/*/*/*/NN/*/%a%b/c"),
        ] {
            assert_eq!(node_pattern(3, name).as_deref(), Some(pattern));
        }
        for name in ["", "/", "a//b", "/a/", "a/*", "a b", "**", "ä"] {
            assert_eq!(node_pattern(0, name), None, "{name}");
        }
    }

    #[test]
    fn attachment_round_trips_and_refuses_other_lengths() {
        let attachment = Attachment {
            sequence: 3,
            source_ns: 1_795_412_930_609_365_760,
            gid: [7; 16],
        };
        assert_eq!(
            Attachment::from_bytes(&attachment.to_bytes()),
            Some(attachment)
        );
        assert_eq!(Attachment::from_bytes(&[0; 32]), None);
    }
}

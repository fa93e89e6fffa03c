//! Who may stop the robot from elsewhere, and release it again: messages, and a supervisor whose
//! presence is watched.

use crate::failure::usage;
use anyhow::Result;
use sinew_runtime::safety::{EStop, EStopReason};
use sinew_runtime::topics::keys::Attachment;
use sinew_runtime::topics::messages::StringMsg;
use sinew_runtime::topics::{Node, NodeWatch, TopicSubscriber};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a supervisor may take to be found.
const SUPERVISOR_WITHIN: Duration = Duration::from_secs(10);

/// Keeps the subscriptions alive.
#[derive(Debug)]
pub(crate) struct Supervision {
    _stop: TopicSubscriber,
    _release: TopicSubscriber,
    _watch: Option<Arc<NodeWatch>>,
}

impl Supervision {
    /// A message on `estop` trips the emergency stop, and so does the loss of `supervisor`. A message
    /// on `estop_release` ends what came from elsewhere; what was tripped by a key at this machine
    /// is released there.
    ///
    /// Waits for the supervisor, so that nothing starts to move without it.
    pub(crate) fn open(node: &Node, estop: EStop, supervisor: Option<&str>) -> Result<Self> {
        let watch = supervisor
            .map(|name| watch(node, name, estop.clone()))
            .transpose()?;
        let tripped = estop.clone();
        let stop = move |_: StringMsg, _: Option<Attachment>| {
            tripped.trip(EStopReason::Topic);
            tracing::warn!("emergency stop: a message asked for it; estop_release releases it");
        };
        let present = watch.clone();
        let release = move |_: StringMsg, _: Option<Attachment>| match estop.tripped() {
            Some(EStopReason::Key) => {
                tracing::warn!("estop_release: the stop key was pressed here; release it here");
            }
            Some(_) if present.as_ref().is_some_and(|watch| !watch.is_present()) => {
                tracing::warn!(
                    "estop_release: the supervisor is not back; the robot stays stopped"
                );
            }
            _ => estop.reset(),
        };
        Ok(Self {
            _stop: node.subscribe("estop", stop)?,
            _release: node.subscribe("estop_release", release)?,
            _watch: watch,
        })
    }
}

fn watch(node: &Node, name: &str, estop: EStop) -> Result<Arc<NodeWatch>> {
    let lost_name = name.to_owned();
    let lost = move || {
        estop.trip(EStopReason::LostLiveliness);
        tracing::warn!("emergency stop: the supervisor {lost_name} is gone");
    };
    let watch = node.watch_node(name, lost).map_err(usage)?;
    let start = Instant::now();
    while !watch.is_present() {
        if start.elapsed() > SUPERVISOR_WITHIN {
            return Err(usage(format!(
                "the supervisor {name} is not there; start that ROS node first, or see that --connect, --listen and --domain lead to it"
            )));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Arc::new(watch))
}

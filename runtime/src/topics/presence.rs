//! Whether another ROS node is there: how an operator station's emergency stop works when the station
//! dies or its cable is pulled.

use super::{Node, TopicsError, keys};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use zenoh::Wait;
use zenoh::sample::SampleKind;

/// Watches one node, as long as it lives.
#[derive(Debug)]
pub struct NodeWatch {
    tokens: Arc<AtomicUsize>,
    _subscriber: zenoh::pubsub::Subscriber<()>,
}

impl NodeWatch {
    /// Whether the node is there.
    pub fn is_present(&self) -> bool {
        self.tokens.load(Ordering::Acquire) > 0
    }
}

impl Node {
    /// Watches the node called `name` (`/namespace/node`), now or later, and calls `lost` from a
    /// zenoh thread each time it goes away. A process that ends is noticed at once; a pulled cable
    /// when the lease that the other side announced runs out.
    ///
    /// # Errors
    /// If `name` is no ROS name, or zenoh refuses.
    pub fn watch_node(
        &self,
        name: &str,
        lost: impl Fn() + Send + Sync + 'static,
    ) -> Result<NodeWatch, TopicsError> {
        let failed = |reason: String| TopicsError::Endpoint {
            name: name.to_owned(),
            reason,
        };
        let pattern = keys::node_pattern(self.config.domain, name)
            .ok_or_else(|| failed("is no ROS node name, such as /operator/station".into()))?;
        let tokens = Arc::new(AtomicUsize::new(0));
        let count = tokens.clone();
        // A node that restarted is there twice until the old session's lease has run out.
        let mut present = HashSet::new();
        let subscriber = self
            .session
            .liveliness()
            .declare_subscriber(pattern)
            .history(true)
            .callback_mut(move |sample| {
                let token = sample.key_expr().to_string();
                let was_present = !present.is_empty();
                match sample.kind() {
                    SampleKind::Put => present.insert(token),
                    SampleKind::Delete => present.remove(&token),
                };
                count.store(present.len(), Ordering::Release);
                if was_present && present.is_empty() {
                    lost();
                }
            })
            .wait()
            .map_err(|e| failed(e.to_string()))?;
        Ok(NodeWatch {
            tokens,
            _subscriber: subscriber,
        })
    }
}

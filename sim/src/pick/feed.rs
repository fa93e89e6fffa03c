//! The newest frame of a camera, for any number of readers.

use serde::{Deserialize, Serialize};
use sinew_runtime::Frame;
use std::sync::{Arc, Mutex, PoisonError};

/// One camera of the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameraInfo {
    /// Name in the model: `front` or `wrist`.
    pub name: String,
    /// Image width, pixels.
    pub width: u32,
    /// Image height, pixels.
    pub height: u32,
}

/// A camera and its newest frame. Clones share the frame. The lock inside is held only while a
/// pointer is copied.
#[derive(Debug, Clone)]
pub struct CameraFeed {
    info: CameraInfo,
    latest: Arc<Mutex<Option<Arc<Frame>>>>,
}

impl CameraFeed {
    /// A camera that has not delivered anything yet.
    pub fn new(info: CameraInfo) -> Self {
        Self {
            info,
            latest: Arc::default(),
        }
    }

    /// What the camera is.
    pub fn info(&self) -> &CameraInfo {
        &self.info
    }

    /// The newest frame; `None` before the first.
    pub fn latest(&self) -> Option<Arc<Frame>> {
        self.latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The newest frame if its number is above `seen`.
    pub fn newer_than(&self, seen: u64) -> Option<Arc<Frame>> {
        self.latest().filter(|frame| frame.seq > seen)
    }

    /// Makes `frame` the newest.
    pub(crate) fn publish(&self, frame: Frame) {
        let old = self
            .latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(Arc::new(frame));
        // The old frame goes back to its pool outside the lock.
        drop(old);
    }
}

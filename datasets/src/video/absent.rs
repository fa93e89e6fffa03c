//! The video types of a build without video.

use super::{Choice, Encoder, FinishedVideo, Picture, Quality, VideoSpec};
use crate::error::{Error, Result};
use crate::journal::TakePackets;
use crate::spec::{CameraSpec, Codec};
use sinew_runtime::frame::Frame;
use std::path::Path;
use std::sync::Arc;

/// Always [`Error::NoVideo`].
pub fn pick_encoder(_codec: Codec) -> Result<Encoder> {
    Err(Error::NoVideo)
}

/// Always [`Error::NoVideo`].
pub fn choose(
    _codec: Codec,
    _cameras: &[&CameraSpec],
    _fps: u32,
    _quality: Quality,
) -> Result<Choice> {
    Err(Error::NoVideo)
}

/// Cannot be made in this build.
#[derive(Debug)]
pub struct VideoWriter(std::convert::Infallible);

impl VideoWriter {
    /// Always [`Error::NoVideo`].
    pub fn create(_path: &Path, _spec: VideoSpec) -> Result<Self> {
        Err(Error::NoVideo)
    }

    /// Cannot be reached.
    pub fn push(&mut self, _frame: Arc<Frame>) -> Result<()> {
        match self.0 {}
    }

    /// Cannot be reached.
    pub fn finish(self) -> Result<FinishedVideo> {
        match self.0 {}
    }
}

/// Cannot be made in this build.
#[derive(Debug)]
pub(crate) struct PacketEncoder(std::convert::Infallible);

impl PacketEncoder {
    /// Always [`Error::NoVideo`].
    pub(crate) fn start(_path: &Path, _spec: VideoSpec, _sink: impl TakePackets) -> Result<Self> {
        Err(Error::NoVideo)
    }

    /// Cannot be reached.
    pub(crate) fn push(&mut self, _frame: Arc<Frame>) -> Result<()> {
        match self.0 {}
    }

    /// Cannot be reached.
    pub(crate) fn finish(self) -> Result<()> {
        match self.0 {}
    }
}

/// Cannot be made in this build.
#[derive(Debug)]
pub struct VideoReader(std::convert::Infallible);

impl VideoReader {
    /// Always [`Error::NoVideo`].
    pub fn open(_path: &Path) -> Result<Self> {
        Err(Error::NoVideo)
    }

    /// Cannot be reached.
    pub fn next_picture(&mut self) -> Result<Option<Picture>> {
        match self.0 {}
    }
}

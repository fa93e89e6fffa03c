//! Another video codec.

use super::build::make;
use super::plan::Plan;
use super::videos::is_depth;
use super::{Report, Target};
use crate::error::{Error, Result};
use crate::features::Feature;
use crate::spec::Codec;
use crate::video::{RECORDING_CRF, RECORDING_GOP, VideoSpec, pick_encoder};
use std::path::Path;

/// How to encode which cameras.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reencode {
    /// Feature names of the cameras; empty for all.
    pub cameras: Vec<String>,
    /// The new codec.
    pub codec: Codec,
    /// Frames from one key frame to the next.
    pub gop: u32,
    /// Constant quality; higher is coarser.
    pub crf: u32,
}

impl Default for Reencode {
    fn default() -> Self {
        Self {
            cameras: Vec::new(),
            codec: Codec::Auto,
            gop: RECORDING_GOP,
            crf: RECORDING_CRF,
        }
    }
}

impl Reencode {
    pub(super) fn covers(&self, camera: &str) -> bool {
        self.cameras.is_empty() || self.cameras.iter().any(|c| c == camera)
    }

    /// The encoder's settings for a camera.
    pub(super) fn spec(&self, feature: &Feature, fps: u32) -> Result<VideoSpec> {
        let side = |i: usize| feature.shape.get(i).and_then(|s| u32::try_from(*s).ok());
        let (Some(height), Some(width)) = (side(0), side(1)) else {
            return Err(Error::spec("a camera's shape has no height and width"));
        };
        let mut spec = VideoSpec::recording(width, height, fps, pick_encoder(self.codec)?);
        spec.gop = self.gop;
        spec.crf = self.crf;
        Ok(spec)
    }
}

/// Decodes the videos of cameras and encodes them anew. Statistics of pictures stay those of the
/// source, as in LeRobot.
///
/// # Errors
/// [`Error::Edit`] if a camera does not exist, holds no RGB video, or the settings make no sense;
/// [`Error::NoEncoder`] and [`Error::NoVideo`] if this machine or build cannot encode.
pub fn reencode(source: &Path, how: &Reencode, target: &Target) -> Result<Report> {
    let mut plan = Plan::of(source)?;
    if how.gop == 0 || how.crf > 63 {
        return Err(Error::edit(
            source,
            "the distance of key frames must be at least 1 and the quality at most 63",
        ));
    }
    for camera in &how.cameras {
        if !plan.source().check_feature(camera)?.is_video() {
            return Err(Error::edit(source, format!("{camera} is no video")));
        }
    }
    let fps = plan.source().info.fps;
    let mut any = false;
    for planned in plan.features.iter_mut().filter(|f| f.feature.is_video()) {
        if !how.covers(&planned.name) {
            continue;
        }
        if is_depth(&planned.feature) {
            return Err(Error::edit(
                source,
                format!(
                    "{} is a depth camera, whose values a picture codec would spoil; name the cameras to re-encode",
                    planned.name
                ),
            ));
        }
        let facts = how.spec(&planned.feature, fps)?.lerobot_info();
        planned.feature.info.get_or_insert_default().extend(facts);
        any = true;
    }
    if !any {
        return Err(Error::edit(source, "it has no videos"));
    }
    plan.reencode = Some(how);
    make(plan, target)
}

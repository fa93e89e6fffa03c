//! Statistics of pictures that a crash left on the disk: decoded again, which also shows that every
//! frame is there.

use super::VideoReader;
use super::depth::DepthScale;
use super::frames::Frames;
use crate::error::{Error, Result};
use crate::features::Feature;
use crate::files::LocalFiles;
use crate::journal::stream::StreamFile;
use crate::reader::pictures::Stored;
use crate::reader::value::{DepthUnit, Image, Pixels};
use crate::spec::CameraSpec;
use crate::stats::ImageStats;
use sinew_runtime::frame::Frame;
use std::path::Path;
use std::sync::Arc;

/// Of a finished video of `frames` frames.
pub(crate) fn video_stats(
    path: &Path,
    feature: &Feature,
    fps: u32,
    frames: u64,
) -> Result<ImageStats> {
    if super::depth::is_depth(feature) {
        return depth_stats(path, feature, fps, frames);
    }
    let mut reader = VideoReader::open(path)?;
    let mut stats = ImageStats::default();
    let mut decoded = 0;
    while let Some(picture) = reader.next_picture()? {
        stats.add(&Frame::new(picture.width, picture.height, picture.rgb));
        decoded += 1;
    }
    if decoded != frames {
        return Err(Error::corrupt(
            path,
            format!("{decoded} of its {frames} frames can be decoded"),
        ));
    }
    Ok(stats)
}

fn depth_stats(path: &Path, feature: &Feature, fps: u32, frames: u64) -> Result<ImageStats> {
    let root = path.parent().unwrap_or(Path::new("."));
    let video = Frames::new(Arc::new(LocalFiles::new(root)), 0);
    let scale = DepthScale::of(feature, DepthUnit::Millimetres);
    let mut stats = ImageStats::depth();
    let name = Path::new(path.file_name().unwrap_or_default());
    let tolerance_s = 0.5 / f64::from(fps);
    for number in 0..frames {
        let time_s = number as f64 / f64::from(fps);
        for image in video.at(name, &[time_s], tolerance_s, Some(&scale))? {
            stats.add(&frame(&image));
        }
    }
    Ok(stats)
}

/// Of encoded single pictures.
pub(crate) fn picture_stats(
    camera: &CameraSpec,
    feature: &Feature,
    pictures: &StreamFile,
) -> Result<ImageStats> {
    let stored = Stored::of(feature, DepthUnit::Millimetres);
    let mut stats = if camera.depth {
        ImageStats::depth()
    } else {
        ImageStats::default()
    };
    for number in 0..pictures.frames() {
        let image = stored.decode(pictures.path(), &pictures.read(number)?)?;
        stats.add(&frame(&image));
    }
    Ok(stats)
}

fn frame(image: &Image) -> Frame {
    let (width, height) = (image.width as u32, image.height as u32);
    match &image.pixels {
        Pixels::Rgb(rgb) => Frame::new(width, height, rgb.clone()),
        Pixels::Depth(mm) => {
            let mm: Vec<u16> = mm.iter().map(|d| *d as u16).collect();
            Frame::depth(width, height, &mm)
        }
    }
}

//! Film strips: some frames of each camera, small, inside the page.

use super::html::escape;
use crate::episodes::Episode;
use crate::error::{Error, Result};
use crate::features::IMAGES;
use crate::reader::{Dataset, Image, Pixels, Reader, ReaderOptions};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, RgbImage, imageops};
use std::fmt::Write;
use std::sync::Arc;

/// Frames are far apart, so next to nothing need be kept.
const CACHE_BYTES: u64 = 32 << 20;
/// JPEG quality, 1 to 100.
const QUALITY: u8 = 72;
/// Width of the picture beside an episode's name, pixels.
const ICON_WIDTH: u32 = 72;
/// Cameras that are shown.
const CAMERAS: usize = 8;

/// Draws film strips.
#[derive(Debug)]
pub(super) struct Strips {
    reader: Option<Reader>,
    cameras: Vec<String>,
    frames: u64,
    width: u32,
    /// Why there are no pictures, or not all.
    pub(super) problem: Option<String>,
}

impl Strips {
    /// Strips for this many episodes: the more, the fewer and smaller frames.
    pub(super) fn of(dataset: &Dataset, episodes: usize) -> Result<Self> {
        let all = dataset
            .info()
            .features
            .iter()
            .filter(|(_, f)| f.is_camera());
        let all: Vec<String> = all.map(|(name, _)| name.to_owned()).collect();
        let cameras: Vec<String> = all.iter().take(CAMERAS).cloned().collect();
        let reader = (!cameras.is_empty()).then(|| {
            dataset.reader(&ReaderOptions {
                features: Some(cameras.clone()),
                picture_cache_bytes: CACHE_BYTES,
                ..ReaderOptions::default()
            })
        });
        let (frames, width) = match episodes {
            0..=30 => (8, 208),
            31..=120 => (6, 176),
            _ => (4, 160),
        };
        let beyond = all.len() - cameras.len();
        Ok(Self {
            reader: reader.transpose()?,
            cameras,
            frames,
            width,
            problem: (beyond > 0).then(|| format!("Pictures of {beyond} more cameras.")),
        })
    }

    /// The strips of an episode, one a camera.
    pub(super) fn draw(&mut self, dataset: &Dataset, episode: &Episode) -> String {
        let mut rows: Vec<String> = self.cameras.iter().map(|_| String::new()).collect();
        let count = self.frames.min(episode.length);
        let mut failed = None;
        for number in 0..count {
            let frame = number * episode.length.saturating_sub(1) / count.saturating_sub(1).max(1);
            let pictures = match self.read(episode, frame) {
                Ok(pictures) => pictures,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            };
            let time_s = frame as f64 / f64::from(dataset.info().fps);
            for ((row, camera), picture) in rows.iter_mut().zip(&self.cameras).zip(pictures) {
                let name = escape(camera.strip_prefix(IMAGES).unwrap_or(camera));
                let alt = format!("{name}, frame {frame}");
                if let Some(image) = picture.and_then(|p| tag(&p, self.width, &alt)) {
                    let _ = write!(
                        row,
                        "<figure>{image}<figcaption>{time_s:.1} s</figcaption></figure>"
                    );
                }
            }
        }
        let mut html: String = self
            .cameras
            .iter()
            .zip(rows)
            .filter(|(_, row)| !row.is_empty())
            .map(|(camera, row)| {
                let name = escape(camera.strip_prefix(IMAGES).unwrap_or(camera));
                format!("<h4>{name}</h4><div class=\"strip\">{row}</div>")
            })
            .collect();
        match failed {
            Some(error @ Error::NoDecoder { .. }) => {
                self.problem = Some(format!("Pictures: {error}."));
                self.reader = None;
            }
            Some(error) => html.push_str(&super::problem(&error)),
            None => {}
        }
        html
    }

    /// A small picture from the middle of the episode; empty if there is none.
    pub(super) fn icon(&self, episode: &Episode) -> String {
        let pictures = self.read(episode, episode.length / 2);
        let first = pictures.ok().and_then(|p| p.into_iter().flatten().next());
        first
            .and_then(|picture| tag(&picture, ICON_WIDTH, ""))
            .unwrap_or_default()
    }

    /// A frame's pictures, one a camera; none at all without a reader.
    fn read(&self, episode: &Episode, frame: u64) -> Result<Vec<Option<Arc<Image>>>> {
        let Some(reader) = &self.reader else {
            return Ok(Vec::new());
        };
        let item = reader.get_in(episode.index, frame)?;
        let picture = |camera: &String| {
            let images = item.get(camera).map(|value| value.images());
            images.and_then(|images| images.first().cloned())
        };
        Ok(self.cameras.iter().map(picture).collect())
    }
}

/// The picture as an element, at most `width` pixels wide.
fn tag(image: &Image, width: u32, alt: &str) -> Option<String> {
    let rgb = colours(image)?;
    let width = width.min(rgb.width()).max(1);
    let height = u64::from(rgb.height()) * u64::from(width) / u64::from(rgb.width().max(1));
    let height = u32::try_from(height).ok()?.clamp(1, 4 * width);
    let small = imageops::thumbnail(&rgb, width, height);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode(small.as_raw(), width, height, ExtendedColorType::Rgb8)
        .ok()?;
    Some(format!(
        "<img alt=\"{alt}\" width=\"{width}\" height=\"{height}\" loading=\"lazy\" decoding=\"async\" src=\"data:image/jpeg;base64,{}\">",
        STANDARD.encode(&jpeg)
    ))
}

/// The picture's colours; distances become grey, the nearest brightest.
fn colours(image: &Image) -> Option<RgbImage> {
    let (width, height) = (image.width as u32, image.height as u32);
    let bytes = match &image.pixels {
        Pixels::Rgb(bytes) => bytes.clone(),
        Pixels::Depth(distances) => {
            let known = || distances.iter().filter(|d| d.is_finite() && **d > 0.0);
            let low = known().copied().fold(f32::INFINITY, f32::min);
            let high = known().copied().fold(f32::NEG_INFINITY, f32::max);
            let grey = |d: &f32| match *d {
                d if d > 0.0 && high > low => (255.0 * (high - d) / (high - low)) as u8,
                _ => 0,
            };
            distances.iter().flat_map(|d| [grey(d); 3]).collect()
        }
    };
    RgbImage::from_raw(width, height, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_any_size_become_small_ones() {
        for (width, height) in [(1, 1), (640, 480), (3, 400), (400, 3)] {
            let image = Image {
                width,
                height,
                pixels: Pixels::Rgb(vec![9; 3 * width * height]),
            };
            let html = tag(&image, 176, "front").unwrap();
            assert!(html.starts_with("<img alt=\"front\" width=") && html.len() < 8000);
        }
    }

    #[test]
    fn near_is_bright_and_nothing_is_black() {
        let image = Image {
            width: 2,
            height: 2,
            pixels: Pixels::Depth(vec![0.0, f32::NAN, 500.0, 1000.0]),
        };
        let grey: Vec<u8> = colours(&image).unwrap().pixels().map(|p| p.0[0]).collect();
        assert_eq!(grey, [0, 0, 255, 0]);
    }
}

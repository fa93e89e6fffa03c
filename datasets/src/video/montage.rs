//! One film from several cameras' videos: side by side, episode after episode.

use super::{FinishedVideo, Picture, VideoReader, VideoSpec, VideoWriter, pick_encoder};
use crate::error::{Error, Result};
use crate::fsio;
use crate::spec::Codec;
use sinew_runtime::frame::Frame;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Quality of the film; it is for looking at, so finer than a recording.
const FILM_CRF: u32 = 23;

/// Writes `out`, an MP4 at `fps`, from `episodes`: for each, one video file a camera. Cameras stand
/// side by side at their own size; an episode ends with its shortest video. All episodes must have
/// the same cameras.
pub fn side_by_side_mp4(episodes: &[Vec<PathBuf>], out: &Path, fps: u32) -> Result<FinishedVideo> {
    let staged = out.with_extension("part.mp4");
    let outcome = write_film(episodes, &staged, fps);
    match outcome {
        Ok(film) => fsio::publish(&staged, out).map(|()| film),
        Err(error) => {
            let _ = std::fs::remove_file(&staged);
            Err(error)
        }
    }
}

fn write_film(episodes: &[Vec<PathBuf>], staged: &Path, fps: u32) -> Result<FinishedVideo> {
    let encoder = pick_encoder(Codec::Auto)?;
    let mut film: Option<(VideoWriter, u32, u32)> = None;
    for cameras in episodes {
        let mut readers = cameras
            .iter()
            .map(|path| VideoReader::open(path))
            .collect::<Result<Vec<_>>>()?;
        while let Some(pictures) = next_of_each(&mut readers)? {
            let writer = match &mut film {
                Some(writer) => writer,
                None => {
                    let (width, height) = canvas(&pictures);
                    let spec = VideoSpec {
                        gop: fps.max(1),
                        crf: FILM_CRF,
                        ..VideoSpec::recording(width, height, fps, encoder)
                    };
                    film.insert((VideoWriter::create(staged, spec)?, width, height))
                }
            };
            let (width, height) = (writer.1, writer.2);
            writer.0.push(Arc::new(compose(&pictures, width, height)))?;
        }
    }
    match film {
        Some((writer, ..)) => writer.finish(),
        None => Err(Error::spec(
            "there are no pictures to make a film from; record with cameras first",
        )),
    }
}

/// One picture of each camera; `None` as soon as one has no more, or if there are no cameras.
fn next_of_each(readers: &mut [VideoReader]) -> Result<Option<Vec<Picture>>> {
    let mut pictures = Vec::with_capacity(readers.len());
    for reader in readers.iter_mut() {
        match reader.next_picture()? {
            Some(picture) => pictures.push(picture),
            None => return Ok(None),
        }
    }
    Ok((!pictures.is_empty()).then_some(pictures))
}

/// Size that holds all pictures in a row, even on both sides.
fn canvas(pictures: &[Picture]) -> (u32, u32) {
    let width: u32 = pictures.iter().map(|p| p.width).sum();
    let height = pictures.iter().map(|p| p.height).max().unwrap_or(0);
    (width.next_multiple_of(2), height.next_multiple_of(2))
}

/// The pictures from left to right on black; what does not fit is cut off.
fn compose(pictures: &[Picture], width: u32, height: u32) -> Frame {
    let mut rgb = vec![0_u8; 3 * width as usize * height as usize];
    let mut left = 0_usize;
    for picture in pictures {
        let own = 3 * picture.width as usize;
        let room = own.min((3 * width as usize).saturating_sub(left));
        let rows = rgb
            .chunks_exact_mut(3 * width as usize)
            .zip(picture.rgb.chunks_exact(own.max(1)));
        for (target, source) in rows {
            target[left..left + room].copy_from_slice(&source[..room]);
        }
        left += room;
    }
    Frame::new(width, height, rgb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stand_side_by_side() {
        let flat = |value, width: u32, height: u32| Picture {
            pts_ns: 0,
            width,
            height,
            rgb: vec![value; 3 * (width * height) as usize],
        };
        let pictures = [flat(10, 2, 2), flat(20, 3, 1)];
        let (width, height) = canvas(&pictures);
        assert_eq!((width, height), (6, 2));
        let frame = compose(&pictures, width, height);
        let reds: Vec<u8> = frame.data.iter().step_by(3).copied().collect();
        assert_eq!(reds, [10, 10, 20, 20, 20, 0, 10, 10, 0, 0, 0, 0]);
    }
}

//! Statistics of pictures over the frames that LeRobot would sample: of colours, and of distances that
//! are kept in mm.

use super::{FeatureStats, ImageStats, Stats};
use crate::episodes::Episode;
use crate::error::{Error, Result};
use crate::reader::{Dataset, Image, Pixels, Reader, ReaderOptions};
use crate::video::depth::is_depth;
use sinew_runtime::frame::Frame;

/// Frames are read in order, so next to nothing need be kept.
const CACHE_BYTES: u64 = 16 << 20;

/// The cameras of a dataset, and what was gathered of all episodes.
#[derive(Debug)]
pub(super) struct Cameras {
    reader: Option<Reader>,
    names: Vec<String>,
    whole: Vec<ImageStats>,
    pub(super) notes: Vec<String>,
}

impl Cameras {
    pub(super) fn of(dataset: &Dataset) -> Result<Self> {
        let mut notes = Vec::new();
        let mut names = Vec::new();
        let mut whole = Vec::new();
        let cameras = dataset
            .info()
            .features
            .iter()
            .filter(|(_, f)| f.is_camera());
        for (name, feature) in cameras {
            let unit = feature.info.as_ref().and_then(|i| i.get("depth_unit"));
            let stats = match (is_depth(feature), unit.and_then(|u| u.as_str())) {
                (false, _) => ImageStats::default(),
                (true, Some("mm")) => ImageStats::depth(),
                (true, _) => {
                    notes.push(format!(
                        "{name} does not say that its distances are in mm: its statistics stay as they are"
                    ));
                    continue;
                }
            };
            names.push(name.to_owned());
            whole.push(stats);
        }
        let options = ReaderOptions {
            features: Some(names.clone()),
            picture_cache_bytes: CACHE_BYTES,
            ..ReaderOptions::default()
        };
        let reader = (!names.is_empty()).then(|| dataset.reader(&options));
        Ok(Self {
            reader: reader.transpose()?,
            names,
            whole,
            notes,
        })
    }

    /// The statistics of one episode's pictures; none where this machine cannot decode them.
    pub(super) fn episode(&mut self, episode: &Episode) -> Result<Vec<(String, FeatureStats)>> {
        let Some(reader) = &self.reader else {
            return Ok(Vec::new());
        };
        let mut gathered: Vec<ImageStats> = self.whole.iter().map(ImageStats::emptied).collect();
        for frame in sampled(episode.length) {
            let item = match reader.get(episode.from_index + frame) {
                Ok(item) => item,
                Err(error @ Error::NoDecoder { .. }) => {
                    self.notes.push(format!(
                        "{error}; the pictures' statistics stay as they are"
                    ));
                    self.reader = None;
                    return Ok(Vec::new());
                }
                Err(error) => return Err(error),
            };
            for (name, stats) in self.names.iter().zip(&mut gathered) {
                if let Some(image) = item.get(name).and_then(|v| v.image()) {
                    stats.add(&frame_of(image));
                }
            }
        }
        for (whole, episode) in self.whole.iter_mut().zip(&gathered) {
            whole.merge(episode);
        }
        let finished = gathered.iter().map(ImageStats::finish);
        Ok(self.names.iter().cloned().zip(finished).collect())
    }

    /// Adds the statistics of all episodes together.
    pub(super) fn finish(self, into: &mut Stats) -> Vec<String> {
        if self.reader.is_some() {
            let finished = self.whole.iter().map(ImageStats::finish);
            into.0.extend(self.names.into_iter().zip(finished));
        }
        self.notes
    }
}

/// The picture as a camera gave it: colours, or distances in whole mm.
fn frame_of(image: &Image) -> Frame {
    let (width, height) = (image.width as u32, image.height as u32);
    match &image.pixels {
        Pixels::Rgb(rgb) => Frame::new(width, height, rgb.clone()),
        Pixels::Depth(distances) => {
            // Out of range is as far as can be said; what is no number is no distance.
            let mm: Vec<u16> = distances.iter().map(|d| d.round() as u16).collect();
            Frame::depth(width, height, &mm)
        }
    }
}

/// The frames of an episode that LeRobot takes: the length to the power of 3/4, at least 100 and at
/// most 10000, evenly spread.
fn sampled(length: u64) -> Vec<u64> {
    let wanted = (length as f64).powf(0.75) as u64;
    let count = wanted.min(10_000).max(length.min(100));
    let step = length.saturating_sub(1) as f64 / count.saturating_sub(1).max(1) as f64;
    (0..count)
        .map(|i| (i as f64 * step).round_ties_even() as u64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_sampled_as_in_lerobot() {
        // Counts and values of lerobot 0.6.1's sample_indices.
        let counts = [0, 1, 99, 100, 500, 1000, 20_000, 500_000].map(|n| sampled(n).len());
        assert_eq!(counts, [0, 1, 99, 100, 105, 177, 1681, 10_000]);
        assert_eq!(sampled(4), [0, 1, 2, 3]);
        assert_eq!(sampled(1000)[..4], [0, 6, 11, 17]);
        assert_eq!(sampled(20_000).last(), Some(&19_999));
    }
}

//! One feature's values in an episode, row by row as messages.

use super::arrays;
use super::stream::Stream;
use super::topics::{Carrier, Topic};
use super::units::Unit;
use crate::episodes::Episode;
use crate::error::{Error, Result};
use crate::features::IMAGES;
use crate::reader::cells::picture_bytes;
use crate::reader::value::{Pixels, Tensor};
use crate::reader::{Reader, ReaderOptions};
use crate::table;
use crate::video::remux::{Sample, Track};
use crate::{Dataset, DepthUnit};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use serde_json::{Value, json};
use sinew_runtime::ros::messages::{
    CompressedImageMsg, CompressedVideoMsg, Header, JointStateMsg, Message, StringMsg, Time,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Gives messages of one feature in one episode.
pub(super) enum Encoder<'a> {
    Joints {
        values: Vec<f64>,
        units: Vec<Unit>,
        message: JointStateMsg,
    },
    Numbers {
        values: Tensor,
        sides: Vec<(String, usize)>,
    },
    Cells {
        dataset: &'a Dataset,
        episode: &'a Episode,
        topic: &'a Topic,
    },
    Video(Video),
    Decoded {
        reader: Reader,
        from_index: u64,
        feature: &'a str,
    },
}

/// The encoded frames of an episode.
pub(super) struct Video {
    file: File,
    track: Track,
    stream: Stream,
    samples: Vec<Sample>,
    /// Number of the episode's first frame in its file.
    first: u32,
    message: CompressedVideoMsg,
}

/// A camera's short name, which is its coordinate frame.
fn camera(feature: &str) -> String {
    feature.strip_prefix(IMAGES).unwrap_or(feature).to_owned()
}

pub(super) fn time(ns: u64) -> Time {
    Time {
        sec: i32::try_from(ns / 1_000_000_000).unwrap_or(i32::MAX),
        nanosec: (ns % 1_000_000_000) as u32,
    }
}

impl<'a> Encoder<'a> {
    pub(super) fn of(
        root: &Path,
        dataset: &'a Dataset,
        episode: &'a Episode,
        topic: &'a Topic,
    ) -> Result<Self> {
        let feature = &topic.feature;
        Ok(match &topic.carrier {
            Carrier::Joints(joints) => Self::Joints {
                values: dataset.tensor(episode, feature)?.numbers.to_f64(),
                units: joints.iter().map(|(_, unit)| *unit).collect(),
                message: JointStateMsg {
                    name: joints.iter().map(|(name, _)| name.clone()).collect(),
                    ..JointStateMsg::default()
                },
            },
            Carrier::Numbers => {
                let values = dataset.tensor(episode, feature)?;
                let described = dataset.info().features.get(feature);
                let names = described.and_then(crate::Feature::entry_names);
                let names = names.unwrap_or_default().join(",");
                let sides = values.shape.iter().skip(1);
                let sides = sides
                    .enumerate()
                    .map(|(i, n)| (if i == 0 { names.clone() } else { String::new() }, *n))
                    .collect();
                Self::Numbers { values, sides }
            }
            Carrier::Text | Carrier::Picture => Self::Cells {
                dataset,
                episode,
                topic,
            },
            Carrier::Video => Self::Video(Video::open(root, dataset, episode, feature)?),
            Carrier::Decoded => Self::Decoded {
                reader: dataset.reader(&ReaderOptions {
                    features: Some(vec![feature.clone()]),
                    depth_unit: DepthUnit::default(),
                    picture_cache_bytes: 0,
                    ..ReaderOptions::default()
                })?,
                from_index: episode.from_index,
                feature,
            },
        })
    }

    /// Whether frames are stored in another order than they are shown in.
    pub(super) fn is_reordered(&self) -> bool {
        match self {
            Self::Video(video) => !video.samples.is_sorted_by_key(|s| s.shown),
            _ => false,
        }
    }

    /// What a decoder must know of a video besides its frames.
    pub(super) fn description(&self) -> Option<Value> {
        match self {
            Self::Video(video) => Some(json!({
                "description": hex(&video.track.description),
                "picture": hex(&video.track.picture),
            })),
            _ => None,
        }
    }

    /// Makes the message whose turn it is with row `row`, and gives the row that it belongs to:
    /// another one only for videos with reordered frames. `stamp` says when a row was.
    pub(super) fn encode(
        &mut self,
        row: u64,
        stamp: &dyn Fn(u64) -> u64,
        out: &mut Vec<u8>,
    ) -> Result<u64> {
        match self {
            Self::Joints {
                values,
                units,
                message,
            } => {
                let width = units.len();
                let row_values = values.iter().skip(row as usize * width).zip(units);
                message.header.stamp = time(stamp(row));
                message.position = row_values.map(|(v, unit)| unit.to_si(*v)).collect();
                message.encode(out);
            }
            Self::Numbers { values, sides } => {
                arrays::encode(&values.numbers, sides, row as usize, out);
            }
            Self::Cells {
                dataset,
                episode,
                topic,
            } => dataset.with_cell(episode, &topic.feature, row, |path, array, at| {
                if topic.carrier == Carrier::Text {
                    let data = table::text(path, array, at)?;
                    StringMsg { data }.encode(out);
                } else {
                    let bytes = picture_bytes(path, array, at)?;
                    picture(&topic.feature, stamp(row), bytes.to_vec(), out);
                }
                Ok(())
            })?,
            Self::Video(video) => return video.encode(row, stamp, out),
            Self::Decoded {
                reader,
                from_index,
                feature,
            } => {
                let item = reader.get(*from_index + row)?;
                let image = item.get(feature).and_then(crate::Value::image);
                let Some((image, Pixels::Rgb(rgb))) = image.map(|i| (i, &i.pixels)) else {
                    return Err(Error::video(Path::new(feature), "it is no colour picture"));
                };
                let mut png = Vec::new();
                PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive)
                    .write_image(
                        rgb,
                        image.width as u32,
                        image.height as u32,
                        ExtendedColorType::Rgb8,
                    )
                    .map_err(|e| Error::video(Path::new(feature), e.to_string()))?;
                picture(feature, stamp(row), png, out);
            }
        }
        Ok(row)
    }
}

fn picture(feature: &str, stamp_ns: u64, data: Vec<u8>, out: &mut Vec<u8>) {
    let message = CompressedImageMsg {
        header: Header {
            stamp: time(stamp_ns),
            frame_id: camera(feature),
        },
        format: match image::guess_format(&data) {
            Ok(image::ImageFormat::Jpeg) => "jpeg",
            Ok(image::ImageFormat::Tiff) => "tiff",
            _ => "png",
        }
        .to_owned(),
        data,
    };
    message.encode(out);
}

impl Video {
    fn open(root: &Path, dataset: &Dataset, episode: &Episode, feature: &str) -> Result<Self> {
        let info = dataset.info();
        let span = episode.videos.iter().find(|v| v.key == feature);
        let span = span.ok_or_else(|| {
            Error::corrupt(
                root,
                format!("episode {} has no video {feature}", episode.index),
            )
        })?;
        let path = root.join(info.video_file(feature, span.file)?);
        let track = Track::read(&path, info.fps)?;
        let first = (span.from_s * f64::from(info.fps)).round() as u64;
        let run = track.run(first, first.saturating_add(episode.length));
        let samples = run.and_then(|run| track.samples.get(run)).ok_or_else(|| {
            Error::video(
                &path,
                format!(
                    "the frames of episode {} do not begin with a key frame, or are not all there; re-encode the camera first (`sinew dataset edit reencode`)",
                    episode.index
                ),
            )
        })?;
        let stream = Stream::of(&path, &track.description)?;
        Ok(Self {
            file: File::open(&path).map_err(Error::io("open", &path))?,
            samples: samples.to_vec(),
            first: first as u32,
            message: CompressedVideoMsg {
                frame_id: camera(feature),
                format: stream.format().to_owned(),
                ..CompressedVideoMsg::default()
            },
            stream,
            track,
        })
    }

    fn encode(&mut self, row: u64, stamp: &dyn Fn(u64) -> u64, out: &mut Vec<u8>) -> Result<u64> {
        let path = &self.track.path;
        let sample = self.samples.get(row as usize).copied();
        let sample =
            sample.ok_or_else(|| Error::video(path, format!("there is no frame {row}")))?;
        let mut bytes = vec![0; sample.size as usize];
        self.file
            .read_exact_at(&mut bytes, sample.offset)
            .map_err(Error::io("read", path))?;
        let shown = u64::from(sample.shown.saturating_sub(self.first));
        self.message.timestamp = time(stamp(shown));
        self.message.data = self.stream.to_message(path, &bytes, sample.key)?;
        self.message.encode(out);
        Ok(shown)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

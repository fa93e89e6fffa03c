//! A dataset as a Rerun recording: joints, actions, pictures, task and true times of each episode.
//!
//! Rerun is some 400 crates, so it is behind the feature `view`; without it this says how to get it.
//! There is one recording; each episode is a tree of its own under `episode/N`, from time 0 on.

use super::args::View as Args;
use anyhow::Result;

/// Writes the episodes (all of them if none are named) to the file `to`, or to the viewer (`spawn`).
#[cfg(not(feature = "view"))]
pub(super) fn record(_args: &Args, _to: &str, _episodes: &[u64]) -> Result<()> {
    Err(crate::failure::usage(
        "this sinew was built without Rerun; build it with `cargo build -p sinew --features view`. `sinew dataset view` without --rerun makes a page instead, and the Rerun viewer opens the dataset's folder as it is",
    ))
}

#[cfg(feature = "view")]
pub(super) use with_rerun::record;

#[cfg(feature = "view")]
mod with_rerun {
    use super::*;
    use crate::commands::dataset::open;
    use crate::commands::dataset::progress::Progress;
    use crate::failure::usage;
    use ::rerun::components::VideoTimestamp;
    use ::rerun::datatypes::ChannelDatatype;
    use ::rerun::{
        AssetVideo, DepthImage, EntityPath, EntityPathPart, Image, RecordingStream,
        RecordingStreamBuilder, Scalars, TextDocument, TimeColumn, VideoFrameReference,
    };
    use anyhow::Context;
    use serde_json::json;
    use sinew_datasets::{
        ACTION, DEFAULT_FEATURES, Dataset, Episode, IMAGES, Pixels, Reader, ReaderOptions, STATE,
        VideoSpan,
    };
    use std::collections::HashSet;
    use std::path::Path;

    /// Timeline, s from an episode's first row.
    const TIME: &str = "time";
    /// Largest video file that is put into the recording whole.
    const VIDEO_LIMIT_BYTES: u64 = 1 << 30;

    pub(in crate::commands::dataset) fn record(
        args: &Args,
        to: &str,
        chosen: &[u64],
    ) -> Result<()> {
        let dataset = open(&args.path)?;
        let chosen: Vec<u64> = match chosen {
            [] => dataset.episodes().iter().map(|e| e.index).collect(),
            some => some.to_vec(),
        };
        let entries: Vec<&Episode> = chosen
            .iter()
            .map(|e| dataset.episode(*e))
            .collect::<Result<_, _>>()
            .map_err(usage)?;
        let mut out = Recording::begin(&dataset, to)?;
        let mut progress = Progress::new("episodes");
        for (done, entry) in entries.iter().enumerate() {
            progress.at(done as u64, entries.len() as u64);
            out.episode(entry).with_context(|| {
                format!(
                    "episode {} cannot be shown; `sinew dataset doctor` says all that is wrong with a dataset",
                    entry.index
                )
            })?;
        }
        drop(progress);
        out.stream
            .flush_blocking()
            .context("the recording cannot be completed")?;
        let frames: u64 = entries.iter().map(|e| e.length).sum();
        if args.json {
            let made = json!({"to": to, "episodes": entries.len(), "frames": frames});
            println!("{}", serde_json::to_string_pretty(&made)?);
        } else {
            println!("{to}: {} episodes, {frames} frames", entries.len());
        }
        Ok(())
    }

    struct Recording<'a> {
        dataset: &'a Dataset,
        stream: RecordingStream,
        /// Cameras that Rerun cannot play: pictures in parquet files, and distances.
        decoded: Vec<String>,
        /// Reads those.
        pictures: Option<Reader>,
        /// Video files that are in the recording.
        videos: HashSet<String>,
    }

    /// The entity `episode/NUMBER/…`, whatever characters the names have.
    fn entity(episode: u64, parts: &[&str]) -> EntityPath {
        let number = episode.to_string();
        let all = ["episode", &number]
            .into_iter()
            .chain(parts.iter().copied());
        EntityPath::from(all.map(EntityPathPart::new).collect::<Vec<_>>())
    }

    impl<'a> Recording<'a> {
        fn begin(dataset: &'a Dataset, to: &str) -> Result<Self> {
            let builder = RecordingStreamBuilder::new("sinew dataset");
            let stream = match to {
                "spawn" => builder.spawn().map_err(|e| {
                    usage(format!("the Rerun viewer did not open: {e}; `pip install rerun-sdk==0.36.3` brings it"))
                })?,
                file if Path::new(file).extension().is_some_and(|e| e == "rrd") => {
                    builder.save(file).map_err(|e| usage(format!("{file}: {e}")))?
                }
                other => {
                    return Err(usage(format!("{other} is neither a file that ends with .rrd nor `spawn`")));
                }
            };
            let depth = |info: Option<&serde_json::Map<String, serde_json::Value>>| {
                let said = |key| {
                    info.and_then(|i| i.get(key))
                        .and_then(serde_json::Value::as_bool)
                };
                said("is_depth_map").or(said("video.is_depth_map")) == Some(true)
            };
            let features = dataset.info().features.iter();
            let decoded: Vec<String> = features
                .filter(|(_, f)| f.is_camera() && (!f.is_video() || depth(f.info.as_ref())))
                .map(|(name, _)| name.to_owned())
                .collect();
            let reader = (!decoded.is_empty()).then(|| {
                dataset.reader(&ReaderOptions {
                    features: Some(decoded.clone()),
                    ..ReaderOptions::default()
                })
            });
            Ok(Self {
                dataset,
                stream,
                pictures: reader.transpose()?,
                decoded,
                videos: HashSet::new(),
            })
        }

        fn episode(&mut self, entry: &Episode) -> Result<()> {
            let task = TextDocument::new(entry.tasks.join("\n"));
            self.stream
                .log_static(entity(entry.index, &["task"]), &task)?;
            self.numbers(entry)?;
            for span in &entry.videos {
                if !self.decoded.contains(&span.key) {
                    self.video(entry, span)?;
                }
            }
            self.pictures(entry)
        }

        fn times(&self, entry: &Episode) -> TimeColumn {
            let fps = f64::from(self.dataset.info().fps);
            TimeColumn::new_duration_secs(TIME, (0..entry.length).map(|row| row as f64 / fps))
        }

        fn numbers(&self, entry: &Episode) -> Result<()> {
            let features = self.dataset.info().features.iter();
            for (name, _) in features.filter(|(_, f)| f.is_numeric()) {
                if DEFAULT_FEATURES.iter().any(|(own, _)| *own == name) {
                    continue;
                }
                let series = self.dataset.series(entry.index, name)?;
                for at in 0..series.width {
                    let number = at.to_string();
                    let own = series.names.get(at).map_or(number.as_str(), String::as_str);
                    let path = match name {
                        STATE => entity(entry.index, &["joints", own, "state"]),
                        ACTION => entity(entry.index, &["joints", own, "action"]),
                        _ if series.width == 1 => entity(entry.index, &[name]),
                        _ => entity(entry.index, &[name, own]),
                    };
                    let values = series.values.iter().skip(at).step_by(series.width).copied();
                    let columns = Scalars::new(values).columns_of_unit_batches()?;
                    self.stream
                        .send_columns(path, [self.times(entry)], columns)?;
                }
            }
            Ok(())
        }

        /// The video's file, once, and for each row which moment of it is shown.
        fn video(&mut self, entry: &Episode, span: &VideoSpan) -> Result<()> {
            let file = self.dataset.info().video_file(&span.key, span.file)?;
            let name = file.display().to_string();
            let asset = EntityPath::from(vec![
                EntityPathPart::new("videos"),
                EntityPathPart::new(name.as_str()),
            ]);
            if self.videos.insert(name) {
                let path = self.dataset.root().join(&file);
                let bytes = std::fs::metadata(&path)
                    .with_context(|| path.display().to_string())?
                    .len();
                if bytes > VIDEO_LIMIT_BYTES {
                    return Err(usage(format!(
                        "{} has {bytes} bytes, too many for a recording",
                        path.display()
                    )));
                }
                let video = AssetVideo::from_file_path(&path)
                    .with_context(|| path.display().to_string())?;
                self.stream.log_static(asset.clone(), &video)?;
            }
            let fps = f64::from(self.dataset.info().fps);
            let moment = |row: u64| VideoTimestamp::from_secs(span.from_s + row as f64 / fps);
            let frames = VideoFrameReference::update_fields()
                .with_many_timestamp((0..entry.length).map(moment))
                .columns_of_unit_batches()?;
            let shown = VideoFrameReference::update_fields()
                .with_video_reference(asset.to_string().as_str());
            let camera = span.key.strip_prefix(IMAGES).unwrap_or(&span.key);
            let path = entity(entry.index, &["cameras", camera]);
            self.stream.log_static(path.clone(), &shown)?;
            Ok(self
                .stream
                .send_columns(path, [self.times(entry)], frames)?)
        }

        fn pictures(&self, entry: &Episode) -> Result<()> {
            let Some(reader) = &self.pictures else {
                return Ok(());
            };
            let fps = f64::from(self.dataset.info().fps);
            for row in 0..entry.length {
                let item = reader.get_in(entry.index, row)?;
                self.stream.set_duration_secs(TIME, row as f64 / fps);
                for (name, value) in &item.values {
                    let Some(image) = value.image() else { continue };
                    let camera = name.strip_prefix(IMAGES).unwrap_or(name);
                    let path = entity(entry.index, &["cameras", camera]);
                    let size = [u32::try_from(image.width)?, u32::try_from(image.height)?];
                    match &image.pixels {
                        Pixels::Rgb(rgb) => {
                            self.stream
                                .log(path, &Image::from_rgb24(rgb.clone(), size))?;
                        }
                        Pixels::Depth(distances) => {
                            let bytes: Vec<u8> =
                                distances.iter().flat_map(|d| d.to_le_bytes()).collect();
                            let depth = DepthImage::from_data_type_and_bytes(
                                bytes,
                                size,
                                ChannelDatatype::F32,
                            );
                            self.stream.log(path, &depth.with_meter(1000.0))?;
                        }
                    }
                }
            }
            Ok(())
        }
    }
}

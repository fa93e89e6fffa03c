//! The video files of a result.
//!
//! Episodes of one source file stay together. A file whose episodes are all kept is copied; from
//! others the kept frames are moved without decoding; an episode that is cut between key frames is
//! decoded and encoded again, alone, into a file of its own. Packing (`joining.rs`) instead fills
//! files up to a size.

use super::VideoWork;
use super::place::copy_file;
use super::plan::{Plan, Planned, Segment, Source};
use crate::episodes::VideoSpan;
use crate::error::{Error, Result};
use crate::features::Feature;
use crate::fsio;
use crate::info::{FileIndex, Info};
use crate::mp4;
use crate::spec::Codec;
use crate::video::remux::{self, Piece, Track};
use crate::video::{VideoReader, VideoSpec, VideoWriter, pick_encoder};
use serde_json::Value;
use sinew_runtime::frame::Frame;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All videos of a result.
#[derive(Debug, Default)]
pub(super) struct WrittenVideos {
    /// Where the frames of each episode are, camera after camera.
    pub(super) spans: Vec<Vec<VideoSpan>>,
    pub(super) work: VideoWork,
}

/// Whether a camera's values are distances.
pub(super) fn is_depth(feature: &Feature) -> bool {
    let info = feature.info.as_ref();
    let says = |key| info.and_then(|i| i.get(key)).and_then(Value::as_bool);
    says("is_depth_map").or(says("video.is_depth_map")) == Some(true)
}

/// Writes the videos under `root`.
pub(super) fn write(plan: &Plan<'_>, info: &Info, root: &Path) -> Result<WrittenVideos> {
    let mut written = WrittenVideos {
        spans: vec![Vec::new(); plan.segments.len()],
        work: VideoWork::default(),
    };
    for (planned, source_key) in plan.videos() {
        let mut camera = Camera {
            plan,
            planned,
            source_key,
            info,
            root,
            next: FileIndex::default(),
            written: &mut written,
        };
        match plan.pack {
            Some(limits) => camera.pack(limits.video_bytes)?,
            None => camera.write()?,
        }
    }
    Ok(written)
}

/// One camera's files in progress.
pub(super) struct Camera<'a> {
    pub(super) plan: &'a Plan<'a>,
    planned: &'a Planned,
    source_key: &'a str,
    pub(super) info: &'a Info,
    root: &'a Path,
    next: FileIndex,
    pub(super) written: &'a mut WrittenVideos,
}

/// An episode's frames in its source file.
pub(super) struct Wanted {
    /// Episode of the result.
    pub(super) place: usize,
    pub(super) frames: Range<u64>,
}

/// Refuses a file with fewer frames than its episodes need.
pub(super) fn check_stored(file: &Path, stored: u64, wanted: &[Wanted]) -> Result<()> {
    match wanted.iter().find(|w| w.frames.end > stored) {
        None => Ok(()),
        Some(beyond) => Err(Error::corrupt(
            file,
            format!(
                "it has {stored} frames, but its episodes need {}",
                beyond.frames.end
            ),
        )),
    }
}

impl Camera<'_> {
    fn write(&mut self) -> Result<()> {
        let segments = &self.plan.segments;
        let mut start = 0;
        while start < segments.len() {
            let file = self.file_of(&segments[start])?;
            let mut end = start + 1;
            while end < segments.len()
                && segments[end].source == segments[start].source
                && self.file_of(&segments[end])? == file
            {
                end += 1;
            }
            self.write_group(start..end, &file)?;
            start = end;
        }
        Ok(())
    }

    fn source(&self, segment: &Segment) -> &Source {
        &self.plan.sources[segment.source]
    }

    pub(super) fn file_of(&self, segment: &Segment) -> Result<PathBuf> {
        let source = self.source(segment);
        source.video_file(source.span(segment.episode, self.source_key)?)
    }

    /// The frames of an episode in its file, as the episode table has them.
    pub(super) fn frames_of(&self, segment: &Segment, file: &Path) -> Result<Range<u64>> {
        let source = self.source(segment);
        let span = source.span(segment.episode, self.source_key)?;
        let fps = f64::from(source.info.fps);
        let length = source.episodes[segment.episode].length;
        let from = (span.from_s * fps).round();
        let to = (span.to_s * fps).round();
        if !(0.0..1e15).contains(&from) || to - from != length as f64 {
            return Err(Error::corrupt(
                file,
                format!(
                    "episode {} has {length} rows, but its video goes from {} s to {} s",
                    segment.episode, span.from_s, span.to_s
                ),
            ));
        }
        let from = from as u64;
        Ok(from + segment.from..from + segment.to)
    }

    /// Writes the episodes `places`, whose frames are all in `file`.
    fn write_group(&mut self, places: Range<usize>, file: &Path) -> Result<()> {
        let mut wanted = Vec::new();
        for place in places.clone() {
            let frames = self.frames_of(&self.plan.segments[place], file)?;
            wanted.push(Wanted { place, frames });
        }
        check_stored(file, mp4::probe(file)?.frames, &wanted)?;
        let reencode = self.plan.reencode.filter(|r| r.covers(self.source_key));
        if let Some(how) = reencode {
            let spec = how.spec(&self.planned.feature, self.info.fps)?;
            return self.encode(&wanted, file, 0, spec);
        }
        if self.is_whole(&places)? {
            return self.copy(&places, file);
        }
        self.cut(&wanted, file)
    }

    /// Whether the episodes are all that the source has in this file, uncut and in its order.
    pub(super) fn is_whole(&self, places: &Range<usize>) -> Result<bool> {
        let group = &self.plan.segments[places.clone()];
        let source = self.source(&group[0]);
        let file = source.span(group[0].episode, self.source_key)?.file;
        let of_file = (0..source.episodes.len()).filter(|e| {
            source
                .span(*e, self.source_key)
                .is_ok_and(|s| s.file == file)
        });
        let uncut = group
            .iter()
            .all(|s| s.rows() == source.episodes[s.episode].length);
        Ok(uncut && of_file.eq(group.iter().map(|s| s.episode)))
    }

    pub(super) fn copy(&mut self, places: &Range<usize>, file: &Path) -> Result<()> {
        let (at, path) = self.next_file()?;
        copy_file(file, &path)?;
        for place in places.clone() {
            let segment = &self.plan.segments[place];
            let old = self
                .source(segment)
                .span(segment.episode, self.source_key)?;
            let (from_s, to_s) = (old.from_s, old.to_s);
            self.add_span(place, at, from_s, to_s);
        }
        self.written.work.copied_files += 1;
        Ok(())
    }

    /// Moves the frames of runs of episodes that can be moved; encodes the others one by one.
    pub(super) fn cut(&mut self, wanted: &[Wanted], file: &Path) -> Result<()> {
        let track = Track::read(file, self.info.fps)?;
        let movable = |w: &Wanted| track.run(w.frames.start, w.frames.end);
        let mut rest = wanted;
        while let Some(first) = rest.first() {
            let pieces: Vec<Piece<'_>> = rest
                .iter()
                .map_while(|w| {
                    movable(w).map(|samples| Piece {
                        track: &track,
                        samples,
                    })
                })
                .collect();
            if pieces.is_empty() {
                self.encode_between_keys(first, &track)?;
                rest = &rest[1..];
                continue;
            }
            let (at, path) = self.next_file()?;
            remux::join(&pieces, self.info.fps, &path)?;
            let (moved, others) = rest.split_at(pieces.len());
            self.check(&path, moved)?;
            self.add_spans(moved, at);
            self.written.work.remuxed_files += 1;
            rest = others;
        }
        Ok(())
    }

    /// Encodes an episode that does not begin at a key frame, in the codec of its camera.
    fn encode_between_keys(&mut self, wanted: &Wanted, track: &Track) -> Result<()> {
        let spec = self.like_recorded(wanted, track)?;
        let Some(key) = track.start_before(wanted.frames.start, wanted.frames.end) else {
            return self.encode(std::slice::from_ref(wanted), &track.path, 0, spec);
        };
        // Only what is needed is decoded.
        let part = self.root.join("part.mp4");
        if let Some(samples) = track.run(key, wanted.frames.end) {
            remux::join(&[Piece { track, samples }], self.info.fps, &part)?;
        }
        self.encode(std::slice::from_ref(wanted), &part, key, spec)?;
        std::fs::remove_file(&part).map_err(Error::io("remove", &part))
    }

    /// Settings like those with which the camera was recorded.
    fn like_recorded(&self, wanted: &Wanted, track: &Track) -> Result<VideoSpec> {
        let feature = &self.planned.feature;
        let fact = |key: &str| feature.info.as_ref().and_then(|i| i.get(key));
        let codec = match fact("video.codec").and_then(Value::as_str) {
            Some("h264") => Codec::H264,
            Some("hevc") => Codec::Hevc,
            Some("av1") => Codec::Av1,
            codec => {
                return Err(Error::video(
                    &track.path,
                    format!(
                        "episode {} would be cut between key frames, and {} cannot be encoded here; cut elsewhere, or re-encode the camera first",
                        self.plan.segments[wanted.place].episode,
                        codec.unwrap_or("a codec that info.json does not name")
                    ),
                ));
            }
        };
        let how = super::Reencode {
            codec,
            ..super::Reencode::default()
        };
        let mut spec = how.spec(feature, self.info.fps)?;
        let number = |key| {
            fact(key)
                .and_then(Value::as_u64)
                .and_then(|v| u32::try_from(v).ok())
        };
        spec.gop = number("video.g").filter(|g| *g > 0).unwrap_or(spec.gop);
        spec.crf = number("video.crf").filter(|c| *c <= 51).unwrap_or(spec.crf);
        spec.encoder = pick_encoder(codec)?;
        Ok(spec)
    }

    /// Decodes `file`, whose first frame has the number `first`, and encodes the wanted frames into
    /// one new file.
    fn encode(
        &mut self,
        wanted: &[Wanted],
        file: &Path,
        first: u64,
        spec: VideoSpec,
    ) -> Result<()> {
        let (at, path) = self.next_file()?;
        let mut reader = VideoReader::open(file)?;
        let mut writer = VideoWriter::create(&path, spec)?;
        let end = wanted.iter().map(|w| w.frames.end).max().unwrap_or(0);
        let mut number = first;
        while number < end {
            let Some(picture) = reader.next_picture()? else {
                return Err(Error::corrupt(
                    file,
                    format!("it ends after {} frames when decoded", number - first),
                ));
            };
            if wanted.iter().any(|w| w.frames.contains(&number)) {
                writer.push(Arc::new(Frame::new(
                    picture.width,
                    picture.height,
                    picture.rgb,
                )))?;
            }
            number += 1;
        }
        writer.finish()?;
        self.check(&path, wanted)?;
        self.add_spans(wanted, at);
        self.written.work.reencoded_files += 1;
        self.written.work.reencoded_frames += wanted
            .iter()
            .map(|w| w.frames.end - w.frames.start)
            .sum::<u64>();
        Ok(())
    }

    /// Counts the frames of a new file before anything refers to it.
    pub(super) fn check(&self, path: &Path, wanted: &[Wanted]) -> Result<()> {
        let rows: u64 = wanted.iter().map(|w| w.frames.end - w.frames.start).sum();
        let frames = mp4::probe(path)?.frames;
        if frames == rows {
            return Ok(());
        }
        Err(Error::Misaligned {
            episode: wanted.first().map_or(0, |w| w.place as u64),
            camera: self.planned.name.clone(),
            rows,
            frames,
        })
    }

    pub(super) fn next_file(&mut self) -> Result<(FileIndex, PathBuf)> {
        let at = self.next;
        let path = self
            .root
            .join(self.info.video_file(&self.planned.name, at)?);
        if let Some(parent) = path.parent() {
            fsio::create_dir(parent)?;
        }
        self.next = at.next(self.info.chunks_size);
        Ok((at, path))
    }

    /// Spans of episodes that lie one after the other from the beginning of a file.
    pub(super) fn add_spans(&mut self, wanted: &[Wanted], at: FileIndex) {
        let fps = f64::from(self.info.fps);
        let mut frame = 0;
        for w in wanted {
            let end = frame + (w.frames.end - w.frames.start);
            self.add_span(w.place, at, frame as f64 / fps, end as f64 / fps);
            frame = end;
        }
    }

    fn add_span(&mut self, place: usize, file: FileIndex, from_s: f64, to_s: f64) {
        self.written.spans[place].push(VideoSpan {
            key: self.planned.name.clone(),
            file,
            from_s,
            to_s,
        });
    }
}

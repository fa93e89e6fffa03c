//! What of a running episode is whole after a crash.

use super::commit::{Finished, FinishedCamera, Kept};
use super::index::StreamHead;
use super::marks::{EpisodeMark, Gap};
use super::records::{Header, JOURNAL, PacketRecord, Record, Records, RowRecord};
use super::stream::StreamFile;
use crate::data::EpisodeRows;
use crate::error::{Error, Result};
use crate::features::Features;
use crate::info::Info;
use crate::spec::{CameraSpec, Storage};
use crate::video::recovered;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Journals beyond this are read no further: more than a day of rows.
const JOURNAL_LIMIT_BYTES: u64 = 4 << 30;

/// Rows and frames of an episode, equally many, as far as they are whole.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) header: Header,
    pub(crate) rows: EpisodeRows,
    /// Where rows were dropped while recording.
    pub(crate) gaps: Vec<Gap>,
    /// One a camera, cut to the number of rows.
    pub(crate) streams: Vec<StreamFile>,
    /// Whole rows in the journal, whether or not all their frames are there.
    pub(crate) rows_found: u64,
}

impl Replay {
    /// Whether it holds rows of the episode that would come next in the dataset. An older one was
    /// saved, and only its journal was not removed.
    pub(crate) fn is_of(&self, info: &Info) -> bool {
        self.header.episode == info.total_episodes && self.rows.len() > 0
    }

    /// Keeps at most the first `rows` rows with their frames.
    pub(crate) fn cut(&mut self, rows: u64) {
        self.rows.truncate(rows);
        self.gaps.retain(|gap| gap.before_row < rows);
        for stream in &mut self.streams {
            stream.cut(rows.min(stream.frames()));
        }
    }

    /// Finishes the videos and decodes them: for the statistics, which the crash took, and to be
    /// sure that every frame is there.
    pub(crate) fn finish(self, staging: &Path, features: &Features) -> Result<Finished> {
        let mut mark = EpisodeMark::default();
        for gap in self.gaps {
            mark.gap(gap.before_row, gap.rows);
        }
        let mut cameras = Vec::new();
        for (spec, stream) in self.header.spec.cameras.iter().zip(self.streams) {
            let key = spec.key();
            let feature = features.get(&key).ok_or_else(|| {
                Error::corrupt(
                    &stream_path(staging, spec),
                    "the dataset has no such camera",
                )
            })?;
            let (kept, stats) = match spec.storage {
                Storage::Images => {
                    let stats = recovered::picture_stats(spec, feature, &stream)?;
                    (Kept::Pictures(stream), stats)
                }
                Storage::Video => {
                    let path = stream_path(staging, spec);
                    let video = stream.finish()?;
                    let fps = self.header.spec.fps;
                    let stats = recovered::video_stats(&path, feature, fps, video.frames)?;
                    (Kept::Video(staged_name(spec), video), stats)
                }
            };
            cameras.push(FinishedCamera {
                spec: spec.clone(),
                kept,
                stats,
            });
        }
        Ok(Finished {
            rows: self.rows,
            cameras,
            mark,
        })
    }
}

/// Name of a camera's file in the staging folder.
pub(crate) fn staged_name(camera: &CameraSpec) -> PathBuf {
    let ending = match camera.storage {
        Storage::Video => "mp4",
        Storage::Images => "pictures",
    };
    format!("{}.{ending}", camera.key()).into()
}

/// Path of a camera's file in the staging folder.
pub(crate) fn stream_path(staging: &Path, camera: &CameraSpec) -> PathBuf {
    staging.join(staged_name(camera))
}

/// Reads the journal in `staging`; `None` if there is none, or none that says what it is.
pub(crate) fn replay(staging: &Path) -> Result<Option<Replay>> {
    let path = staging.join(JOURNAL);
    if !path.exists() {
        return Ok(None);
    }
    let file = File::open(&path).map_err(Error::io("open", &path))?;
    let mut records = Records::new(BufReader::new(file.take(JOURNAL_LIMIT_BYTES)));
    let Some(Record::Header(header)) = records.next() else {
        return Ok(None);
    };
    if header.spec.check().is_err() {
        return Ok(None);
    }
    let mut found = Found::new(header.spec.cameras.len());
    for record in records {
        if !found.take(record) {
            break;
        }
    }
    found.assemble(staging, *header).map(Some)
}

/// The journal's contents, in order.
struct Found {
    rows: Vec<RowRecord>,
    /// Changes of the task: the first row, and the sentence.
    tasks: Vec<(u64, String)>,
    heads: Vec<Option<StreamHead>>,
    packets: Vec<Vec<PacketRecord>>,
}

impl Found {
    fn new(cameras: usize) -> Self {
        Self {
            rows: Vec::new(),
            tasks: Vec::new(),
            heads: vec![None; cameras],
            packets: vec![Vec::new(); cameras],
        }
    }

    /// False when the record does not continue what came before.
    fn take(&mut self, record: Record) -> bool {
        match record {
            Record::Header(_) => false,
            Record::Task(task) => {
                self.tasks.push((self.rows.len() as u64, task));
                true
            }
            Record::Stream(camera, head) => {
                let slot = self.heads.get_mut(usize::from(camera));
                slot.map(|slot| *slot = Some(head)).is_some()
            }
            Record::Row(row) => {
                let follows = row.number == self.rows.len() as u64;
                if follows {
                    self.rows.push(row);
                }
                follows
            }
            Record::Packet(packet) => {
                let packets = self.packets.get_mut(usize::from(packet.camera));
                packets.is_some_and(|packets| {
                    let follows = packet.number == packets.len() as u64;
                    if follows {
                        packets.push(packet);
                    }
                    follows
                })
            }
        }
    }

    fn assemble(self, staging: &Path, header: Header) -> Result<Replay> {
        let mut streams = Vec::new();
        for ((camera, head), packets) in
            header.spec.cameras.iter().zip(self.heads).zip(self.packets)
        {
            let mut stream = StreamFile::reopen(&stream_path(staging, camera), head)?;
            for packet in packets {
                if !stream.claim(packet.size, packet.crc, packet.key) {
                    break;
                }
            }
            streams.push(stream);
        }
        let frames = streams.iter().map(StreamFile::frames).min();
        let wanted = frames.unwrap_or(u64::MAX);
        let mut rows = EpisodeRows::new(&header.spec, &header.task);
        let mut gaps = Vec::new();
        let mut tasks = self.tasks.into_iter().peekable();
        for row in self.rows.iter().take_while(|row| row.number < wanted) {
            if rows.problem(row).is_some() {
                break;
            }
            while let Some((_, task)) = tasks.next_if(|(first, _)| *first <= row.number) {
                rows.set_task(&task);
            }
            if row.dropped_before > 0 {
                gaps.push(Gap {
                    before_row: row.number,
                    rows: row.dropped_before.into(),
                });
            }
            rows.push(row);
        }
        for stream in &mut streams {
            stream.cut(rows.len());
        }
        Ok(Replay {
            header,
            rows,
            gaps,
            streams,
            rows_found: self.rows.len() as u64,
        })
    }
}

//! Where a stranger's bytes come in: one function a parser. None may panic, hang, or take much more
//! memory than its limits say. Compiled for `fuzz/` and for the tests, which replay what it found.

use crate::doctor;
use crate::episodes::{self, Episode};
use crate::files::{FileEntry, Files, ReadAt};
use crate::info::{FileIndex, Info};
use crate::journal::marks::EpisodeMarks;
use crate::journal::plan::Plan;
use crate::journal::records::{JOURNAL, MAGIC, checksum};
use crate::journal::replay::{replay, stream_path};
use crate::journal::stream::FRAMES_AT;
use crate::mp4;
use crate::reader::pictures::Stored;
use crate::reader::{Dataset, ReaderOptions};
use crate::recorder::{Recorder, Row};
use crate::spec::{CameraSpec, Codec, DatasetSpec};
use crate::stats::Stats;
use crate::tasks::Tasks;
use crate::video::frames::Frames;
use crate::video::remux;
use crate::video::samples::Track;
use serde_json::{Map, json};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The name of a target, and what takes its input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this crate, by the name of their folder in `fuzz/regressions`.
pub const TARGETS: [Target; 11] = [
    ("info", info),
    ("tasks", tasks),
    ("episodes", episodes),
    ("rows", rows),
    ("mp4", mp4),
    ("mcap", mcap),
    ("journal", journal),
    ("marks", marks),
    ("picture", picture),
    ("decode", decode),
    ("dataset", dataset),
];

/// Rows of an episode in the datasets below.
const ROWS: u64 = 5;

/// `meta/info.json`.
pub fn info(bytes: &[u8]) {
    let Ok(info) = Info::parse(here(), bytes) else {
        return;
    };
    let at = FileIndex::default();
    let _ = info.data_file(at);
    for (name, feature) in info.features.iter() {
        let _ = (feature.entry_names(), info.video_file(name, at));
    }
    let _ = info.to_bytes();
    let empty = Dataset::assemble(here(), info, Tasks::default(), Vec::new(), one_file(&[]));
    let _ = empty.reader(&options());
}

/// `meta/tasks.parquet`.
pub fn tasks(bytes: &[u8]) {
    let _ = Tasks::read_file(here(), Arc::new(bytes.to_vec()));
}

/// A file of `meta/episodes`.
pub fn episodes(bytes: &[u8]) {
    static INFO: OnceLock<Info> = OnceLock::new();
    let info = INFO.get_or_init(|| {
        let mut info = Info::new(30, "arm", spec(&["front"]).features(|_| Map::new()));
        info.total_episodes = u64::MAX;
        info
    });
    for with_stats in [false, true] {
        let mut found = Vec::new();
        let _ = episodes::read_file(
            here(),
            Arc::new(bytes.to_vec()),
            info,
            with_stats,
            &mut found,
        );
    }
}

/// A data file: the columns of every type that LeRobot writes.
pub fn rows(bytes: &[u8]) {
    let feature = |dtype: &str, shape: &[u64]| json!({"dtype": dtype, "shape": shape});
    let mut features = json!({
        "action": feature("float32", &[2]),
        "force": feature("float64", &[2, 3]),
        "grasped": feature("bool", &[1]),
        "note": feature("string", &[1]),
        "language_persistent": feature("language", &[1]),
        "camera": feature("image", &[4, 4, 3]),
        "depth": feature("image", &[4, 4, 1]),
    });
    features["depth"]["info"] = json!({"is_depth_map": true});
    for (name, dtype) in crate::features::DEFAULT_FEATURES {
        features[name] = feature(dtype, &[1]);
    }
    let (Ok(features), Some(names)) = (
        serde_json::from_value(features.clone()),
        features
            .as_object()
            .map(|f| f.keys().cloned().collect::<Vec<_>>()),
    ) else {
        return;
    };
    let mut tasks = Tasks::default();
    tasks.number("pick");
    let info = Info::new(30, "arm", features);
    let episodes = vec![episode(0), episode(1)];
    let dataset = Dataset::assemble(here(), info, tasks, episodes, one_file(bytes));
    for name in names {
        let _ = dataset.series(0, &name);
        let only = ReaderOptions {
            features: Some(vec![name]),
            ..options()
        };
        let Ok(reader) = dataset.reader(&only) else {
            continue;
        };
        for frame in [0, ROWS - 1, ROWS, 2 * ROWS - 1] {
            let _ = reader.get(frame);
        }
    }
}

/// A video's index: every part of the crate that reads one.
pub fn mp4(bytes: &[u8]) {
    let file = bytes.to_vec();
    if let Ok(info) = mp4::probe_in(here(), &file) {
        let _ = info.is_constant_rate(30);
    }
    if let Ok(track) = remux::Track::read_in(here(), &file, 30) {
        let frames = track.frames();
        let _ = (track.run(0, frames), track.start_before(frames / 2, frames));
    }
    if let Ok(track) = Track::read(here(), &file)
        && let Some(sample) = track.nearest(0.1)
    {
        assert!(track.key_before(sample) <= sample);
    }
    doctor::read_index(here(), &file);
}

/// An MCAP file with ROS 2 messages.
pub fn mcap(bytes: &[u8]) {
    let _ = crate::convert::inspect(bytes);
}

/// The journal of a crashed recording, and the videos that it speaks of.
pub fn journal(bytes: &[u8]) {
    let staging = scratch("journal");
    let ready = |cameras: &[&str]| -> io::Result<()> {
        std::fs::create_dir_all(&staging)?;
        std::fs::write(staging.join(JOURNAL), with_right_checksums(bytes))?;
        cameras.iter().try_for_each(|name| {
            let camera = CameraSpec::rgb(name, 64, 48);
            File::create(stream_path(&staging, &camera))?.set_len(FRAMES_AT + FRAME_BYTES)
        })
    };
    if ready(&["front", "wrist"]).is_err() {
        return;
    }
    let Ok(Some(found)) = replay(&staging) else {
        return;
    };
    assert!(found.rows.len() <= found.rows_found);
    for stream in found.streams {
        assert!(stream.frames() >= found.rows.len());
        let _ = stream.finish();
    }
}

/// JSON that the recorder leaves: marks of episodes, and the plan of an interrupted save.
pub fn marks(bytes: &[u8]) {
    if let Ok(marks) = EpisodeMarks::parse(here(), bytes) {
        let _ = marks.to_bytes();
    }
    let _ = Plan::parse(here(), bytes);
}

/// A picture stored in a data file; the first byte says whether it shows colours or distances.
pub fn picture(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let stored = if kind % 2 == 0 {
        Stored::Colour
    } else {
        Stored::Depth(0.001)
    };
    let _ = stored.decode(here(), bytes);
}

/// Pictures of a video: its index and its frames, by the installed decoder.
pub fn decode(bytes: &[u8]) {
    let Ok(track) = Track::read(here(), &bytes.to_vec()) else {
        return;
    };
    let frames = Frames::new(one_file(bytes), 1 << 20);
    let count = track.samples.len();
    for sample in (0..count.min(6)).chain(count.saturating_sub(2)..count) {
        let time_s = track.seconds(sample);
        let _ = frames.at(here(), &[time_s], 1e-4, None);
    }
}

/// A whole dataset with one damaged file, opened and examined; the first byte chooses the file.
pub fn dataset(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else {
        return;
    };
    let root = scratch("dataset");
    let files = [
        "meta/info.json",
        "meta/stats.json",
        "meta/tasks.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "data/chunk-000/file-000.parquet",
    ];
    static SOUND: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let sound = SOUND.get_or_init(|| {
        let _ = record(&root);
        files
            .iter()
            .map(|file| std::fs::read(root.join(file)).unwrap_or_default())
            .collect()
    });
    let which = usize::from(*which) % files.len();
    let path = root.join(files[which]);
    if std::fs::write(&path, bytes).is_err() {
        return;
    }
    let _ = doctor::examine(&root, &doctor::Options::thorough());
    if let Ok(dataset) = Dataset::open(&root) {
        let _ = (
            dataset.actions(0),
            dataset.reader(&options()).map(|reader| reader.get(0)),
        );
    }
    let _ = std::fs::write(&path, &sound[which]);
}

/// What error messages call the file.
fn here() -> &'static Path {
    Path::new("fuzzed")
}

fn options() -> ReaderOptions {
    ReaderOptions {
        parallel_cameras: false,
        ..ReaderOptions::default()
    }
}

/// A dataset whose every file is this one.
#[derive(Debug)]
struct OneFile(Arc<Vec<u8>>);

impl Files for OneFile {
    fn open(&self, _path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        Ok(self.0.clone())
    }

    fn list(&self, _folder: &Path) -> io::Result<Vec<FileEntry>> {
        Ok(Vec::new())
    }
}

fn one_file(bytes: &[u8]) -> Arc<dyn Files> {
    Arc::new(OneFile(Arc::new(bytes.to_vec())))
}

fn episode(index: u64) -> Episode {
    Episode {
        index,
        tasks: Vec::new(),
        length: ROWS,
        data: FileIndex::default(),
        from_index: index * ROWS,
        to_index: (index + 1) * ROWS,
        videos: Vec::new(),
        stats: Stats::default(),
        meta: FileIndex::default(),
    }
}

fn spec(cameras: &[&str]) -> DatasetSpec {
    let names = vec!["a.pos".to_owned(), "b.pos".to_owned()];
    DatasetSpec {
        robot_type: "arm".into(),
        fps: 30,
        state_names: names.clone(),
        action_names: names,
        cameras: cameras
            .iter()
            .map(|name| CameraSpec::rgb(name, 64, 48))
            .collect(),
        extras: Vec::new(),
        codec: Codec::Auto,
    }
}

/// Two short episodes without cameras.
fn record(root: &Path) -> crate::Result<()> {
    let mut recorder = Recorder::create(root, &spec(&[]))?;
    for _ in 0..2 {
        recorder.start_episode("pick")?;
        for row in 0..ROWS {
            let values = [row as f32, 0.5];
            recorder.add(Row {
                state: &values,
                action: &values,
                extra: &[],
                frames: &[],
            })?;
        }
        recorder.save_episode()?;
    }
    recorder.finalize().map(drop)
}

/// A folder of this process for parsers whose business is files; in memory where `TMPDIR` is.
fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sinew-fuzz-{}-{name}", std::process::id()))
}

/// Bytes of all frames in a video of [`journal`]; they are zeros.
const FRAME_BYTES: u64 = 16 << 10;

/// A journal with its lengths and checksums put right, so that what lies behind them is reached.
fn with_right_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let mut rest = bytes.get(MAGIC.len()..).unwrap_or_default();
    while let Some((head, body)) = rest.split_first_chunk::<8>() {
        let claimed = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let (payload, behind) = body.split_at(claimed.min(body.len()));
        let mut payload = payload.to_vec();
        put_frame_right(&mut payload);
        let length = (payload.len() as u32).to_le_bytes();
        out.extend(length);
        out.extend(checksum(&length, &payload).to_le_bytes());
        out.extend(payload);
        rest = behind;
    }
    out
}

/// Gives the record of a frame (kind 3: camera, number, size, checksum) the checksum of its bytes.
fn put_frame_right(payload: &mut [u8]) {
    if let [3, record @ ..] = payload
        && let Some(&mut [a, b, c, d]) = record.get_mut(10..14)
        && let Some(sum) = record.get_mut(14..18)
    {
        let size = (u32::from_le_bytes([a, b, c, d]) as usize).min(FRAME_BYTES as usize);
        sum.copy_from_slice(&crc32fast::hash(&[0; FRAME_BYTES as usize][..size]).to_le_bytes());
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay_kept;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fuzzing_found_stays_mended() {
        replay_kept::replay(&TARGETS);
        for name in ["journal", "dataset"] {
            let _ = std::fs::remove_dir_all(scratch(name));
        }
    }
}

//! A dataset on a hub reads as in its folder, to the bit, and only what is looked at is fetched.
#![cfg(all(feature = "gstreamer", feature = "remote"))]

#[path = "support/hub.rs"]
mod hub;
#[path = "support/mod.rs"]
mod support;

use arrow_array::RecordBatch;
use hub::{Asked, COMMIT, Host, TestHub, Trouble};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sinew_datasets::{
    CameraSpec, Codec, Dataset, DatasetSpec, HubName, HubOptions, LoaderOptions, Order,
    ReaderOptions, Recorder, Row, Token,
};
use sinew_runtime::frame::Frame;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use support::{record, spec, times};
use tempfile::TempDir;

const CAMERA: &str = "observation.images.front";

/// A folder that a test program makes once.
fn made_once(cell: &'static OnceLock<TempDir>, make: impl FnOnce(&Path)) -> PathBuf {
    let dir = cell.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        make(&dir.path().join("d"));
        dir
    });
    dir.path().join("d")
}

/// Three short episodes with two cameras.
fn small() -> PathBuf {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    made_once(&DIR, |root| {
        let mut recorder = Recorder::create(root, &spec(Codec::H264)).unwrap();
        for (episode, (task, rows)) in [("pick", 31), ("place", 2), ("pick", 24)]
            .iter()
            .enumerate()
        {
            record(&mut recorder, task, episode as u32, *rows);
        }
        recorder.finalize().unwrap();
    })
}

/// One episode of noise, which no codec makes small, and of numbers in many row groups.
fn large() -> PathBuf {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    made_once(&DIR, |root| {
        let names: Vec<String> = (0..14).map(|joint| format!("joint_{joint}.pos")).collect();
        let spec = DatasetSpec {
            robot_type: "two_arms".into(),
            fps: 30,
            state_names: names.clone(),
            action_names: names,
            cameras: vec![CameraSpec::rgb("front", 320, 240)],
            extras: vec![],
            codec: Codec::H264,
        };
        let mut recorder = Recorder::create(root, &spec).unwrap();
        recorder.start_episode("noise").unwrap();
        let mut seed = 1_u64;
        let mut random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as u32
        };
        for _ in 0..400 {
            let pixels = (0..320 * 240 * 3).map(|_| random() as u8).collect();
            let state: [f32; 14] = std::array::from_fn(|_| random() as f32);
            recorder
                .add(Row {
                    state: &state,
                    action: &state,
                    extra: &[],
                    frames: &[Arc::new(Frame::new(320, 240, pixels))],
                })
                .unwrap();
        }
        recorder.save_episode().unwrap();
        recorder.finalize().unwrap();
    })
}

/// Writes a parquet file again with so many rows in each row group, as LeRobot does with episodes.
fn regroup(path: &Path, rows: usize) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), schema, None).unwrap();
    for batch in batches {
        for start in (0..batch.num_rows()).step_by(rows) {
            let rows = rows.min(batch.num_rows() - start);
            writer.write(&batch.slice(start, rows)).unwrap();
            writer.flush().unwrap();
        }
    }
    writer.close().unwrap();
}

/// A hub that serves one dataset as `lab/set`, and how it is read.
struct Lab {
    hub: TestHub,
    options: HubOptions,
    _cache: TempDir,
}

impl Lab {
    fn new(root: &Path) -> Self {
        let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
        hub.serve("lab/set", root);
        let options = HubOptions {
            endpoint: hub.endpoint.clone(),
            token: Token::new("hf_secret"),
            cache: cache.path().to_owned(),
            patience: Duration::from_secs(10),
            backoff: Duration::from_millis(1),
            ..HubOptions::from_env().unwrap()
        };
        Self {
            hub,
            options,
            _cache: cache,
        }
    }

    fn open(&self) -> Dataset {
        let name: HubName = "hub://lab/set".parse().unwrap();
        Dataset::open_hub(&name, &self.options).unwrap()
    }
}

fn bytes(log: &[Asked]) -> u64 {
    log.iter().map(|asked| asked.sent).sum()
}

fn size(root: &Path, suffix: &str) -> u64 {
    let files = Dataset::open(root).unwrap().files().unwrap();
    let chosen = files
        .iter()
        .filter(|f| f.path.to_str().unwrap().ends_with(suffix));
    chosen.map(|f| f.size).sum()
}

#[test]
fn everything_reads_as_in_the_folder() {
    let lab = Lab::new(&small());
    lab.hub.set_page(1);
    let (here, there) = (Dataset::open(&small()).unwrap(), lab.open());
    assert_eq!(there.info(), here.info());
    assert_eq!(there.episodes(), here.episodes());
    assert_eq!(there.tasks(), here.tasks());
    for episode in 0..3 {
        assert_eq!(
            there.actions(episode).unwrap(),
            here.actions(episode).unwrap()
        );
        assert_eq!(
            there.record_batch(episode).unwrap(),
            here.record_batch(episode).unwrap()
        );
    }
    let options = ReaderOptions {
        delta_timestamps: vec![(CAMERA.into(), vec![-0.1, 0.0])],
        ..ReaderOptions::default()
    };
    let (here_reader, there_reader) = (
        here.reader(&options).unwrap(),
        there.reader(&options).unwrap(),
    );
    let order = Order::Shuffled { seed: 5, epoch: 0 };
    for index in (0..57).map(|p| order.at(p, 57)) {
        assert_eq!(
            there_reader.get(index).unwrap(),
            here_reader.get(index).unwrap()
        );
    }
    let loader = there_reader.load(&LoaderOptions::default()).unwrap();
    for (index, item) in loader.enumerate() {
        assert_eq!(item.unwrap(), here_reader.get(index as u64).unwrap());
    }
    let sorted = |dataset: &Dataset| {
        let mut files = dataset.files().unwrap();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    };
    assert_eq!(sorted(&there), sorted(&here));
}

#[test]
fn the_token_goes_to_the_hub_and_to_nobody_else() {
    let lab = Lab::new(&small());
    lab.hub.close("lab/set", "hf_secret", false);
    let reader = lab.open().reader(&ReaderOptions::default()).unwrap();
    reader.get(40).unwrap();
    let log = lab.hub.take_log();
    let tokens = |host| {
        log.iter()
            .filter(move |a: &&Asked| a.host == host)
            .map(|a| &a.authorization)
    };
    assert!(tokens(Host::Hub).all(|t| t.as_deref() == Some("Bearer hf_secret")));
    assert!(tokens(Host::Store).count() > 3);
    assert!(tokens(Host::Store).all(Option::is_none));
}

#[test]
fn one_frame_costs_a_small_part_of_its_files() {
    let root = large();
    let whole = size(&root, ".mp4");
    assert!(whole > 3 << 20, "{whole} bytes are no large video");
    let lab = Lab::new(&root);
    let dataset = lab.open();
    lab.hub.take_log();
    let reader = dataset.reader(&ReaderOptions::default()).unwrap();
    let item = reader.get(399).unwrap();
    let log = lab.hub.take_log();
    let local = Dataset::open(&root)
        .unwrap()
        .reader(&ReaderOptions::default())
        .unwrap();
    assert_eq!(item, local.get(399).unwrap());
    let video = log
        .iter()
        .filter(|a| a.target.contains(".mp4"))
        .cloned()
        .collect::<Vec<_>>();
    assert!(
        bytes(&video) < whole / 4,
        "{} of {whole} bytes",
        bytes(&video)
    );
    assert!(log.len() < 20, "{} requests", log.len());
}

#[test]
fn numbers_of_one_frame_cost_one_row_group_and_no_video() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("d");
    let mut recorder = Recorder::create(
        &root,
        &DatasetSpec {
            cameras: vec![],
            ..spec(Codec::H264)
        },
    )
    .unwrap();
    recorder.start_episode("long").unwrap();
    for row in 0..60_000_u32 {
        let state =
            std::array::from_fn::<f32, 6, _>(|joint| (row as f32 * (joint as f32 + 0.37)).sin());
        recorder
            .add(Row {
                state: &state,
                action: &state,
                extra: &times(&[f64::from(row)], &[0.01, 0.02]),
                frames: &[],
            })
            .unwrap();
    }
    recorder.save_episode().unwrap();
    recorder.finalize().unwrap();
    let local = Dataset::open(&root).unwrap();
    let data = root.join(local.info().data_file(local.episodes()[0].data).unwrap());
    regroup(&data, 500);
    let whole = data.metadata().unwrap().len();
    assert!(whole > 3 << 20, "{whole} bytes are no large file");
    let lab = Lab::new(&root);
    let dataset = lab.open();
    let reader = dataset.reader(&ReaderOptions::default()).unwrap();
    lab.hub.take_log();
    let item = reader.get(31_234).unwrap();
    let log = lab.hub.take_log();
    assert_eq!(
        item,
        local
            .reader(&ReaderOptions::default())
            .unwrap()
            .get(31_234)
            .unwrap()
    );
    assert!(bytes(&log) < whole / 8, "{} of {whole} bytes", bytes(&log));
    assert!(log.len() < 10, "{log:#?}");
    // The next frames of the same row group cost nothing.
    reader.get(31_235).unwrap();
    assert!(lab.hub.take_log().is_empty());
}

#[test]
fn a_sequence_is_fetched_once_in_few_requests_over_few_connections() {
    let root = large();
    let lab = Lab::new(&root);
    let reader = lab.open().reader(&ReaderOptions::default()).unwrap();
    lab.hub.take_log();
    let options = LoaderOptions {
        threads: 2,
        ..LoaderOptions::default()
    };
    assert_eq!(
        reader.load(&options).unwrap().map(Result::unwrap).count(),
        400
    );
    let log = lab.hub.take_log();
    let whole = size(&root, ".mp4") + size(&root, ".parquet");
    assert!(
        bytes(&log) < whole + whole / 8,
        "{} of {whole} bytes",
        bytes(&log)
    );
    let blocks = whole / (64 << 10);
    assert!(
        (log.len() as u64) < blocks / 2,
        "{} requests for {blocks} blocks",
        log.len()
    );
    let most = 2 * lab.options.connections as u32;
    assert!(
        lab.hub.connections() <= most,
        "{} connections",
        lab.hub.connections()
    );
}

#[test]
fn little_memory_costs_requests_and_nothing_else() {
    let mut lab = Lab::new(&small());
    lab.options.memory_bytes = 1;
    lab.options.connections = 1;
    let reader = lab.open().reader(&ReaderOptions::default()).unwrap();
    let local = Dataset::open(&small())
        .unwrap()
        .reader(&ReaderOptions::default())
        .unwrap();
    for index in [56, 0, 31] {
        assert_eq!(reader.get(index).unwrap(), local.get(index).unwrap());
    }
}

#[test]
fn what_is_kept_on_the_disk_is_not_fetched_again() {
    let mut lab = Lab::new(&small());
    lab.options.disk_bytes = 64 << 20;
    let read = |lab: &Lab| {
        let reader = lab.open().reader(&ReaderOptions::default()).unwrap();
        lab.hub.take_log();
        let items: Vec<_> = (0..57).map(|index| reader.get(index).unwrap()).collect();
        (items, lab.hub.take_log())
    };
    let (before, _) = read(&lab);
    let (after, log) = read(&lab);
    assert_eq!(before, after);
    assert!(log.iter().all(|asked| asked.method == "HEAD"), "{log:#?}");
}

#[test]
fn metadata_is_fetched_once_for_each_commit() {
    let lab = Lab::new(&small());
    lab.open();
    lab.hub.take_log();
    let dataset = lab.open();
    let asked: Vec<String> = lab.hub.take_log().into_iter().map(|a| a.target).collect();
    assert_eq!(
        asked,
        [
            "/api/datasets/lab/set/refs",
            "/api/datasets/lab/set/revision/v3.0"
        ]
    );
    // A commit is what it is: nothing is left to ask.
    let name: HubName = format!("hub://lab/set@{COMMIT}").parse().unwrap();
    let pinned = Dataset::open_hub(&name, &lab.options).unwrap();
    assert!(lab.hub.take_log().is_empty());
    assert_eq!(pinned.episodes(), dataset.episodes());
}

#[test]
fn a_push_does_not_mix_versions() {
    let lab = Lab::new(&small());
    let before = lab.open();
    lab.hub.push("lab/set", &large(), "f".repeat(40).as_str());
    let local = Dataset::open(&small()).unwrap();
    assert_eq!(before.actions(2).unwrap(), local.actions(2).unwrap());
    let reader = before.reader(&ReaderOptions::default()).unwrap();
    let local = local.reader(&ReaderOptions::default()).unwrap();
    assert_eq!(reader.get(50).unwrap(), local.get(50).unwrap());
    assert_eq!(lab.open().len(), 400, "opened again it is the new version");
}

#[test]
fn expired_addresses_are_renewed() {
    let lab = Lab::new(&large());
    let reader = lab.open().reader(&ReaderOptions::default()).unwrap();
    reader.get(0).unwrap();
    lab.hub.expire();
    lab.hub.take_log();
    let local = Dataset::open(&large())
        .unwrap()
        .reader(&ReaderOptions::default())
        .unwrap();
    assert_eq!(reader.get(200).unwrap(), local.get(200).unwrap());
    let renewed = lab
        .hub
        .take_log()
        .into_iter()
        .filter(|a| a.method == "HEAD");
    assert!((1..=2).contains(&renewed.count()), "once for a file");
}

#[test]
fn broken_answers_are_continued_where_they_broke() {
    let lab = Lab::new(&large());
    let reader = lab.open().reader(&ReaderOptions::default()).unwrap();
    lab.hub.take_log();
    lab.hub
        .fail(12, Trouble::Cut(70_000), |a| a.range.is_some());
    let local = Dataset::open(&large())
        .unwrap()
        .reader(&ReaderOptions::default())
        .unwrap();
    assert_eq!(reader.get(199).unwrap(), local.get(199).unwrap());
    let log = lab.hub.take_log();
    let ranges: Vec<(u64, u64)> = log.iter().filter_map(|a| a.range).collect();
    let broken = |first: u64| ranges.iter().any(|(start, _)| *start == first + 70_000);
    let broken = ranges.iter().filter(|(first, _)| broken(*first));
    assert!(broken.count() > 0, "{ranges:?}");
}

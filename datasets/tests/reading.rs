//! Frames come back as they were recorded: by number, in windows, in sequence and shuffled.
#![cfg(feature = "gstreamer")]

#[path = "support/mod.rs"]
mod support;

use proptest::prelude::*;
use sinew_datasets::{
    Codec, Dataset, Error, FileEntry, Files, Item, LoaderOptions, LocalFiles, Numbers, Order,
    Pixels, ReadAt, ReaderOptions, Recorder,
};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use support::{counter, read_counter, record, spec, state};
use tempfile::TempDir;

const EPISODES: [(&str, u32); 3] = [("pick", 31), ("place", 2), ("pick", 24)];
const CAMERAS: [&str; 2] = ["observation.images.front", "observation.images.wrist"];

/// A recording that all tests of this file read.
fn recording() -> &'static Path {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::create(&dir.path().join("d"), &spec(Codec::H264)).unwrap();
        for (episode, (task, rows)) in EPISODES.iter().enumerate() {
            record(&mut recorder, task, episode as u32, *rows);
        }
        recorder.finalize().unwrap();
        dir
    });
    Box::leak(dir.path().join("d").into_boxed_path())
}

/// Number, task, state and both pictures of one item.
fn check(item: &Item) {
    let (episode, frame) = (item.episode as u32, item.frame as u32);
    let place = format!("episode {episode}, frame {frame}");
    assert_eq!(item.task, EPISODES[episode as usize].0, "{place}");
    let values = item.get("observation.state").unwrap().tensor().unwrap();
    assert_eq!(values.shape, [6], "{place}");
    assert_eq!(
        values.numbers,
        Numbers::F32(state(episode, frame).to_vec()),
        "{place}"
    );
    let index = item.get("index").unwrap().tensor().unwrap();
    assert_eq!(
        index.numbers,
        Numbers::I64(vec![item.index as i64]),
        "{place}"
    );
    assert!(index.shape.is_empty(), "{place}");
    for (camera, key) in CAMERAS.iter().enumerate() {
        let image = item.get(key).unwrap().image().unwrap();
        assert_eq!(
            number(image),
            counter(episode, camera as u32, frame),
            "{place}"
        );
    }
}

fn number(image: &sinew_datasets::Image) -> u32 {
    assert_eq!((image.width, image.height), (320, 240));
    match &image.pixels {
        Pixels::Rgb(rgb) => read_counter(rgb, 320),
        Pixels::Depth(_) => panic!("a colour camera"),
    }
}

#[test]
fn every_frame_is_found_by_number_in_any_order() {
    let dataset = Dataset::open(recording()).unwrap();
    assert_eq!(dataset.len(), 57);
    // A cache of a few pictures, so that most are decoded again.
    let options = ReaderOptions {
        picture_cache_bytes: 1 << 20,
        ..ReaderOptions::default()
    };
    let reader = dataset.reader(&options).unwrap();
    let order = Order::Shuffled { seed: 3, epoch: 0 };
    for index in (0..57)
        .chain((0..57).rev())
        .chain((0..57).map(|p| order.at(p, 57)))
    {
        let item = reader.get(index).unwrap();
        assert_eq!(item.index, index);
        check(&item);
    }
    check(&reader.get_in(2, 23).unwrap());
    assert!(matches!(reader.get_in(1, 2), Err(Error::NotFound { .. })));
    assert!(matches!(reader.get(57), Err(Error::NotFound { .. })));
    assert!(matches!(reader.get(u64::MAX), Err(Error::NotFound { .. })));
}

#[test]
fn windows_stay_inside_the_episode_and_say_so() {
    let reader = Dataset::open(recording())
        .unwrap()
        .reader(&ReaderOptions {
            delta_timestamps: vec![
                ("action".into(), vec![0.0, 1.0 / 30.0, 2.0 / 30.0]),
                (CAMERAS[0].into(), vec![-0.1, -1.0 / 30.0, 0.0]),
            ],
            ..ReaderOptions::default()
        })
        .unwrap();
    let item = reader.get_in(2, 1).unwrap();
    let seen: Vec<u32> = item
        .get(CAMERAS[0])
        .unwrap()
        .images()
        .iter()
        .map(|i| number(i))
        .collect();
    assert_eq!(seen, [counter(2, 0, 0), counter(2, 0, 0), counter(2, 0, 1)]);
    assert_eq!(item.pad(CAMERAS[0]), Some(&[true, false, false][..]));
    let item = reader.get_in(1, 1).unwrap();
    let action = item.get("action").unwrap().tensor().unwrap();
    assert_eq!(action.shape, [3, 6]);
    let expected: Vec<f32> = [1, 1, 1]
        .iter()
        .flat_map(|f| state(1, *f).map(|v| -v))
        .collect();
    assert_eq!(action.numbers, Numbers::F32(expected));
    assert_eq!(item.pad("action"), Some(&[false, true, true][..]));
    assert_eq!(item.pad("observation.state"), None);
}

#[test]
fn order_depends_on_the_seed_and_not_on_threads() {
    let dataset = Dataset::open(recording()).unwrap();
    let reader = dataset.reader(&ReaderOptions::default()).unwrap();
    for order in [Order::Sequential, Order::Shuffled { seed: 11, epoch: 2 }] {
        let expected: Vec<u64> = (0..57).map(|p| order.at(p, 57)).collect();
        for (threads, ahead, start) in [(1, 1, 0), (2, 8, 0), (3, 64, 20), (8, 0, 56), (2, 4, 57)] {
            let options = LoaderOptions {
                order,
                threads,
                ahead,
                start,
                ..LoaderOptions::default()
            };
            let loader = reader.load(&options).unwrap();
            assert_eq!(loader.remaining(), 57 - start);
            let items: Vec<Item> = loader.map(|item| item.unwrap()).collect();
            items.iter().for_each(check);
            let seen: Vec<u64> = items.iter().map(|i| i.index).collect();
            assert_eq!(
                seen,
                expected[start as usize..],
                "{order:?}, {threads} threads"
            );
        }
    }
}

#[test]
fn chosen_episodes_without_their_last_frames() {
    let reader = Dataset::open(recording())
        .unwrap()
        .reader(&ReaderOptions {
            features: Some(vec!["action".into()]),
            ..ReaderOptions::default()
        })
        .unwrap();
    let options = LoaderOptions {
        episodes: Some(vec![2, 1, 0]),
        drop_last: 4,
        ..LoaderOptions::default()
    };
    let items = reader.load(&options).unwrap().map(|item| item.unwrap());
    let seen: Vec<(u64, u64)> = items.map(|i| (i.episode, i.frame)).collect();
    let expected = (0..20).map(|f| (2, f)).chain((0..27).map(|f| (0, f)));
    assert_eq!(seen, expected.collect::<Vec<_>>());
    let missing = LoaderOptions {
        episodes: Some(vec![3]),
        ..LoaderOptions::default()
    };
    assert!(matches!(reader.load(&missing), Err(Error::NotFound { .. })));
}

#[test]
fn a_loader_may_be_left_at_any_time() {
    let reader = Dataset::open(recording())
        .unwrap()
        .reader(&ReaderOptions::default())
        .unwrap();
    for taken in [0, 1, 9] {
        let loader = reader.load(&LoaderOptions::default()).unwrap();
        assert_eq!(loader.take(taken).filter(|i| i.is_ok()).count(), taken);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let dataset = Dataset::open(recording()).unwrap();
    let with = |change: fn(&mut ReaderOptions)| {
        let mut options = ReaderOptions::default();
        change(&mut options);
        dataset.reader(&options).map(|_| ())
    };
    assert!(matches!(
        with(|o| o.features = Some(vec!["x".into()])),
        Err(Error::NotFound { .. })
    ));
    assert!(matches!(
        with(|o| o.delta_timestamps = vec![("action".into(), vec![0.05])]),
        Err(Error::Query { .. })
    ));
    assert!(matches!(
        with(|o| o.tolerance_s = f64::NAN),
        Err(Error::Query { .. })
    ));
}

#[test]
fn an_episode_is_an_arrow_table() {
    let dataset = Dataset::open(recording()).unwrap();
    let batch = dataset.record_batch(2).unwrap();
    assert_eq!(batch.num_rows(), 24);
    let names: Vec<&String> = batch
        .schema_ref()
        .fields()
        .iter()
        .map(|f| f.name())
        .collect();
    assert_eq!(names[..2], ["observation.state", "action"]);
    assert!(!names.iter().any(|n| n.contains("images")));
    let states = batch
        .column(0)
        .as_any()
        .downcast_ref::<arrow_array::FixedSizeListArray>();
    let row = states.unwrap().value(23);
    let row = row
        .as_any()
        .downcast_ref::<arrow_array::Float32Array>()
        .unwrap();
    assert_eq!(row.values()[..], state(2, 23));
    assert!(matches!(
        dataset.record_batch(3),
        Err(Error::NotFound { .. })
    ));
}

#[test]
fn an_arrow_table_shares_the_cached_memory() {
    let dataset = Dataset::open(recording()).unwrap();
    let values = |batch: &arrow_array::RecordBatch, name: &str| {
        let lists = batch.column_by_name(name).unwrap().clone();
        let lists = lists
            .as_any()
            .downcast_ref::<arrow_array::FixedSizeListArray>()
            .unwrap();
        let numbers = lists.values().as_any();
        let numbers = numbers.downcast_ref::<arrow_array::Float32Array>().unwrap();
        (numbers.values().as_ptr(), numbers.values().to_vec())
    };
    let (first, second) = (dataset.record_batch(2).unwrap(), dataset.record_batch(2));
    let (place, numbers) = values(&first, "action");
    assert_eq!((place, numbers.clone()), values(&second.unwrap(), "action"));
    let series = dataset.actions(2).unwrap();
    let doubles: Vec<f64> = numbers.iter().map(|v| f64::from(*v)).collect();
    assert_eq!(doubles, series.values);
    let window = first.slice(3, 2);
    assert_eq!(window.num_rows(), 2);
}

#[test]
fn many_frames_come_in_the_order_asked_for() {
    let dataset = Dataset::open(recording()).unwrap();
    let reader = dataset.reader(&ReaderOptions::default()).unwrap();
    let wanted = [40, 3, 3, 12, 0, 41, 25, 7];
    for threads in [0, 1, 3, 64] {
        let items = reader.get_many(&wanted, threads).unwrap();
        assert_eq!(items.len(), wanted.len());
        for (item, index) in items.iter().zip(wanted) {
            assert_eq!(item, &reader.get(index).unwrap());
        }
    }
    assert!(reader.get_many(&[], 4).unwrap().is_empty());
    assert!(matches!(
        reader.get_many(&[1, 2, 1_000_000], 2),
        Err(Error::NotFound { .. })
    ));
}

/// Notes which files are opened.
#[derive(Debug)]
struct Noted(LocalFiles, Mutex<Vec<String>>);

impl Files for Noted {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        self.1
            .lock()
            .unwrap()
            .push(path.to_string_lossy().into_owned());
        self.0.open(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<FileEntry>> {
        self.0.list(folder)
    }
}

#[test]
fn only_the_files_that_are_needed_are_opened() {
    let files = Arc::new(Noted(LocalFiles::new(recording()), Mutex::default()));
    let dataset = Dataset::open_with(recording(), files.clone()).unwrap();
    let wanted = ["action", CAMERAS[1]].map(String::from).to_vec();
    let options = ReaderOptions {
        features: Some(wanted),
        ..ReaderOptions::default()
    };
    let reader = dataset.reader(&options).unwrap();
    let opened = std::mem::take(&mut *files.1.lock().unwrap());
    assert!(opened.iter().all(|f| f.starts_with("meta/")), "{opened:?}");
    for frame in 0..24 {
        reader.get_in(2, frame).unwrap();
    }
    let opened = files.1.lock().unwrap().clone();
    assert_eq!(opened.len(), 2, "{opened:?}");
    assert!(
        opened[0].starts_with("data/") && opened[1].starts_with("videos/observation.images.wrist")
    );
}

/// A dataset's files, one of them changed in memory.
#[derive(Debug)]
struct Changed {
    files: LocalFiles,
    suffix: &'static str,
    changes: Vec<(prop::sample::Index, u8)>,
}

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl ReadAt for Bytes {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|o| self.0.get(o..));
        let found = rest.and_then(|r| r.get(..into.len()));
        into.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Files for Changed {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        let file = self.files.open(path)?;
        let mut bytes = vec![0; file.size() as usize];
        file.read_at(0, &mut bytes)?;
        if path.to_string_lossy().ends_with(self.suffix) && !path.starts_with("meta") {
            for (at, value) in &self.changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
        }
        Ok(Arc::new(Bytes(bytes)))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<FileEntry>> {
        self.files.list(folder)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damaged_files_give_a_value_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        suffix in prop::sample::select(vec![".mp4", ".parquet"]),
    ) {
        let files = Changed { files: LocalFiles::new(recording()), suffix, changes };
        let dataset = Dataset::open_with(recording(), Arc::new(files)).unwrap();
        let reader = dataset.reader(&ReaderOptions::default()).unwrap();
        for index in [0, 30, 31, 33, 56] {
            if let Ok(item) = reader.get(index) {
                prop_assert_eq!(item.index, index);
            }
        }
    }
}

//! Datasets from strangers: damaged in any way, reading gives a result or an error, never a panic.

#[path = "support/mod.rs"]
mod support;

use proptest::prelude::*;
use sinew_datasets::{Codec, Dataset, Recorder};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const FILES: [&str; 4] = [
    "meta/info.json",
    "meta/tasks.parquet",
    "meta/episodes/chunk-000/file-001.parquet",
    "data/chunk-000/file-001.parquet",
];

/// A small sound dataset, made once; its files' contents.
fn sound() -> &'static [(PathBuf, Vec<u8>)] {
    static FILES_OF: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    FILES_OF.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = support::spec(Codec::Auto);
        spec.cameras.clear();
        let mut recorder = Recorder::create(dir.path(), &spec).unwrap();
        for episode in 0..2 {
            support::record(&mut recorder, "pick", episode, 20);
        }
        recorder.finalize().unwrap();
        let mut files = Vec::new();
        collect(dir.path(), dir.path(), &mut files);
        files
    })
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            files.push((
                path.strip_prefix(root).unwrap().to_owned(),
                std::fs::read(&path).unwrap(),
            ));
        }
    }
}

/// Writes the sound dataset with one file changed, and reads all of it.
fn read_with(changed: &str, change: impl Fn(&mut Vec<u8>)) -> sinew_datasets::Result<usize> {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in sound() {
        let target = dir.path().join(path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        let mut bytes = bytes.clone();
        if path == Path::new(changed) {
            change(&mut bytes);
        }
        std::fs::write(target, bytes).unwrap();
    }
    let dataset = Dataset::open(dir.path())?;
    let mut rows = 0;
    for episode in 0..dataset.episodes().len() as u64 {
        rows += dataset.actions(episode)?.len() + dataset.states(episode)?.len();
        dataset.series(episode, "timing.camera_age_s")?;
    }
    Ok(rows)
}

#[test]
fn sound_dataset_reads() {
    assert_eq!(read_with("", |_| {}).unwrap(), 80);
}

#[test]
fn cut_off_files_are_errors() {
    for file in FILES {
        for keep in [0.0, 0.3, 0.9, 0.999] {
            let result = read_with(file, |bytes| {
                bytes.truncate((bytes.len() as f64 * keep) as usize)
            });
            assert!(result.is_err(), "{file} cut to {keep}");
        }
    }
}

#[test]
fn info_that_claims_too_much_is_an_error() {
    let swap = |from: &'static str, to: &'static str| {
        read_with("meta/info.json", move |bytes| {
            let text = String::from_utf8(std::mem::take(bytes)).unwrap();
            assert!(text.contains(from));
            *bytes = text.replacen(from, to, 1).into_bytes();
        })
    };
    assert!(swap("\"total_episodes\": 2", "\"total_episodes\": 3").is_err());
    assert!(
        swap(
            "\"total_episodes\": 2",
            "\"total_episodes\": 18446744073709551615"
        )
        .is_err()
    );
    assert!(swap("\"fps\": 30", "\"fps\": 0").is_err());
    assert!(swap("v3.0", "v2.1").is_err());
    assert!(swap("data/chunk-", "../data/chunk-").is_err());
    assert!(swap("                6\n", "                99999999999\n").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn mutated_files_never_panic(
        file in prop::sample::select(&FILES[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        from_end in any::<bool>(),
    ) {
        let _ = read_with(file, |bytes| {
            for (at, value) in &changes {
                // Footers are small and matter most, so half of the cases aim there.
                let window = if from_end { bytes.len().min(600) } else { bytes.len() };
                let at = bytes.len() - window + at.index(window);
                bytes[at] = *value;
            }
        });
    }
}

//! Packing: few large files, and nothing else changed.
#![cfg(feature = "gstreamer")]

#[path = "support/edits.rs"]
mod edits;
#[path = "support/mod.rs"]
mod support;

use edits::{BOTH, EPISODES, Expected, check, files, recorded, to, whole};
use sinew_datasets::edit::{self, Limits, Target};
use sinew_datasets::video::remux::Track;
use sinew_datasets::{Codec, Dataset, EpisodeMark, EpisodeMarks};
use std::path::{Path, PathBuf};

fn expected() -> Vec<Expected<'static>> {
    (0..EPISODES.len()).map(whole).collect()
}

/// Files of a dataset's folder.
fn listed(root: &Path, folder: &str) -> Vec<PathBuf> {
    files(&root.join(folder)).into_keys().collect()
}

fn row_groups(path: &Path) -> Vec<u64> {
    let bytes = std::fs::File::open(path).unwrap();
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let groups = reader.metadata().row_groups().iter();
    groups.map(|g| g.num_rows() as u64).collect()
}

fn group_bytes(path: &Path) -> u64 {
    let bytes = std::fs::File::open(path).unwrap();
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let groups = reader.metadata().row_groups().iter();
    groups.map(|g| g.compressed_size() as u64).sum()
}

#[test]
fn packed_dataset_has_one_file_of_each_kind_and_every_row_and_frame() {
    for codec in [Codec::H264, Codec::Av1] {
        let (dir, root) = recorded(codec);
        let marks = EpisodeMarks {
            episodes: [(
                2,
                EpisodeMark {
                    dropped_rows: 5,
                    ..EpisodeMark::default()
                },
            )]
            .into(),
        };
        let text = serde_json::to_string(&marks).unwrap();
        std::fs::write(EpisodeMarks::path(&root), text).unwrap();
        let report = edit::pack(&root, None, &to(&dir)).unwrap();
        assert_eq!(
            (
                report.data_files,
                report.videos.remuxed_files,
                report.videos.reencoded_files
            ),
            (1, 2, 0)
        );
        check(&report.root, &expected(), &BOTH);
        assert_eq!(EpisodeMarks::read(&report.root).unwrap(), marks);
        let data = listed(&report.root, "data");
        assert_eq!((data.len(), listed(&report.root, "videos").len()), (1, 2));
        let rows: Vec<u64> = EPISODES.iter().map(|(_, rows)| u64::from(*rows)).collect();
        assert_eq!(row_groups(&data[0]), rows, "a row group an episode");
        assert_eq!(
            listed(&root, "data").len(),
            EPISODES.len(),
            "the source is as it was"
        );
    }
}

#[test]
fn limits_are_kept_and_packing_again_changes_no_file() {
    let (dir, root) = recorded(Codec::H264);
    // The recorder leaves room for an index in its files, so the frames alone are counted.
    let frames = |path: &PathBuf| {
        let track = Track::read(path, 30).unwrap();
        track.bytes(0..track.frames() as usize)
    };
    let largest = listed(&root, "videos").iter().map(frames).max().unwrap();
    let limits = Limits {
        data_bytes: 3000,
        video_bytes: 2 * largest,
    };
    let report = edit::pack(&root, Some(limits), &to(&dir)).unwrap();
    check(&report.root, &expected(), &BOTH);
    let (data, videos) = (listed(&report.root, "data"), listed(&report.root, "videos"));
    assert!(
        (2..5).contains(&data.len()) && (3..8).contains(&videos.len()),
        "{data:?} {videos:?}"
    );
    for file in data.iter().filter(|f| row_groups(f).len() > 1) {
        assert!(group_bytes(file) < limits.data_bytes, "{}", file.display());
    }
    assert!(videos.iter().all(|f| frames(f) < limits.video_bytes));

    let packed = edit::pack(&report.root, Some(limits), &Target::InPlace).unwrap();
    assert_eq!(packed.videos.remuxed_files, 0);
    assert_eq!(packed.videos.copied_files as usize, videos.len());
    check(&packed.root, &expected(), &BOTH);
}

#[test]
fn every_episode_alone_when_nothing_fits() {
    let (dir, root) = recorded(Codec::H264);
    let limits = Limits {
        data_bytes: 1,
        video_bytes: 1,
    };
    let report = edit::pack(&root, Some(limits), &to(&dir)).unwrap();
    assert_eq!(report.data_files, 4);
    assert_eq!(
        Dataset::open(&report.root).unwrap().episodes()[3].data.file,
        3
    );
    check(&report.root, &expected(), &BOTH);
}

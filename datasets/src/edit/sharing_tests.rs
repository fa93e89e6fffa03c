//! How many bytes an edited dataset shares with the version before, for a hub that stores by content.

use super::build::write_episodes;
use super::{Target, delete};
use crate::episodes::{self, Episode};
use crate::info::{FileIndex, Info};
use crate::recorder::{Recorder, Row};
use crate::spec::{Codec, DatasetSpec};
use crate::table::{self, TableWriter};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Chunks of a hub: 64 KiB on average, between these two.
const SMALLEST: usize = 8 << 10;
const LARGEST: usize = 128 << 10;
const EPISODES: u64 = 60;
const ROWS: u64 = 600;

/// A number that looks random and depends on its place only.
fn noise(place: u64) -> u64 {
    let mut x = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Chunks whose ends follow the contents (gear hash): their hashes and lengths.
fn chunks(bytes: &[u8]) -> Vec<(u64, usize)> {
    let gear: Vec<u64> = (0..256).map(|i| noise(i + 1)).collect();
    let (mut found, mut start, mut hash) = (Vec::new(), 0, 0_u64);
    for (i, byte) in bytes.iter().enumerate() {
        hash = (hash << 1).wrapping_add(gear[usize::from(*byte)]);
        let length = i + 1 - start;
        let ends = (length >= SMALLEST && hash >> 48 == 0) || length >= LARGEST;
        if ends || i + 1 == bytes.len() {
            let mut hasher = DefaultHasher::new();
            bytes[start..=i].hash(&mut hasher);
            found.push((hasher.finish(), length));
            (start, hash) = (i + 1, 0);
        }
    }
    found
}

/// Fraction of the bytes of `new` that are in chunks of `old`.
fn shared(old: &[u8], new: &[u8]) -> f64 {
    let known: HashMap<u64, usize> = chunks(old).into_iter().collect();
    let of_new = chunks(new);
    let same: usize = of_new
        .iter()
        .filter(|c| known.get(&c.0) == Some(&c.1))
        .map(|c| c.1)
        .sum();
    same as f64 / new.len() as f64
}

/// A dataset without cameras, two arms of seven joints with noise, all in one data file.
fn packed(dir: &Path) -> PathBuf {
    let root = dir.join("recorded");
    let names: Vec<String> = (0..14).map(|i| format!("joint_{i}.pos")).collect();
    let spec = DatasetSpec {
        robot_type: "test".into(),
        fps: 30,
        state_names: names.clone(),
        action_names: names,
        cameras: vec![],
        extras: vec![],
        codec: Codec::Auto,
    };
    let mut recorder = Recorder::create(&root, &spec).unwrap();
    for episode in 0..EPISODES {
        recorder.start_episode("pick").unwrap();
        for row in 0..ROWS {
            let values: Vec<f32> = (0..28)
                .map(|joint| noise((episode * ROWS + row) * 28 + joint) as f32 / u64::MAX as f32)
                .collect();
            let (state, action) = values.split_at(14);
            recorder
                .add(Row {
                    state,
                    action,
                    extra: &[],
                    frames: &[],
                })
                .unwrap();
        }
        recorder.save_episode().unwrap();
    }
    let info = recorder.finalize().unwrap();
    pack(&root, &info);
    root
}

/// Joins the data files.
fn pack(root: &Path, info: &Info) {
    let joined = root.join("joined.parquet");
    let mut writer: Option<TableWriter> = None;
    let mut episodes: Vec<Episode> = episodes::read_all(root, info, true).unwrap();
    for episode in &mut episodes {
        let path = root.join(info.data_file(episode.data).unwrap());
        table::read(
            &path,
            |_| true,
            |batch| {
                let writer = writer.get_or_insert_with(|| {
                    TableWriter::create(&joined, batch.schema(), &[]).unwrap()
                });
                writer.write(batch)
            },
        )
        .unwrap();
        episode.data = FileIndex::default();
    }
    writer.unwrap().finish().unwrap();
    for folder in ["data", "meta/episodes"] {
        std::fs::remove_dir_all(root.join(folder)).unwrap();
    }
    write_episodes(root, episodes).unwrap();
    let target = root.join(info.data_file(FileIndex::default()).unwrap());
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    std::fs::rename(joined, target).unwrap();
}

#[test]
fn an_edited_dataset_shares_most_of_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let root = packed(dir.path());
    let edited = delete(&root, &[20], &Target::Folder(dir.path().join("edited")))
        .unwrap()
        .root;
    let file = |root: &Path| std::fs::read(root.join("data/chunk-000/file-000.parquet")).unwrap();
    let (old, new) = (file(&root), file(&edited));
    let fraction = shared(&old, &new);
    println!(
        "{} bytes, of which {:.1} % were there before the edit",
        new.len(),
        100.0 * fraction
    );
    assert!(fraction > 0.75, "{fraction}");
    assert!(shared(&old, &old) > 0.999_999);
}

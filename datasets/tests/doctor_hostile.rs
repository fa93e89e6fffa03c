//! Whatever a dataset's files hold, the doctor gives a report and does not panic.
#![cfg(feature = "gstreamer")]

#[path = "support/mod.rs"]
mod support;

#[path = "support/damage.rs"]
mod damage;

use proptest::prelude::*;
use proptest::sample::Index;
use sinew_datasets::doctor::{Options, Severity, examine};
use sinew_datasets::{Codec, Recorder};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

const FILES: [&str; 7] = [
    "meta/info.json",
    "meta/stats.json",
    "meta/tasks.parquet",
    "meta/episodes/chunk-000/file-000.parquet",
    "meta/episodes/chunk-000/file-001.parquet",
    "data/chunk-000/file-001.parquet",
    "videos/observation.images.front/chunk-000/file-001.mp4",
];

/// Panics in our own code; those of the parquet decoder are caught where it is called.
static OUR_PANICS: AtomicUsize = AtomicUsize::new(0);

/// Two short episodes with one camera, made once.
fn small() -> &'static Path {
    static SMALL: OnceLock<TempDir> = OnceLock::new();
    SMALL
        .get_or_init(|| {
            // The decoder's catch would hide a panic in what it calls back.
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                let ours = panic
                    .location()
                    .is_some_and(|l| l.file().contains("doctor"));
                if ours {
                    OUR_PANICS.fetch_add(1, Ordering::SeqCst);
                    usual(panic);
                }
            }));
            let dir = tempfile::tempdir().unwrap();
            let mut spec = support::spec(Codec::H264);
            spec.cameras.truncate(1);
            spec.extras.clear();
            let mut recorder = Recorder::create(dir.path(), &spec).unwrap();
            for episode in 0..2 {
                recorder.start_episode("pick").unwrap();
                for row in 0..12 {
                    let picture = support::counter_frame(320, 240, episode << 14 | row);
                    recorder
                        .add(sinew_datasets::Row {
                            state: &support::state(episode, row),
                            action: &support::state(episode, row + 1),
                            extra: &[],
                            frames: &[picture.into()],
                        })
                        .unwrap();
                }
                recorder.save_episode().unwrap();
            }
            recorder.finalize().unwrap();
            dir
        })
        .path()
}

/// Examines a copy with one file changed; gives whether anything was found.
fn examine_with(file: &str, pictures: u64, change: impl FnOnce(&mut Vec<u8>)) -> bool {
    let dir = damage::copy(small());
    let path = dir.path().join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
    let options = Options {
        pictures,
        ..Options::default()
    };
    let report = examine(dir.path(), &options);
    assert_eq!(OUR_PANICS.load(Ordering::SeqCst), 0);
    report.worst() >= Some(Severity::Warning)
}

#[test]
fn unchanged_it_is_sound() {
    assert!(!examine_with(FILES[0], 100, |_| {}));
}

#[test]
fn every_cut_off_file_is_noticed() {
    for file in FILES {
        for keep in [0.0, 0.2, 0.5, 0.9, 0.99] {
            let cut = |bytes: &mut Vec<u8>| bytes.truncate((bytes.len() as f64 * keep) as usize);
            assert!(examine_with(file, 0, cut), "{file} cut to {keep}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn random_bytes_never_panic(
        file in prop::sample::select(&FILES[..]),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6),
        side in 0..3,
    ) {
        examine_with(file, 0, |bytes| {
            for (at, value) in &changes {
                // Footers and indices are small and matter most, so most cases aim at the ends.
                let window = if side == 0 { bytes.len() } else { bytes.len().min(1200) };
                let start = if side == 1 { bytes.len() - window } else { 0 };
                bytes[start + at.index(window)] = *value;
            }
        });
    }

    #[test]
    fn random_words_in_json_never_panic(
        file in prop::sample::select(&FILES[..2]),
        at in any::<Index>(),
        word in prop::sample::select(&["-1", "1e400", "18446744073709551615", "null", "[]", "{}", "\"x\"", "[[1]]", "true"][..]),
    ) {
        examine_with(file, 0, |bytes| {
            let text = String::from_utf8(std::mem::take(bytes)).unwrap();
            // Replaces one whole scalar, so that the file stays JSON.
            let scalars: Vec<(usize, &str)> = text
                .match_indices(|c: char| c.is_ascii_digit())
                .filter(|(i, _)| !text[..*i].ends_with(|c: char| c.is_ascii_alphanumeric() || "._-\"".contains(c)))
                .collect();
            let (start, _) = scalars[at.index(scalars.len())];
            let length = text[start..].find(|c: char| !(c.is_ascii_digit() || ".e-".contains(c))).unwrap();
            *bytes = format!("{}{word}{}", &text[..start], &text[start + length..]).into_bytes();
        });
    }
}

proptest! {
    // Each case starts a decoder.
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn random_pictures_never_panic(changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..40)) {
        examine_with(FILES[6], 100, |bytes| {
            let pictures = bytes.windows(4).position(|w| w == b"mdat").unwrap() + 4;
            let length = bytes.len() - pictures;
            for (at, value) in &changes {
                bytes[pictures + at.index(length)] = *value;
            }
        });
    }
}

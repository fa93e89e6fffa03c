//! Statistics computed anew from rows and pictures: exact, checked against what is stored, and put in
//! its place without losing anything else.
#![cfg(feature = "gstreamer")]

#[path = "support/damage.rs"]
mod damage;
#[path = "support/edits.rs"]
mod edits;
#[path = "support/mod.rs"]
mod support;

use arrow_array::{Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use edits::{EPISODES, FRONT, WRIST, files, recorded};
use serde_json::{Value, json};
use sinew_datasets::stats::{CheckReport, Stats, check, read, recompute, write};
use sinew_datasets::{Codec, Dataset, Error, Info, Recorder, edit};
use std::path::Path;
use std::sync::Arc;
use support::{record, spec, state};

fn checked(root: &Path) -> CheckReport {
    check(&Dataset::open(root).unwrap(), &mut |_, _| ()).unwrap()
}

fn rewrite(root: &Path) {
    let dataset = Dataset::open(root).unwrap();
    let new = recompute(&dataset, &mut |_, _| ()).unwrap();
    assert_eq!(new.notes, [""; 0]);
    write(&dataset, &new).unwrap();
}

/// What `meta/stats.json` says.
fn stored(root: &Path) -> Stats {
    read(root, &Info::read(root).unwrap()).unwrap()
}

/// Changes what `meta/stats.json` says.
fn tamper(root: &Path, change: impl FnOnce(&mut Value)) {
    let path = root.join("meta/stats.json");
    let mut stats = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut stats);
    std::fs::write(&path, stats.to_string()).unwrap();
}

#[test]
fn recomputed_values_are_those_of_all_rows() {
    let (_dir, root) = recorded(Codec::H264);
    let dataset = Dataset::open(&root).unwrap();
    let mut told = Vec::new();
    let new = recompute(&dataset, &mut |done, total| told.push((done, total))).unwrap();
    assert_eq!(told, [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]);
    let rows = |e: usize| (0..EPISODES[e].1).map(move |f| f64::from(state(e as u32, f)[1]));
    let mut all: Vec<f64> = (0..4).flat_map(rows).collect();
    all.sort_by(f64::total_cmp);
    let found = new.whole.get("observation.state").unwrap();
    assert_eq!(found.count, 37);
    assert_eq!((found.min[1], found.max[1]), (all[0], all[36]));
    let mean = all.iter().sum::<f64>() / 37.0;
    assert!((found.mean[1] - mean).abs() < 1e-9);
    // The middle of 37 values is the 19th: a mean of the episodes' medians would be another.
    assert_eq!(found.quantiles[2][1], all[18]);
    for (episode, (_, rows)) in EPISODES.iter().enumerate() {
        let stats = &new.episodes[episode];
        assert_eq!(stats.get("action").unwrap().count, u64::from(*rows));
        let camera = stats.get(WRIST).unwrap();
        assert_eq!((camera.count, camera.mean.len()), (u64::from(*rows), 3));
        let features: Vec<&str> = dataset.info().features.iter().map(|(n, _)| n).collect();
        let names: Vec<&str> = stats.0.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, features);
    }
    // The last two bits of the number are in the blue of the gradient; white and black blocks above.
    let camera = new.whole.get(FRONT).unwrap();
    assert!(camera.max[0] > 0.95 && camera.min[0] < 0.05 && camera.count == 37);
}

#[test]
fn a_finished_recording_is_exact() {
    let (_dir, root) = recorded(Codec::H264);
    let report = checked(&root);
    assert_eq!(report.discrepancies, []);
    let features = Info::read(&root).unwrap().features.0.len() as u64;
    assert_eq!(report.compared, features * 5);
}

#[test]
fn edits_of_whole_datasets_keep_the_quantiles_of_pictures_exact() {
    let dir = tempfile::tempdir().unwrap();
    let recording = |name: &str, episodes: &[(u32, u32)]| {
        let root = dir.path().join(name);
        let mut recorder = Recorder::create(&root, &spec(Codec::H264)).unwrap();
        for (episode, rows) in episodes {
            record(&mut recorder, "pick", *episode, *rows);
        }
        recorder.finalize().unwrap();
        root
    };
    // Episodes of unequal length, so that means of quantiles are others.
    let parts = [
        recording("a", &[(0, 4), (1, 19)]),
        recording("b", &[(2, 9)]),
    ];
    let at_once = stored(&recording("all", &[(0, 4), (1, 19), (2, 9)]));
    let merged = dir.path().join("merged");
    edit::merge(&parts, &merged, None).unwrap();
    let names = [(FRONT.to_owned(), "observation.images.top".to_owned())];
    edit::rename(&merged, &names, &edit::Target::InPlace).unwrap();
    let edited = stored(&merged);
    assert_eq!(edited.get("observation.images.top"), at_once.get(FRONT));
    assert_eq!(edited.get(WRIST), at_once.get(WRIST));
}

#[test]
fn quantiles_that_are_means_of_the_episodes_are_not_exact_but_not_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec(Codec::H264)).unwrap();
    for episode in 0..3 {
        record(&mut recorder, "pick", episode, 9);
    }
    // Without the end that makes them exact, as lerobot leaves them.
    drop(recorder);
    let report = checked(dir.path());
    assert_eq!(report.wrong, 0, "{:?}", report.discrepancies);
    assert!(!report.discrepancies.is_empty());
    for found in &report.discrepancies {
        assert!(found.approximate && found.episode.is_none(), "{found:?}");
        assert!(found.problem.starts_with('q'), "{found:?}");
    }
    let _ = std::fs::remove_dir_all(dir.path().join(".recording"));
    rewrite(dir.path());
    assert_eq!(checked(dir.path()).discrepancies, []);
}

#[test]
fn what_is_wrong_is_named() {
    let (_dir, root) = recorded(Codec::H264);
    rewrite(&root);
    tamper(&root, |stats| {
        stats["action"]["mean"][2] = json!(12.0);
        stats["observation.state"]["q90"][0] = json!(-5.0);
        stats[FRONT]["mean"][1] = json!([[0.95]]);
        stats["timestamp"]["count"] = json!([1]);
        stats.as_object_mut().unwrap().remove("index");
    });
    let report = checked(&root);
    let said: Vec<String> = report
        .discrepancies
        .iter()
        .map(|d| format!("{}/{:?} {}", d.feature, d.entry, d.problem))
        .collect();
    let expected = [
        "observation.state/Some(\"shoulder_pan.pos\") q90 is -5, but",
        "action/Some(\"elbow_flex.pos\") mean is 12, but",
        "observation.images.front/Some(\"green\") mean is 0.9500, but",
        "timestamp/None count is 1, but the data give 37",
        "index/None nothing is stored",
    ];
    assert_eq!(said.len(), expected.len(), "{said:?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}");
    }
    assert_eq!(report.wrong, 5);
}

#[test]
fn wrong_statistics_of_one_episode_are_found_and_mended() {
    let (dir, root) = recorded(Codec::H264);
    // Episode tables that hold several episodes in one file, as LeRobot's do.
    let whole = edit::keep(&root, &[0, 1, 2, 3], &edits::to(&dir))
        .unwrap()
        .root;
    let table = whole.join("meta/episodes/chunk-000/file-000.parquet");
    add_column_of_another_tool(&table);
    let before = damage::read(&table);
    damage::add_to_list(&table, "stats/action/mean", 2 * 6, 3.0);
    let report = checked(&whole);
    assert_eq!(report.wrong, 1, "{:?}", report.discrepancies);
    assert_eq!(report.discrepancies[0].episode, Some(2));
    rewrite(&whole);
    assert_eq!(checked(&whole).discrepancies, []);
    let after = damage::read(&table);
    let names = |b: &RecordBatch| -> Vec<String> {
        b.schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect()
    };
    assert_eq!(names(&after), names(&before));
    for (name, (old, new)) in names(&before)
        .iter()
        .zip(before.columns().iter().zip(after.columns()))
    {
        // Pictures were measured before they were encoded.
        if !name.starts_with("stats/observation.images") {
            assert_eq!(old.to_data(), new.to_data(), "{name}");
        }
    }
}

fn add_column_of_another_tool(table: &Path) {
    let batch = damage::read(table);
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    fields.insert(3, Arc::new(Field::new("quality", DataType::Int64, true)));
    let mut columns = batch.columns().to_vec();
    columns.insert(3, Arc::new(Int64Array::from(vec![4, 3, 2, 1])));
    let schema = Arc::new(Schema::new(fields));
    damage::write(table, &RecordBatch::try_new(schema, columns).unwrap());
}

#[test]
fn nothing_but_statistics_changes() {
    let (_dir, root) = recorded(Codec::H264);
    let before = files(&root);
    rewrite(&root);
    let after = files(&root);
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    for (path, bytes) in &before {
        let table = path.starts_with(root.join("meta/episodes"));
        if !table && !path.ends_with("meta/stats.json") {
            assert!(after[path] == *bytes, "{} changed", path.display());
        }
    }
    rewrite(&root);
    assert!(files(&root) == after, "doing it again changes nothing");
}

#[test]
fn statistics_that_are_missing_altogether_are_made() {
    let (_dir, root) = recorded(Codec::H264);
    rewrite(&root);
    let good = std::fs::read(root.join("meta/stats.json")).unwrap();
    std::fs::remove_file(root.join("meta/stats.json")).unwrap();
    let dataset = Dataset::open(&root).unwrap();
    assert!(matches!(read(&root, dataset.info()), Err(Error::Io { .. })));
    rewrite(&root);
    assert_eq!(std::fs::read(root.join("meta/stats.json")).unwrap(), good);
}

#[test]
fn an_unfinished_recording_is_not_disturbed() {
    let (_dir, root) = recorded(Codec::H264);
    let staging = root.join(".recording");
    std::fs::create_dir(&staging).unwrap();
    std::fs::write(staging.join("journal"), "rows").unwrap();
    let before = files(&root);
    let dataset = Dataset::open(&root).unwrap();
    let new = recompute(&dataset, &mut |_, _| ()).unwrap();
    let error = write(&dataset, &new).unwrap_err();
    assert!(error.to_string().contains("repair it first"), "{error}");
    assert!(files(&root) == before);
}

#[test]
fn impossible_shapes_are_an_error() {
    let (dir, root) = recorded(Codec::H264);
    let head = std::fs::read_to_string(Info::path(&root)).unwrap();
    for shape in ["0", "1152921504606846976", "18446744073709551615"] {
        let mut info: Value = serde_json::from_str(&head).unwrap();
        let shape: u64 = shape.parse().unwrap();
        info["features"]["timing.camera_age_s"]["shape"] = json!([shape]);
        std::fs::write(Info::path(&root), info.to_string()).unwrap();
        let dataset = Dataset::open(&root).unwrap();
        let error = recompute(&dataset, &mut |_, _| ()).unwrap_err();
        assert!(error.to_string().contains("timing.camera_age_s"), "{error}");
        let edited = edit::delete(&root, &[0], &edits::to(&dir));
        assert!(edited.is_err(), "{shape}");
    }
}

#[test]
fn hostile_statistics_are_borne() {
    let (_dir, root) = recorded(Codec::H264);
    let info = Info::read(&root).unwrap();
    let path = root.join("meta/stats.json");
    let deep = format!(
        "{{\"action\": {{\"mean\": {}1{}}}}}",
        "[".repeat(100),
        "]".repeat(100)
    );
    for text in [
        deep.as_str(),
        "{\"action\": 3}",
        "{\"action\": {\"count\": [-1e300]}}",
    ] {
        std::fs::write(&path, text).unwrap();
        let stats = read(&root, &info).unwrap();
        assert_eq!(stats.get("action").unwrap().mean, [0.0; 0]);
        let report = checked(&root);
        assert!(report.wrong > 0);
    }
    for text in ["[]", "{", "null", "\u{0}"] {
        std::fs::write(&path, text).unwrap();
        assert!(
            matches!(read(&root, &info), Err(Error::Corrupt { .. })),
            "{text}"
        );
    }
}

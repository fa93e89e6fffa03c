//! Edits judged by the real lerobot package: the same rows and frames as its own tools give, and
//! every frame of every result readable.
//!
//! Needs PyTorch: `make interop` installs and runs it.
#![cfg(all(feature = "gstreamer", feature = "remote"))]

#[path = "support/peer.rs"]
mod peer;
#[path = "support/mod.rs"]
mod support;

use serde_json::{Value, json};
use sinew_datasets::edit::{self, Cut, Part, Reencode, Relabel, Share, Target};
use sinew_datasets::{Codec, Dataset, Feature, Recorder};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const FRONT: &str = "observation.images.front";
const WRIST: &str = "observation.images.wrist";

fn run(dir: &Path, arguments: &[&str]) -> String {
    peer::output(peer::script("lerobot", "lerobot_edit.py", dir).args(arguments))
}

/// The edits done so far, for lerobot to judge.
struct Edits {
    dir: PathBuf,
    lengths: Vec<u64>,
    second: Vec<u64>,
    list: Vec<Value>,
}

impl Edits {
    /// Datasets `source` and `second` must be in `dir`.
    fn of(dir: &Path) -> Self {
        let lengths = |name: &str| {
            let dataset = Dataset::open(&dir.join(name)).unwrap();
            dataset.episodes().iter().map(|e| e.length).collect()
        };
        Self {
            dir: dir.to_owned(),
            lengths: lengths("source"),
            second: lengths("second"),
            list: Vec::new(),
        }
    }

    fn source(&self) -> PathBuf {
        self.dir.join("source")
    }

    fn target(&self, name: &str) -> Target {
        Target::Folder(self.dir.join(name))
    }

    /// Whole episodes of the source.
    fn episodes(&self, episodes: &[usize]) -> Value {
        episodes
            .iter()
            .map(|e| json!([0, e, 0, self.lengths[*e]]))
            .collect()
    }

    fn add(&mut self, operation: &str, result: &str, mapping: Value, more: Value) {
        let mut edit = json!({"operation": operation, "result": result, "mapping": mapping, "sources": ["source"]});
        edit.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        self.list.push(edit);
    }

    fn delete(&mut self) {
        let report = edit::delete(&self.source(), &[1, 3], &self.target("deleted")).unwrap();
        assert_eq!(report.videos.reencoded_files, 0);
        let mapping = self.episodes(&[0, 2, 4]);
        self.add(
            "delete",
            "deleted",
            mapping,
            json!({"options": {"episodes": [1, 3]}}),
        );
    }

    fn split(&mut self) {
        let shares = [("train", vec![0, 1, 3]), ("val", vec![2, 4])];
        let parts = shares.clone().map(|(name, episodes)| Part {
            name: name.into(),
            share: Share::Episodes(episodes),
        });
        edit::split(&self.source(), &parts, &self.dir.join("parts")).unwrap();
        let all = json!({"train": [0, 1, 3], "val": [2, 4]});
        for (name, episodes) in shares {
            let episodes: Vec<usize> = episodes.iter().map(|e| *e as usize).collect();
            let mapping = self.episodes(&episodes);
            self.add(
                "split",
                &format!("parts/{name}"),
                mapping,
                json!({"options": {"parts": all, "part": name}}),
            );
        }
    }

    fn merge(&mut self) {
        let roots = [self.source(), self.dir.join("second")];
        edit::merge(&roots, &self.dir.join("merged"), None).unwrap();
        let of_second = self
            .second
            .iter()
            .enumerate()
            .map(|(e, length)| json!([1, e, 0, length]));
        let first = self.episodes(&[0, 1, 2, 3, 4]);
        let mapping = first
            .as_array()
            .unwrap()
            .iter()
            .cloned()
            .chain(of_second)
            .collect();
        self.add(
            "merge",
            "merged",
            mapping,
            json!({"sources": ["source", "second"]}),
        );
    }

    fn relabel(&mut self) {
        let replace = BTreeMap::from([("wave".to_owned(), "greet".to_owned())]);
        let labels = Relabel {
            replace,
            ..Relabel::default()
        };
        edit::relabel(&self.source(), &labels, &self.target("relabelled")).unwrap();
        let mapping = self.episodes(&[0, 1, 2, 3, 4]);
        self.add(
            "relabel",
            "relabelled",
            mapping,
            json!({"options": {"replace": {"wave": "greet"}}}),
        );
    }

    fn features(&mut self) {
        let mapping = self.episodes(&[0, 1, 2, 3, 4]);
        let dropped = [WRIST.to_owned(), "action".to_owned()];
        edit::drop_features(&self.source(), &dropped, &self.target("dropped")).unwrap();
        self.add(
            "drop",
            "dropped",
            mapping.clone(),
            json!({"options": {"features": dropped}}),
        );
        let names = [
            (FRONT.to_owned(), "observation.images.top".to_owned()),
            ("action".to_owned(), "act".to_owned()),
        ];
        edit::rename(&self.source(), &names, &self.target("renamed")).unwrap();
        self.add(
            "rename",
            "renamed",
            mapping.clone(),
            json!({"renamed": {FRONT: "observation.images.top", "action": "act"}}),
        );
        let values = |row: &edit::AddedRow<'_>| Ok(vec![row.index as f64]);
        edit::add(
            &self.source(),
            "next.reward",
            Feature::scalar("float32"),
            values,
            &self.target("added"),
        )
        .unwrap();
        self.add(
            "add",
            "added",
            mapping,
            json!({"added": ["next.reward"], "options": {"feature": "next.reward"}}),
        );
    }

    fn trim(&mut self) {
        // Key frames are even: episode 0 can be moved as it is, episode 2 cannot.
        let cuts = [
            Cut {
                episode: 0,
                from: 2,
                to: Some(7),
            },
            Cut {
                episode: 2,
                from: 3,
                to: None,
            },
        ];
        let report = edit::trim(&self.source(), &cuts, &self.target("trimmed")).unwrap();
        let wanted = 2 * (self.lengths[2] - 3);
        assert_eq!(
            (
                report.videos.reencoded_files,
                report.videos.reencoded_frames
            ),
            (2, wanted)
        );
        let mut mapping = self.episodes(&[0, 1, 2, 3, 4]);
        mapping[0] = json!([0, 0, 2, 7]);
        mapping[2] = json!([0, 2, 3, self.lengths[2]]);
        let reencoded = [format!("{FRONT}:2"), format!("{WRIST}:2")];
        self.add("trim", "trimmed", mapping, json!({"reencoded": reencoded}));
    }

    fn reencode(&mut self) {
        let how = Reencode {
            cameras: vec![FRONT.into()],
            codec: Codec::H264,
            ..Reencode::default()
        };
        edit::reencode(&self.source(), &how, &self.target("encoded")).unwrap();
        let mapping = self.episodes(&[0, 1, 2, 3, 4]);
        self.add(
            "reencode",
            "encoded",
            mapping,
            json!({"reencoded": [FRONT]}),
        );
    }

    /// Does everything and lets lerobot judge it.
    fn judge_all(mut self) {
        self.delete();
        self.split();
        self.merge();
        self.relabel();
        self.features();
        self.trim();
        self.reencode();
        self.judge(&["rename", "trim", "reencode"]);
    }

    /// Lets lerobot judge the edits; for `alone` it has no tools that could do the same.
    fn judge(self, alone: &[&str]) {
        std::fs::write(self.dir.join("edits.json"), json!(self.list).to_string()).unwrap();
        let text = run(&self.dir, &["judge", self.dir.to_str().unwrap()]);
        let report: Vec<Value> = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(report.len(), self.list.len());
        for (judged, edit) in report.iter().zip(&self.list) {
            let compared = !alone.contains(&edit["operation"].as_str().unwrap());
            assert_eq!(judged["compared"], compared, "{}", edit["result"]);
            println!(
                "{}: {} rows, {} of {} pictures as they were",
                judged["result"],
                judged["rows"],
                judged["pictures_as_they_were"],
                judged["pictures"]
            );
            check_counters(edit, &judged["counters"]);
        }
    }
}

/// Every row of a result shows the frame of its source.
fn check_counters(edit: &Value, counters: &Value) {
    let number = |v: &Value, i: usize| v[i].as_u64().unwrap();
    let mut rows = counters.as_array().unwrap().iter();
    for part in edit["mapping"].as_array().unwrap() {
        // Episodes of the second dataset are numbered on.
        let episode = number(part, 1) + 5 * number(part, 0);
        for frame in number(part, 2)..number(part, 3) {
            for (key, found) in rows.next().unwrap().as_object().unwrap() {
                let camera = u32::from(key == WRIST);
                assert_eq!(
                    *found,
                    support::counter(episode as u32, camera, frame as u32),
                    "{} {key}",
                    edit["result"]
                );
            }
        }
    }
    assert!(rows.next().is_none());
}

#[test]
fn edits_of_lerobots_datasets_equal_lerobots_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    run(
        dir.path(),
        &["make", &path("source"), "0", "pick,place,pick,wave,place"],
    );
    run(dir.path(), &["make", &path("second"), "5", "wave,stack"]);
    let edits = Edits::of(dir.path());
    let dataset = Dataset::open(&edits.source()).unwrap();
    let files: Vec<_> = dataset
        .episodes()
        .iter()
        .map(|e| (e.data, e.videos[0].file))
        .collect();
    assert!(
        files.iter().all(|f| *f == files[0]),
        "many episodes in a file"
    );
    edits.judge_all();
}

#[test]
fn edits_of_our_datasets_equal_lerobots_own() {
    let dir = tempfile::tempdir().unwrap();
    for (name, first, tasks) in [
        ("source", 0, &["pick", "place", "pick", "wave", "place"][..]),
        ("second", 5, &["wave", "stack"]),
    ] {
        let mut recorder =
            Recorder::create(&dir.path().join(name), &support::spec(Codec::H264)).unwrap();
        for (i, task) in tasks.iter().enumerate() {
            support::record(&mut recorder, task, first + i as u32, 9 + 3 * i as u32);
        }
        recorder.finalize().unwrap();
    }
    Edits::of(dir.path()).judge_all();
}

#[test]
fn matrices_survive_edits_and_load_in_lerobot() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for name in ["source", "second"] {
        run(
            dir.path(),
            &[
                "make",
                &path(name),
                "0",
                "pick,place,pick,wave,place",
                "matrix",
            ],
        );
    }
    let mut edits = Edits::of(dir.path());
    edits.delete();
    edits.trim();
    edits.judge(&["delete", "trim"]);
}

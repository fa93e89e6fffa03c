//! Conversions judged by the real lerobot package: its own converter of old datasets, and its reader
//! for what was made of bags.
//!
//! Needs PyTorch: `make interop` installs and runs it.
#![cfg(all(feature = "gstreamer", feature = "remote"))]

#[path = "support/edits.rs"]
mod edits;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/mod.rs"]
mod support;
#[path = "support/v2.rs"]
mod v2;

use edits::{EPISODES, FRONT, WRIST, recorded};
use serde_json::{Value, json};
use sinew_datasets::Codec;
use sinew_datasets::convert::{self, Container, ExportOptions, Mapping};
use std::path::Path;
use support::counter;

/// Runs a script in lerobot's environment and returns its report.
fn run(script: &str, dir: &Path, arguments: &[&str]) -> Value {
    peer::report(peer::script("lerobot", script, dir).args(arguments))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn old_datasets_become_what_lerobots_converter_makes_of_them() {
    for codec in [Codec::H264, Codec::Av1] {
        let (dir, root) = recorded(codec);
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        v2::downgrade(&root, &old, "v2.1", true);
        convert::from_v2(&old, &new).unwrap();
        let arguments = ["judge", text(&old), text(&new), text(dir.path())];
        let report = run("lerobot_convert.py", dir.path(), &arguments);
        let rows: u32 = EPISODES.iter().map(|(_, rows)| rows).sum();
        assert_eq!(
            (&report["rows"], &report["pictures"]),
            (&json!(rows), &json!(2 * rows))
        );
        assert!(report["statistics"].as_u64().unwrap() >= 20, "{report}");
        let mut counters = report["counters"].as_array().unwrap().iter();
        for (episode, (_, rows)) in EPISODES.iter().enumerate() {
            for frame in 0..*rows {
                let found = counters.next().unwrap();
                for (camera, key) in [FRONT, WRIST].into_iter().enumerate() {
                    assert_eq!(found[key], counter(episode as u32, camera as u32, frame));
                }
            }
        }
    }
}

#[test]
fn lerobots_datasets_survive_the_way_to_a_bag_and_back() {
    for more in [&[][..], &["matrix"]] {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        let arguments = [&["make", text(&source), "0", "pick,place,pick"], more].concat();
        peer::output(peer::script("lerobot", "lerobot_edit.py", dir.path()).args(arguments));
        let (bag, back) = (dir.path().join("bag"), dir.path().join("back"));
        convert::export(
            &source,
            &bag,
            Container::Bag,
            &ExportOptions::default(),
            &mut |_| {},
        )
        .unwrap();
        let made = convert::import(&bag, &back, &Mapping::default(), &mut |_| {}).unwrap();
        assert!(made.restored && made.dataset.videos.reencoded_files == 0);
        let arguments = ["same", text(&source), text(&back)];
        let report = run("lerobot_convert.py", dir.path(), &arguments);
        assert_eq!(
            (&report["rows"], &report["pictures"]),
            (&json!(36), &json!(3 * 36))
        );
    }
}

#[test]
fn lerobot_opens_what_was_made_of_a_robots_bag() {
    let dir = tempfile::tempdir().unwrap();
    let (bag, set) = (dir.path().join("bag"), dir.path().join("set"));
    peer::output(peer::script("light", "bag_peers.py", dir.path()).args([
        "write",
        text(&bag),
        "2",
    ]));
    let mapping = Mapping {
        fps: Some(20),
        task: Some("wave".into()),
        ..Mapping::default()
    };
    convert::import(&bag, &set, &mapping, &mut |_| {}).unwrap();
    let report = run("lerobot_convert.py", dir.path(), &["open", text(&set)]);
    assert_eq!(
        (&report["fps"], &report["episodes"]),
        (&json!(20), &json!(1))
    );
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 40);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row[0], "wave");
        for joint in 0..3 {
            let wanted = (i as f64 / 20.0 + joint as f64).sin().to_degrees();
            assert!((row[1][joint].as_f64().unwrap() - wanted).abs() < 1e-4);
        }
        // Pictures 10 to 13 are missing in the bag.
        let shown = if (10..14).contains(&i) { 9 } else { i };
        assert_eq!(row[3]["observation.images.front"], shown, "row {i}");
    }
}

//! `hub://…` wherever a dataset is only read: the same output as for the folder, and one sentence
//! when something is wrong.

#[path = "../../datasets/tests/support/hub.rs"]
mod hub;

use hub::TestHub;
use sinew_datasets::{Codec, DatasetSpec, Recorder, Row};
use sinew_tests::{Outcome, Running};
use std::path::PathBuf;
use tempfile::TempDir;

/// A hub with a dataset of an SO-101 without cameras, `lab/set`, and the same in a folder.
struct Lab {
    hub: TestHub,
    folder: PathBuf,
    dir: TempDir,
}

impl Lab {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let folder = dir.path().join("set");
        let names = sinew_tests::JOINTS
            .iter()
            .map(|joint| format!("{joint}.pos"));
        let names: Vec<String> = names.collect();
        let spec = DatasetSpec {
            robot_type: "so_follower".to_owned(),
            fps: 30,
            state_names: names.clone(),
            action_names: names,
            cameras: vec![],
            extras: vec![],
            codec: Codec::Auto,
        };
        let mut recorder = Recorder::create(&folder, &spec).unwrap();
        recorder.start_episode("wave").unwrap();
        for row in 0..30 {
            let state: [f32; 6] = std::array::from_fn(|joint| (row * joint) as f32 / 10.0);
            let row = Row {
                state: &state,
                action: &state,
                extra: &[],
                frames: &[],
            };
            recorder.add(row).unwrap();
        }
        recorder.save_episode().unwrap();
        recorder.finalize().unwrap();
        let hub = TestHub::start();
        hub.serve("lab/set", &folder);
        Self { hub, folder, dir }
    }

    fn run(&self, arguments: &[&str], token: &str) -> Outcome {
        let cache = self.dir.path().join("cache");
        let variables = [
            ("HF_ENDPOINT", self.hub.endpoint.as_str()),
            ("HF_TOKEN", token),
            ("XDG_CACHE_HOME", cache.to_str().unwrap()),
        ];
        Running::sinew_with(arguments, &variables).wait()
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], words: &[&str]) {
        self.run(arguments, "").failed(2, words);
    }
}

#[test]
fn info_ls_and_show_print_what_they_print_for_the_folder() {
    let lab = Lab::new();
    let folder = lab.folder.to_str().unwrap();
    for (verb, more) in [
        ("info", &[][..]),
        ("ls", &[]),
        ("ls", &["--json"]),
        ("show", &["0"]),
        ("show", &["0", "--frame", "7", "--json"]),
    ] {
        let run = |place: &str| {
            let arguments = [&["dataset", verb, place], more].concat();
            let outcome = lab.run(&arguments, "");
            outcome.succeeded();
            outcome.stdout
        };
        assert_eq!(run("hub://lab/set"), run(folder), "{verb} {more:?}");
        assert_eq!(
            run("hf://datasets/lab/set@main"),
            run(folder),
            "{verb} {more:?}"
        );
    }
}

#[test]
fn a_wrong_place_is_one_sentence() {
    let lab = Lab::new();
    lab.refused(
        &["dataset", "info", "hub://lab"],
        &["hub://organisation/dataset"],
    );
    lab.refused(
        &["dataset", "ls", "hub://lab/other"],
        &["hub://lab/other", "private", "hf auth login"],
    );
    lab.refused(
        &["dataset", "show", "hub://lab/set@v9", "0"],
        &["branch, tag or commit"],
    );
    lab.refused(
        &["dataset", "show", "hub://lab/set", "7"],
        &["hub://lab/set", "episode 7"],
    );
    lab.refused(
        &["dataset", "doctor", "hub://lab/set"],
        &["on a hub", "sinew hub pull"],
    );
    lab.refused(
        &["dataset", "repair", "hub://lab/set"],
        &["on a hub", "sinew hub pull"],
    );
    lab.refused(
        &["replay", "--dataset", "hub://lab/other"],
        &["hub://lab/other", "private"],
    );
    lab.hub.serve_tagged("lab/old", &lab.folder, &["v2.1"]);
    lab.refused(&["dataset", "info", "hub://lab/old"], &["v2.1", "convert"]);
    lab.hub.close("lab/set", "hf_good", true);
    lab.refused(
        &["dataset", "info", "hub://lab/set"],
        &["asked for", "hf auth login"],
    );
    lab.run(&["dataset", "info", "hub://lab/set"], "hf_good")
        .succeeded();
}

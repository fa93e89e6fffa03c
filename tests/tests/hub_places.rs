//! A hub in the place of folders: `sinew hub serve`, policies that run by name, and recordings that are pushed.

use serde_json::Value;
use sinew_datasets::Dataset;
use sinew_tests::{Outcome, Running, root, wait_until};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Rendering whole episodes on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(180);
const POLICY: &str = "policies/demo/so101-pick";

/// A hub, and a user's home that is logged in to it.
struct Lab {
    hub: Option<Running>,
    endpoint: String,
    dir: TempDir,
}

impl Lab {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let data = dir.path().join("data");
        let hub = Running::sinew(&[
            "hub",
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--json",
            "--data",
            data.to_str().unwrap(),
        ]);
        let told = || serde_json::from_str::<Value>(&hub.printed()).ok();
        wait_until("the hub serves", || told().is_some());
        let told = told().unwrap();
        let (endpoint, token) = (
            told["endpoint"].as_str().unwrap(),
            told["token"].as_str().unwrap(),
        );
        let lab = Self {
            endpoint: endpoint.to_owned(),
            hub: Some(hub),
            dir,
        };
        lab.run(&["hub", "login", "--endpoint", endpoint, "--token", token])
            .succeeded();
        lab
    }

    fn start(&self, arguments: &[&str]) -> Running {
        let home = self.dir.path().join("home");
        std::fs::create_dir_all(&home).unwrap();
        let variables = [
            ("HOME", home.to_str().unwrap()),
            ("XDG_CACHE_HOME", ""),
            ("XDG_CONFIG_HOME", ""),
        ];
        Running::sinew_with(arguments, &variables)
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.start(arguments).wait_for(PATIENCE)
    }

    fn record(&self, dataset: &Path, more: &[&str]) -> Outcome {
        let line =
            "record --lockstep --teleop scripted --images --camera-size 32x24 --episodes 1 --json";
        let mut arguments: Vec<&str> = line.split(' ').collect();
        arguments.extend(["--dataset", dataset.to_str().unwrap()]);
        arguments.extend(more);
        self.run(&arguments)
    }
}

#[test]
fn a_policy_runs_by_name_also_when_the_hub_is_gone() {
    let mut lab = Lab::new();
    lab.run(&[
        "hub",
        "push",
        root().join(POLICY).to_str().unwrap(),
        "admin/pick",
    ])
    .succeeded();
    let eval = |lab: &Lab, policy: &str| {
        let seeds = ["--seeds", "1000..1001", "--json"];
        lab.run(&[&["eval", "so101-pick", "--policy", policy], &seeds[..]].concat())
    };
    let by_name = eval(&lab, "admin/pick");
    by_name.succeeded();
    assert_eq!(
        by_name.json()["results"],
        eval(&lab, POLICY).json()["results"]
    );
    eval(&lab, "hub://admin/pick@main").succeeded();
    let nobody = "is neither a folder here nor a policy on";
    eval(&lab, "admin/none").failed(2, &["admin/none", nobody, &lab.endpoint, "check the name"]);
    eval(&lab, "hub://admin/pick@v9").failed(2, &["v9"]);
    lab.hub = None;
    let again = eval(&lab, "admin/pick");
    again.succeeded();
    assert!(
        again.stderr.contains("that was fetched before is used"),
        "{}",
        again.stderr
    );
    eval(&lab, "admin/other").failed(2, &[nobody]);
}

#[test]
fn a_new_version_of_a_policy_is_fetched() {
    let lab = Lab::new();
    let folder = lab.dir.path().join("policy");
    std::fs::create_dir(&folder).unwrap();
    for file in std::fs::read_dir(root().join(POLICY)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let rate = || lab.run(&["policy", "info", "admin/pick", "--json"]).json()["rate_hz"].as_f64();
    let push = || {
        lab.run(&["hub", "push", folder.to_str().unwrap(), "admin/pick"])
            .succeeded()
    };
    push();
    let before = rate().unwrap();
    let manifest = folder.join("policy.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let slower = text.replace("rate_hz = 30.0", "rate_hz = 15.0");
    assert_ne!(text, slower);
    std::fs::write(&manifest, slower).unwrap();
    push();
    assert_eq!(rate(), Some(before / 2.0));
}

#[test]
fn a_recording_is_pushed_and_read_again_from_the_hub() {
    let lab = Lab::new();
    let set = lab.dir.path().join("set");
    lab.record(&set, &["--push", "admin/set"]).succeeded();
    lab.record(&set, &["--push", "admin/set", "--resume", "--seed", "1"])
        .succeeded();
    let info = |place: &str| {
        let outcome = lab.run(&["dataset", "info", place]);
        outcome.succeeded();
        // The hub has a file of its own, .gitattributes.
        let lines = outcome.stdout.lines();
        let said: Vec<String> = lines
            .filter(|line| !line.starts_with("size"))
            .map(str::to_owned)
            .collect();
        assert!(said.len() > 10, "{said:?}");
        said
    };
    assert_eq!(info("hub://admin/set"), info(set.to_str().unwrap()));
    let back = lab.dir.path().join("back");
    lab.run(&["hub", "pull", "admin/set", back.to_str().unwrap()])
        .succeeded();
    let [pushed, pulled] = [&set, &back].map(|folder| Dataset::open(folder).unwrap());
    assert_eq!((pushed.episodes().len(), pushed.len()), (2, pulled.len()));
    lab.run(&["hub", "diff", back.to_str().unwrap(), "admin/set"])
        .succeeded();
}

#[test]
fn a_wrong_destination_is_found_before_the_recording() {
    let mut lab = Lab::new();
    let set = lab.dir.path().join("set");
    lab.record(&set, &["--push", "nonsense"])
        .failed(2, &["nonsense", "org/name"]);
    lab.record(&set, &["--push", "models/admin/set"])
        .failed(2, &["no name of a dataset"]);
    lab.hub = None;
    lab.record(&set, &["--push", "admin/set"])
        .failed(1, &[&lab.endpoint, "check the network"]);
    assert!(!set.exists());
}

//! What a hub can do wrong, and what becomes of it: another try, or one clear sentence; never
//! garbage, a panic or a wait without end.
#![cfg(feature = "remote")]

#[path = "support/hub.rs"]
mod hub;
#[path = "support/mod.rs"]
mod support;

use hub::{Asked, Host, TestHub, Trouble};
use proptest::prelude::*;
use sinew_datasets::{
    Codec, Dataset, DatasetSpec, Error, HubFault, HubName, HubOptions, Recorder, Row, Series, Token,
};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;
use support::{spec, state, times};
use tempfile::TempDir;

/// Which requests a fault is for.
type Which = fn(&Asked) -> bool;

/// Two episodes of numbers.
fn numbers() -> PathBuf {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let spec = DatasetSpec {
            cameras: vec![],
            ..spec(Codec::H264)
        };
        let mut recorder = Recorder::create(&dir.path().join("d"), &spec).unwrap();
        for episode in 0..2 {
            recorder.start_episode("stay").unwrap();
            for frame in 0..40 {
                let state = state(episode, frame);
                let row = Row {
                    state: &state,
                    action: &state,
                    extra: &times(&[0.0], &[0.0, 0.0]),
                    frames: &[],
                };
                recorder.add(row).unwrap();
            }
            recorder.save_episode().unwrap();
        }
        recorder.finalize().unwrap();
        dir
    });
    dir.path().join("d")
}

struct Lab {
    hub: TestHub,
    options: HubOptions,
    _cache: TempDir,
}

impl Lab {
    fn new() -> Self {
        let (hub, cache) = (TestHub::start(), tempfile::tempdir().unwrap());
        hub.serve("lab/set", &numbers());
        let options = HubOptions {
            endpoint: hub.endpoint.clone(),
            token: None,
            cache: cache.path().to_owned(),
            patience: Duration::from_millis(500),
            backoff: Duration::from_millis(1),
            retries: 3,
            ..HubOptions::from_env().unwrap()
        };
        Self {
            hub,
            options,
            _cache: cache,
        }
    }

    fn open(&self, name: &str) -> Result<Dataset, Error> {
        Dataset::open_hub(&name.parse::<HubName>()?, &self.options)
    }

    /// Reads the numbers of an episode.
    fn read(&self) -> Result<Series, Error> {
        self.open("hub://lab/set")?.states(1)
    }

    /// The numbers are read in spite of it.
    #[track_caller]
    fn gets_over(&self, times: u32, trouble: Trouble, which: fn(&Asked) -> bool) {
        let case = format!("{trouble:?}");
        self.hub.fail(times, trouble, which);
        let expected = Dataset::open(&numbers()).unwrap().states(1).unwrap();
        assert_eq!(self.read().unwrap(), expected, "{case}");
    }

    /// Opening `name` or reading it ends in a failure of this kind that says these words.
    #[track_caller]
    fn fails(&self, name: &str, expected: HubFault, words: &[&str]) {
        let outcome = self.open(name).and_then(|dataset| dataset.states(1));
        told(outcome.unwrap_err(), expected, words);
    }
}

#[track_caller]
fn told(error: Error, expected: HubFault, words: &[&str]) {
    let said = error.to_string();
    assert!(
        matches!(error, Error::Hub { fault, .. } if fault == expected),
        "not {expected:?}: {error:?}"
    );
    for word in words {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
    assert!(!said.contains('\n') && !said.contains("hf_"), "{said}");
}

fn in_store(asked: &Asked) -> bool {
    asked.host == Host::Store
}

fn is_data(asked: &Asked) -> bool {
    asked.host == Host::Store && asked.target.contains("/data/")
}

fn is_refs(asked: &Asked) -> bool {
    asked.target.ends_with("/refs")
}

#[test]
fn passing_trouble_is_borne() {
    let busy = |status: u16| Trouble::Status(status, vec![]);
    let rest = Trouble::Status(429, vec![("Retry-After", "1".into())]);
    for (times, trouble, which) in [
        (1, rest, is_refs as fn(&Asked) -> bool),
        (3, busy(429), in_store),
        (3, busy(500), is_data),
        (2, busy(503), |a: &Asked| a.target.contains("/tree/")),
        (2, busy(502), |a: &Asked| a.target.contains("/resolve/")),
        (3, Trouble::Cut(0), is_data),
        (3, Trouble::Cut(7), in_store),
        (2, Trouble::Cut(3), |a: &Asked| {
            a.target.contains("/revision/")
        }),
        (1, Trouble::Silence(1500), is_data),
        (2, Trouble::Junk, is_data),
    ] {
        Lab::new().gets_over(times, trouble, which);
    }
}

#[test]
fn lasting_trouble_is_told() {
    let cases: [(Trouble, Which, HubFault, &[&str]); 11] = [
        (
            Trouble::Status(503, vec![]),
            in_store,
            HubFault::Busy,
            &["busy", "503"],
        ),
        (
            Trouble::Status(429, vec![("Retry-After", "86400".into())]),
            is_data,
            HubFault::Busy,
            &["429", "later"],
        ),
        (
            Trouble::Status(403, vec![]),
            is_data,
            HubFault::Login,
            &["signed address", "403"],
        ),
        (
            Trouble::Cut(5),
            |a| a.target.contains("/tree/"),
            HubFault::Offline,
            &["hub://lab/set"],
        ),
        (
            Trouble::OtherBytes,
            is_data,
            HubFault::Protocol,
            &["asked for"],
        ),
        (
            Trouble::Body(b"{\"branches\": [".to_vec()),
            is_refs,
            HubFault::Protocol,
            &["HF_ENDPOINT"],
        ),
        (
            Trouble::Body(b"[".repeat(100_000)),
            is_refs,
            HubFault::Protocol,
            &["HF_ENDPOINT"],
        ),
        (
            Trouble::Body(vec![b' '; 33 << 20]),
            is_refs,
            HubFault::Protocol,
            &["more than"],
        ),
        (
            Trouble::Status(302, vec![("Location", "/api/datasets/lab/set/refs".into())]),
            is_refs,
            HubFault::Protocol,
            &["circles"],
        ),
        (
            Trouble::Status(307, vec![("Location", "http://127.0.0.1:1/".into())]),
            is_refs,
            HubFault::Protocol,
            &["sends us to 127.0.0.1"],
        ),
        (
            Trouble::Drip(400),
            is_data,
            HubFault::Offline,
            &["broke off"],
        ),
    ];
    for (trouble, which, fault, words) in cases {
        let lab = Lab::new();
        lab.hub.fail(1000, trouble, which);
        lab.fails("hub://lab/set", fault, words);
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    let is_resolve = |a: &Asked| a.target.contains("/resolve/");
    let cases: [(bool, Which); 2] = [(false, is_data), (true, is_resolve)];
    for (expires, which) in cases {
        // Nothing is kept, so that each column is fetched anew.
        let mut lab = Lab::new();
        lab.options.memory_bytes = 1;
        let dataset = lab.open("hub://lab/set").unwrap();
        dataset.states(0).unwrap();
        if expires {
            lab.hub.expire();
        }
        lab.hub.fail(1000, Trouble::OtherTag, which);
        let error = dataset.actions(0).unwrap_err();
        told(error, HubFault::Changed, &["changed while it was read"]);
    }
}

#[test]
fn login_and_names_are_explained() {
    let mut lab = Lab::new();
    lab.fails(
        "hub://lab/nothing",
        HubFault::NotFound,
        &["hub://lab/nothing", "private", "hf auth login"],
    );
    lab.fails(
        "hub://lab/set@nothing",
        HubFault::Revision,
        &["branch, tag or commit"],
    );
    lab.hub.close("lab/set", "hf_good", true);
    lab.fails("hub://lab/set", HubFault::Login, &["asked for", "HF_TOKEN"]);
    lab.options.token = Token::new("hf_bad");
    lab.fails("hub://lab/set", HubFault::Login, &["gives no access"]);
    lab.options.token = Token::new("hf_good");
    lab.read().unwrap();
    lab.hub.close("lab/set", "hf_other", false);
    lab.fails("hub://lab/set", HubFault::NotFound, &["private"]);
}

#[test]
fn the_version_is_chosen_as_lerobot_does() {
    let lab = Lab::new();
    let serve = |tags: &[&str]| lab.hub.serve_tagged("lab/set", &numbers(), tags);
    serve(&["v2.1"]);
    lab.fails("hub://lab/set", HubFault::Version, &["v2.1", "convert"]);
    serve(&["v4.0"]);
    lab.fails(
        "hub://lab/set",
        HubFault::Version,
        &["v4.0", "newer program"],
    );
    serve(&[]);
    lab.fails("hub://lab/set", HubFault::Version, &["hub://lab/set@main"]);
    assert!(lab.open("hub://lab/set@main").is_ok());
    assert!(lab.open("hf://datasets/lab/set@main").is_ok());
    serve(&["v2.1", "v3.0", "v3.1"]);
    assert!(lab.open("hub://lab/set").is_ok());
}

#[test]
fn what_is_no_dataset_or_an_old_one_is_told() {
    let lab = Lab::new();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("README.md"), "hello").unwrap();
    lab.hub.serve("lab/set", dir.path());
    lab.fails(
        "hub://lab/set",
        HubFault::NoDataset,
        &["no LeRobot dataset", "meta/info.json"],
    );
    let lab = Lab::new();
    std::fs::create_dir(dir.path().join("meta")).unwrap();
    let info = std::fs::read_to_string(numbers().join("meta/info.json")).unwrap();
    let old = info.replace("\"v3.0\"", "\"v2.1\"");
    std::fs::write(dir.path().join("meta/info.json"), old).unwrap();
    lab.hub.serve("lab/set", dir.path());
    let said = lab.open("hub://lab/set@main").unwrap_err().to_string();
    assert!(
        said.contains("v2.1") && said.contains("hub://lab/set@main/meta/info.json"),
        "{said}"
    );
}

#[test]
fn nobody_there_is_told_at_once() {
    let mut lab = Lab::new();
    lab.options.backoff = Duration::from_millis(1);
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    lab.options.endpoint = format!("http://{free}");
    lab.fails(
        "hub://lab/set",
        HubFault::Offline,
        &["refuses connections", "HF_ENDPOINT"],
    );
    lab.options.endpoint = "http://no-such-host.invalid".into();
    lab.fails(
        "hub://lab/set",
        HubFault::Offline,
        &["no-such-host.invalid is not known", "HF_ENDPOINT"],
    );
    for wrong in ["", "huggingface.co", "ftp://x", "http://user:hf_pw@host"] {
        lab.options.endpoint = wrong.into();
        lab.fails("hub://lab/set", HubFault::Name, &["HF_ENDPOINT"]);
    }
}

#[test]
fn a_server_without_ranges_is_told_or_used_as_far_as_it_goes() {
    // The file is one block, so that its beginning is all of it.
    Lab::new().gets_over(1000, Trouble::Whole, is_data);
}

#[test]
fn a_hostile_list_of_files_stays_in_its_folder() {
    let lab = Lab::new();
    let list = r#"[{"type": "file", "path": "../../../../tmp/evil.parquet", "size": 3},
        {"type": "file", "path": "/tmp/evil.parquet", "size": 3},
        {"type": "file", "path": "meta/episodes/../../../evil.parquet", "size": 3}]"#;
    lab.hub.fail(1000, Trouble::Body(list.into()), |a| {
        a.target.contains("/tree/")
    });
    let said = lab.open("hub://lab/set").unwrap_err().to_string();
    assert!(said.contains("episodes"), "{said}");
    assert!(
        lab.hub
            .take_log()
            .iter()
            .all(|a| !a.target.contains("evil"))
    );
}

#[test]
fn huge_metadata_is_refused_before_it_is_fetched() {
    let lab = Lab::new();
    let list = r#"[{"type": "file", "path": "meta/episodes/chunk-000/file-000.parquet", "size": 99999999999999}]"#;
    lab.hub.fail(1000, Trouble::Body(list.into()), |a| {
        a.target.contains("/tree/")
    });
    lab.fails(
        "hub://lab/set",
        HubFault::Protocol,
        &["99999999999999 bytes"],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn hostile_answers_give_a_value_or_an_error(
        body in prop::collection::vec(any::<u8>(), 0..300),
        status in prop::sample::select(vec![200_u16, 206, 302, 307, 404, 416, 500]),
        header in prop::sample::select(vec![
            "Location", "Link", "Content-Range", "ETag", "X-Linked-Size", "X-Error-Code",
            "Retry-After", "Content-Encoding", "X-Repo-Commit",
        ]),
        value in "[ -~]{0,60}",
        which in prop::sample::select(vec!["/refs", "/revision/", "/tree/", "/resolve/", "/store/"]),
        whole in any::<bool>(),
    ) {
        let mut lab = Lab::new();
        lab.options.retries = 1;
        lab.options.patience = Duration::from_millis(200);
        let trouble = if whole {
            Trouble::Body(body)
        } else if header == "Retry-After" {
            Trouble::Status(status, vec![(header, "0".into())])
        } else {
            Trouble::Status(status, vec![(header, value)])
        };
        lab.hub.fail(3, trouble, move |a| a.target.contains(which));
        if let Ok(series) = lab.read() {
            prop_assert_eq!(series.len(), 40);
        }
    }
}

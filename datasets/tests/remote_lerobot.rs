//! The test hub is a hub for huggingface_hub and lerobot too, and what they read from it is what is
//! read here.
//!
//! It needs PyTorch: `make interop` installs and runs it.
#![cfg(all(feature = "gstreamer", feature = "remote"))]

#[path = "support/hub.rs"]
mod hub;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/mod.rs"]
mod support;

use hub::TestHub;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use sinew_datasets::{
    Codec, Dataset, HubName, HubOptions, Item, Pixels, ReaderOptions, Recorder, edit,
};
use support::{record, spec};

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// A frame as the script prints it.
fn row(item: &Item) -> Json {
    let state = item.get("observation.state").unwrap().tensor().unwrap();
    let numbers = state.numbers.to_f64();
    let bits: Vec<i32> = numbers
        .iter()
        .map(|v| (*v as f32).to_bits() as i32)
        .collect();
    let pictures = ["observation.images.front", "observation.images.wrist"].map(|camera| {
        let Pixels::Rgb(rgb) = &item.get(camera).unwrap().image().unwrap().pixels else {
            panic!("a colour camera");
        };
        (camera.to_owned(), Json::String(sha256(rgb)))
    });
    let pictures: serde_json::Map<String, Json> = pictures.into_iter().collect();
    serde_json::json!([item.index, item.task, bits, pictures])
}

#[test]
fn huggingface_hub_and_lerobot_read_the_same_from_the_test_hub() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dataset");
    let mut recorder = Recorder::create(&root, &spec(Codec::H264)).unwrap();
    for (episode, rows) in [20, 12].into_iter().enumerate() {
        record(&mut recorder, "pick", episode as u32, rows);
    }
    recorder.finalize().unwrap();
    // lerobot's streaming class looks for frames as if all episodes were in one file.
    edit::pack(&root, None, &edit::Target::InPlace).unwrap();
    let hub = TestHub::start();
    hub.serve("lab/set", &root);

    let mut script = peer::script("lerobot", "lerobot_hub.py", dir.path());
    script
        .arg("lab/set")
        .arg(dir.path().join("downloaded"))
        .env("HF_ENDPOINT", &hub.endpoint)
        .env("XDG_CACHE_HOME", dir.path().join("package-cache"))
        .env("HF_LEROBOT_HOME", dir.path().join("lerobot-cache"))
        .env("HF_HUB_DISABLE_TELEMETRY", "1")
        .env_remove("HF_HUB_OFFLINE");
    let report = peer::report(&mut script);

    let local = Dataset::open(&root).unwrap();
    let files = report["files"].as_object().unwrap();
    assert_eq!(files.len(), local.files().unwrap().len());
    for (path, hash) in files {
        assert_eq!(
            *hash,
            sha256(&std::fs::read(root.join(path)).unwrap()),
            "{path}"
        );
    }
    let parts = report["filesystem"].as_object().unwrap();
    assert_eq!(parts.len(), 2);
    for (path, hash) in parts {
        let bytes = std::fs::read(root.join(path)).unwrap();
        let start = bytes.len() / 2;
        assert_eq!(
            *hash,
            sha256(&bytes[start..bytes.len().min(start + 1000)]),
            "{path}"
        );
    }

    let name: HubName = "hub://lab/set".parse().unwrap();
    let options = HubOptions {
        endpoint: hub.endpoint.clone(),
        cache: dir.path().join("cache"),
        token: None,
        ..HubOptions::from_env().unwrap()
    };
    let dataset = Dataset::open_hub(&name, &options).unwrap();
    let reader = dataset.reader(&ReaderOptions::default()).unwrap();
    let ours: Vec<Json> = (0..dataset.len())
        .map(|i| row(&reader.get(i).unwrap()))
        .collect();
    assert_eq!(report["rows"], Json::Array(ours.clone()));
    assert_eq!(report["streamed"], Json::Array(ours.clone()));
    assert_eq!(report["package"], Json::Array(ours));
}

//! What the real lerobot computes with checkpoints of random weights: `tests/peers/lerobot_policies.py`.

use sinew_policies::lerobot::{Checkpoint, Weights};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// One checkpoint, and what lerobot made of one observation with it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) checkpoint: Arc<Checkpoint>,
    golden: Weights,
    file: PathBuf,
}

/// A folder of cases, removed with this.
pub(crate) struct Cases {
    pub(crate) cases: Vec<Case>,
    _folder: Option<tempfile::TempDir>,
}

impl Case {
    fn open(root: &Path, name: &str) -> Self {
        let folder = root.join(name);
        let checkpoint = Checkpoint::open(&folder.join("pretrained_model"))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let file = folder.join("golden.safetensors");
        Self {
            name: name.to_owned(),
            checkpoint: Arc::new(checkpoint),
            golden: Weights::open_file(&file).unwrap(),
            file,
        }
    }

    /// Where all of it was recorded.
    pub(crate) fn golden_file(&self) -> PathBuf {
        self.file.clone()
    }

    /// A recorded tensor's floats.
    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        match self.golden.get(name) {
            Some(tensor) => tensor.to_f32().into_owned(),
            None => panic!("{}: nothing recorded as `{name}`", self.name),
        }
    }

    /// A recorded image's bytes.
    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        self.golden.get(name).unwrap().bytes
    }

    /// Whether something was recorded under a name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.golden.get(name).is_some()
    }
}

/// Lets lerobot write all cases of an architecture. A folder that was written before may be named by
/// SINEW_GOLDEN, which saves minutes while developing.
pub(crate) fn golden(architecture: &str) -> Cases {
    if let Some(root) = std::env::var_os("SINEW_GOLDEN").map(PathBuf::from) {
        let entries = std::fs::read_dir(&root).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let cases = names.iter().map(|name| Case::open(&root, name)).collect();
        return Cases {
            cases,
            _folder: None,
        };
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/lerobot_policies.py");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(python())
        .arg(script.canonicalize().unwrap())
        .arg(architecture)
        .arg(folder.path())
        .current_dir(folder.path())
        .output()
        .expect("lerobot's Python starts: `scripts/setup interop` brings it");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problem}");
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<String> = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let open = |name: &String| Case::open(folder.path(), name);
    Cases {
        cases: names.iter().map(open).collect(),
        _folder: Some(folder),
    }
}

/// The Python that has lerobot.
pub(crate) fn python() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/sinew-peers");
    let peers = std::env::var_os("SINEW_PEERS").map_or_else(home, PathBuf::from);
    peers.join("lerobot/bin/python")
}

/// Largest difference, as a share of the range of what is wanted.
pub(crate) fn apart(found: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(found.len(), wanted.len());
    let (low, high) = wanted.iter().fold((f32::MAX, f32::MIN), |(low, high), &x| {
        (low.min(x), high.max(x))
    });
    let differences = found.iter().zip(wanted).map(|(a, b)| (a - b).abs());
    let largest = differences.fold(0.0, f32::max);
    assert!(!found.iter().any(|x| x.is_nan()));
    largest / (high - low)
}

//! How a policy was trained, as far as the checkpoint and its dataset still tell: `train_config.json`
//! and, where the dataset is on this machine, its `meta/info.json`.

use super::features::{ACTION, STATE};
use super::json::{self, Fields, texts};
use crate::error::PolicyError;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The file in a checkpoint's folder.
pub const TRAIN_FILE: &str = "train_config.json";

/// The highest rate that `sinew.toml` may give, Hz.
const MAX_RATE_HZ: f64 = 10_000.0;

/// Facts about a training, each where it is known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Training {
    /// The dataset's name on the hub.
    pub dataset: Option<String>,
    /// Its folder on the machine of the training.
    pub dataset_root: Option<PathBuf>,
    /// How many episodes of it were used, if not all.
    pub episodes: Option<usize>,
    /// Steps of the optimiser that were planned.
    pub steps: Option<u64>,
    /// Samples a step.
    pub batch_size: Option<u64>,
    /// Seed of the random numbers.
    pub seed: Option<u64>,
    /// The name of the run.
    pub job: Option<String>,
    /// The simulation in which it was evaluated.
    pub environment: Option<String>,
}

impl Training {
    /// Reads `train_config.json` in the checkpoint folder `dir`; `None` when there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>, PolicyError> {
        let path = dir.join(TRAIN_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let fields = json::read_object(&path, json::FILE_LIMIT)?;
        Ok(Some(Self::from_fields(&fields)))
    }

    /// Parses the text of a `train_config.json`; `path` is for messages.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, PolicyError> {
        Ok(Self::from_fields(&json::parse_object(path, text)?))
    }

    /// What is of another type than expected counts as unknown: nothing depends on these facts.
    fn from_fields(fields: &Map<String, Value>) -> Self {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| fields.get(name).and_then(Value::as_u64);
        let dataset = fields.get("dataset");
        let of_dataset = |name: &str| dataset.and_then(|dataset| dataset.get(name));
        let episodes = of_dataset("episodes").and_then(Value::as_array);
        Self {
            dataset: text(of_dataset("repo_id")),
            dataset_root: text(of_dataset("root")).map(PathBuf::from),
            episodes: episodes.map(Vec::len),
            steps: number("steps"),
            batch_size: number("batch_size"),
            seed: number("seed"),
            job: text(fields.get("job_name")),
            environment: text(fields.get("env").and_then(|env| env.get("type"))),
        }
    }

    /// What the training's dataset says about joints, where it is on this machine: in the folder that
    /// the training used, or where LeRobot keeps datasets.
    pub fn dataset_names(&self) -> Option<DatasetNames> {
        let home = std::env::var_os("HF_LEROBOT_HOME").map(PathBuf::from);
        let home = home.or_else(|| {
            let user = std::env::var_os("HOME").map(PathBuf::from)?;
            Some(user.join(".cache/huggingface/lerobot"))
        });
        let kept = self.dataset.as_deref().filter(|id| is_repository(id));
        let kept = kept.and_then(|id| Some(home?.join(id)));
        let folders = self.dataset_root.iter().chain(&kept);
        folders
            .filter_map(|folder| DatasetNames::read(folder))
            .next()
    }
}

/// `owner/name`, with nothing that leads elsewhere.
fn is_repository(id: &str) -> bool {
    let fine = |part: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
    };
    let parts: Vec<&str> = id.split('/').collect();
    parts.len() <= 2 && parts.into_iter().all(fine)
}

/// What a dataset says about the vectors that a policy takes and gives.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetNames {
    /// The dataset's folder.
    pub root: PathBuf,
    /// Rows a second, Hz.
    pub fps: Option<f64>,
    /// Names of the state's values, without LeRobot's `.pos`.
    pub state: Option<Vec<String>>,
    /// Names of the action's values, without LeRobot's `.pos`.
    pub action: Option<Vec<String>>,
    /// The robot's type, for example `so101_follower`.
    pub robot: Option<String>,
}

impl DatasetNames {
    /// Reads `meta/info.json` of a LeRobot dataset; `None` when there is none that can be read.
    pub fn read(root: &Path) -> Option<Self> {
        let path = root.join("meta/info.json");
        let mut fields = Fields::new(json::read_object(&path, json::FILE_LIMIT).ok()?);
        let features = fields.object("features")?;
        let names = |feature: &str| names(features.get(feature)?.get("names")?);
        Some(Self {
            root: root.to_owned(),
            fps: fields
                .number_or_null("fps")
                .filter(|fps| plausible(*fps, &path)),
            state: names(STATE),
            action: names(ACTION),
            robot: fields.text("robot_type"),
        })
    }
}

/// Whether a policy may run at this rate; if not, that is said and the rate is not used.
fn plausible(fps: f64, path: &Path) -> bool {
    let fine = fps > 0.0 && fps <= MAX_RATE_HZ;
    if !fine {
        let path = path.display();
        tracing::warn!(
            "{path}: `fps` is {fps}, which is not above 0 and at most {MAX_RATE_HZ}: not used"
        );
    }
    fine
}

/// A list of names, or one list under the word for what they name (`{"motors": […]}`).
fn names(value: &Value) -> Option<Vec<String>> {
    let list = match value {
        Value::Object(map) if map.len() == 1 => texts(map.values().next()?)?,
        other => texts(other)?,
    };
    let plain = |name: String| match name.strip_suffix(".pos") {
        Some(name) => name.to_owned(),
        None => name,
    };
    (list.len() <= 256).then(|| list.into_iter().map(plain).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_no_policy_runs_at_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("meta")).unwrap();
        for (fps, taken) in [
            ("30", Some(30.0)),
            ("1e300", None),
            ("-1", None),
            ("0", None),
        ] {
            let text = format!(r#"{{"fps": {fps}, "features": {{}}}}"#);
            std::fs::write(folder.path().join("meta/info.json"), text).unwrap();
            assert_eq!(DatasetNames::read(folder.path()).unwrap().fps, taken);
        }
    }
}

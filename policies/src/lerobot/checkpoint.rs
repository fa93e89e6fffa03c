//! A checkpoint's folder as a whole.

use super::config::{CONFIG_FILE, Config};
use super::names::Names;
use super::processors::Processors;
use super::training::Training;
use super::weights::Weights;
use crate::error::PolicyError;
use std::path::{Path, PathBuf};

/// What `lerobot-train` wrote: configuration, weights, processors, and what is known of its training.
#[derive(Debug)]
pub struct Checkpoint {
    /// The folder that holds `config.json`.
    pub dir: PathBuf,
    /// What the network is, and what goes in and out.
    pub config: Config,
    /// Its weights, mapped and not copied.
    pub weights: Weights,
    /// What happens before and after the network.
    pub processors: Processors,
    /// How it was trained, if that is there.
    pub training: Option<Training>,
    /// Joints, units and rate.
    pub names: Names,
}

impl Checkpoint {
    /// Opens a checkpoint's folder, or one that LeRobot puts around it: a numbered checkpoint with
    /// `pretrained_model`, or the whole output of a training, of which the last one is taken.
    ///
    /// # Errors
    /// When something is missing, damaged or not supported. Weights are not compared with the
    /// configuration yet: that is for the network's builder.
    pub fn open(dir: &Path) -> Result<Self, PolicyError> {
        let dir = Self::find(dir).ok_or_else(|| PolicyError::Checkpoint {
            path: dir.to_owned(),
            problem: format!(
                "there is no {CONFIG_FILE}; give the folder `pretrained_model` that lerobot-train wrote"
            ),
        })?;
        let config = Config::read(&dir)?;
        let weights = Weights::open(&dir)?;
        let processors = Processors::read(&dir, &config, &weights)?;
        let training = Training::read(&dir)?;
        let dataset = training.as_ref().and_then(Training::dataset_names);
        let names = Names::read(&dir)?.or_dataset(dataset);
        Ok(Self {
            dir,
            config,
            weights,
            processors,
            training,
            names,
        })
    }

    /// Where `config.json` is: in `dir`, in its `pretrained_model`, or in that of the last
    /// checkpoint of a training.
    pub fn find(dir: &Path) -> Option<PathBuf> {
        let places = [
            "",
            "pretrained_model",
            "last/pretrained_model",
            "checkpoints/last/pretrained_model",
        ];
        let mut places = places.iter().map(|place| dir.join(place));
        places.find(|place| place.join(CONFIG_FILE).is_file())
    }

    /// A name for messages: the folder's, or that of the training around it.
    pub fn name(&self) -> String {
        let own = self.dir.file_name().and_then(|name| name.to_str());
        let job = self
            .training
            .as_ref()
            .and_then(|training| training.job.clone());
        match (own, job) {
            (Some("pretrained_model") | None, Some(job)) => job,
            (Some(own), _) => own.to_owned(),
            (None, None) => self.config.architecture.name().to_owned(),
        }
    }
}

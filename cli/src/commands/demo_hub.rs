//! The end of `sinew demo`: what was recorded goes to a hub that is started for it, and comes back.

use crate::hub::as_error;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use sinew_datasets::Dataset;
use sinew_hub::command::Scene;
use sinew_hub::command::here::{ADMIN, LocalHub};
use sinew_hub::command::places::run_line;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What became of the dataset on its way.
#[derive(Debug, serde::Serialize)]
pub(super) struct ThereAndBack {
    repository: String,
    files: u64,
    bytes: u64,
    /// Bytes that the dataset's large files took on the hub.
    packed_bytes: u64,
    pushed_s: f64,
    pulled_s: f64,
    /// Where it came back to.
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Pushed {
    files: u64,
    changed_bytes: u64,
    packed_bytes: u64,
    seconds: f64,
}

#[derive(Deserialize)]
struct Pulled {
    seconds: f64,
}

/// Pushes the dataset to a hub in `out/hub`, pulls it to `out/pulled` and makes sure that it is the same.
pub(super) fn there_and_back(dataset: &Path, out: &Path) -> Result<ThereAndBack> {
    let hub = LocalHub::start(&out.join("hub")).map_err(as_error)?;
    let (repository, folder) = (format!("{ADMIN}/so101-pick"), out.join("pulled"));
    let line = |verb: &str, rest: [&OsString; 2]| -> Result<Vec<u8>> {
        let mut words: Vec<OsString> = [verb, "--type", "dataset", "--json"]
            .map(OsString::from)
            .to_vec();
        words.extend(rest.into_iter().cloned());
        let mut printed = Vec::new();
        let mut scene = Scene {
            environment: hub.environment(),
            out: &mut printed,
            shows_progress: false,
        };
        run_line(&words, &mut scene).map_err(as_error)?;
        Ok(printed)
    };
    let (here, there, back) = (
        dataset.as_os_str().to_owned(),
        OsString::from(&repository),
        folder.clone().into(),
    );
    let pushed: Pushed = serde_json::from_slice(&line("push", [&here, &there])?)?;
    let pulled: Pulled = serde_json::from_slice(&line("pull", [&there, &back])?)?;
    for side in [&here, &back] {
        line("diff", [side, &there]).context("what the hub has is not what was recorded")?;
    }
    let [recorded, returned] =
        [dataset, &folder].map(|folder| Dataset::open(folder).map(|data| data.len()));
    ensure!(
        recorded? == returned?,
        "the dataset came back with another number of frames"
    );
    Ok(ThereAndBack {
        repository,
        files: pushed.files,
        bytes: pushed.changed_bytes,
        packed_bytes: pushed.packed_bytes,
        pushed_s: pushed.seconds,
        pulled_s: pulled.seconds,
        folder,
    })
}

impl ThereAndBack {
    /// One line for people.
    pub(super) fn line(&self) -> String {
        format!(
            "{} files, {:.1} MB, pushed in {:.1} s, pulled in {:.1} s, identical: {}",
            self.files,
            self.bytes as f64 / 1e6,
            self.pushed_s,
            self.pulled_s,
            self.folder.display()
        )
    }
}

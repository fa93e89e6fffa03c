//! `sinew dataset info`: what a dataset holds.

use super::args::Common;
use super::text::{WIDTH, bytes, cut, labelled, wrap};
use super::{ask_doctor, open, seconds};
use anyhow::Result;
use serde::Serialize;
use sinew_datasets::{Dataset, Feature};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Debug, Serialize)]
struct Summary {
    path: PathBuf,
    robot_type: Option<String>,
    fps: u32,
    episodes: u64,
    frames: u64,
    seconds: f64,
    tasks: Vec<String>,
    features: Vec<FeatureSummary>,
    /// Codec of each camera.
    codecs: BTreeMap<String, Option<String>>,
    size_bytes: u64,
    files: u64,
}

#[derive(Debug, Serialize)]
struct FeatureSummary {
    name: String,
    dtype: String,
    shape: Vec<u64>,
    entries: Option<Vec<String>>,
}

/// Runs the command.
pub(super) fn info(args: &Common) -> Result<()> {
    let dataset = open(&args.path)?;
    let summary = summary(&args.path, &dataset)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print(&summary);
    }
    Ok(())
}

fn summary(path: &Path, dataset: &Dataset) -> Result<Summary> {
    let info = dataset.info();
    let files = dataset.files().map_err(|e| ask_doctor(path, &e))?;
    let codec = |feature: &Feature| {
        let codec = feature.info.as_ref()?.get("video.codec")?.as_str()?;
        Some(codec.to_owned())
    };
    Ok(Summary {
        path: path.to_owned(),
        robot_type: info.robot_type.clone(),
        fps: info.fps,
        episodes: info.total_episodes,
        frames: info.total_frames,
        seconds: seconds(dataset, info.total_frames),
        tasks: dataset.tasks().to_vec(),
        codecs: info
            .features
            .iter()
            .filter(|(_, f)| f.is_video())
            .map(|(name, f)| (name.to_owned(), codec(f)))
            .collect(),
        features: info
            .features
            .iter()
            .map(|(name, f)| FeatureSummary {
                name: name.to_owned(),
                dtype: f.dtype.clone(),
                shape: f.shape.clone(),
                entries: f.entry_names(),
            })
            .collect(),
        size_bytes: files
            .iter()
            .fold(0, |sum: u64, file| sum.saturating_add(file.size)),
        files: files.len() as u64,
    })
}

fn print(summary: &Summary) {
    labelled(
        "robot",
        &cut(summary.robot_type.as_deref().unwrap_or("not named"), 80),
    );
    let codecs = summary.codecs.iter().map(|(camera, codec)| {
        let name = camera
            .strip_prefix(sinew_datasets::IMAGES)
            .unwrap_or(camera);
        format!("{name} {}", codec.as_deref().unwrap_or("unknown"))
    });
    let codecs: Vec<String> = codecs.collect();
    labelled(
        "recorded",
        &format!(
            "{} episodes, {} frames, {:.1} s at {} fps",
            summary.episodes, summary.frames, summary.seconds, summary.fps
        ),
    );
    labelled(
        "size",
        &format!("{} in {} files", bytes(summary.size_bytes), summary.files),
    );
    if !codecs.is_empty() {
        labelled("codecs", &cut(&codecs.join(", "), 400));
    }
    for (number, task) in summary.tasks.iter().enumerate() {
        let label = if number == 0 { "tasks" } else { "" };
        println!("{label:<12}{number:>4}  {}", cut(task, WIDTH - 18));
    }
    println!("{:<36}{:<10}{:<16}entries", "feature", "type", "shape");
    for feature in &summary.features {
        let shape: Vec<String> = feature.shape.iter().map(u64::to_string).collect();
        let head = format!(
            "{:<36}{:<10}{:<16}",
            cut(&feature.name, 35),
            cut(&feature.dtype, 9),
            cut(&shape.join("×"), 15)
        );
        let entries = feature.entries.as_deref().unwrap_or(&[]).join(", ");
        let lines = wrap(&cut(&entries, 2000), 62);
        println!("{head}{}", lines.first().map_or("", String::as_str));
        lines
            .iter()
            .skip(1)
            .for_each(|line| println!("{:62}{line}", ""));
    }
}

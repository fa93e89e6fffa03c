//! `sinew dataset show`: an episode's values, summed up or frame by frame.

use super::args::Show;
use super::text::{cut, figure, labelled};
use super::{ask_doctor, open, seconds};
use crate::failure::usage;
use anyhow::Result;
use serde::Serialize;
use sinew_datasets::stats::FeatureStats;
use sinew_datasets::{Dataset, Series};

#[derive(Debug, Serialize)]
struct Shown {
    episode: u64,
    frames: u64,
    seconds: f64,
    tasks: Vec<String>,
    videos: Vec<Video>,
    /// Set when one frame was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<u64>,
    values: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Video {
    camera: String,
    file: String,
    from_s: f64,
    to_s: f64,
}

/// One entry of a feature, in the unit in which the dataset has it.
#[derive(Debug, Serialize)]
struct Entry {
    feature: String,
    entry: String,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Figures {
    Value {
        value: f64,
    },
    Statistics {
        min: f64,
        mean: f64,
        max: f64,
        std: f64,
        median: f64,
    },
}

/// Runs the command.
pub(super) fn show(args: &Show) -> Result<()> {
    let dataset = open(&args.path)?;
    let shown = look(args, &dataset)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&shown)?);
    } else {
        print(&shown);
    }
    Ok(())
}

fn look(args: &Show, dataset: &Dataset) -> Result<Shown> {
    let episode = dataset.episode(args.episode).map_err(usage)?;
    if let Some(frame) = args.frame.filter(|frame| *frame >= episode.length) {
        return Err(usage(format!(
            "episode {} has no frame {frame}; it has {} frames, numbered from 0",
            args.episode, episode.length
        )));
    }
    let files = dataset.video_files(args.episode).map_err(usage)?;
    let videos = episode
        .videos
        .iter()
        .zip(files)
        .map(|(span, (camera, file))| Video {
            camera,
            file: file.display().to_string(),
            from_s: span.from_s,
            to_s: span.to_s,
        });
    let mut values = Vec::new();
    for (name, feature) in dataset.info().features.iter() {
        let numeric = ["float", "int", "uint", "bool"];
        if !numeric.iter().any(|n| feature.dtype.starts_with(n)) {
            continue;
        }
        let series = dataset
            .series(args.episode, name)
            .map_err(|e| ask_doctor(&args.path, &e))?;
        add_entries(name, &series, args.frame, &mut values);
    }
    Ok(Shown {
        episode: args.episode,
        frames: episode.length,
        seconds: seconds(dataset, episode.length),
        tasks: episode.tasks.clone(),
        videos: videos.collect(),
        frame: args.frame,
        values,
    })
}

fn add_entries(feature: &str, series: &Series, frame: Option<u64>, out: &mut Vec<Entry>) {
    let stats = frame
        .is_none()
        .then(|| FeatureStats::of_rows(&series.values, series.width));
    let row = frame
        .and_then(|frame| series.row(frame as usize))
        .unwrap_or(&[]);
    for at in 0..series.width {
        let figures = match &stats {
            Some(stats) => Figures::Statistics {
                min: stats.min[at],
                mean: stats.mean[at],
                max: stats.max[at],
                std: stats.std[at],
                median: stats.quantiles[2][at],
            },
            None => Figures::Value {
                value: row.get(at).copied().unwrap_or(f64::NAN),
            },
        };
        let unnamed = || {
            if series.width == 1 {
                String::new()
            } else {
                at.to_string()
            }
        };
        out.push(Entry {
            feature: feature.to_owned(),
            entry: series.names.get(at).cloned().unwrap_or_else(unnamed),
            figures,
        });
    }
}

fn print(shown: &Shown) {
    let frame = shown
        .frame
        .map_or(String::new(), |f| format!(", frame {f}"));
    labelled(
        "episode",
        &format!(
            "{}{frame} · {} frames · {:.1} s",
            shown.episode, shown.frames, shown.seconds
        ),
    );
    labelled("tasks", &cut(&shown.tasks.join(" · "), 400));
    for video in &shown.videos {
        let from_to = format!(
            "{:.3} to {:.3} s of {}",
            video.from_s, video.to_s, video.file
        );
        labelled("video", &cut(&from_to, 400));
    }
    println!("values in the dataset's own units");
    match shown.frame {
        Some(_) => println!("{:<28}{:<22}{:>12}", "feature", "entry", "value"),
        None => println!(
            "{:<28}{:<22}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "feature", "entry", "min", "mean", "median", "max", "std"
        ),
    }
    let mut before = "";
    for entry in &shown.values {
        let name = if entry.feature == before {
            ""
        } else {
            &entry.feature
        };
        before = &entry.feature;
        match entry.figures {
            Figures::Value { value } => println!(
                "{:<28}{:<22}{:>12}",
                cut(name, 27),
                cut(&entry.entry, 21),
                figure(value)
            ),
            Figures::Statistics {
                min,
                mean,
                max,
                std,
                median,
            } => println!(
                "{:<28}{:<22}{:>10}{:>10}{:>10}{:>10}{:>10}",
                cut(name, 27),
                cut(&entry.entry, 21),
                figure(min),
                figure(mean),
                figure(median),
                figure(max),
                figure(std)
            ),
        }
    }
}

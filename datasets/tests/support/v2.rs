//! Makes a LeRobot v2.0 or v2.1 dataset of one that was recorded here: a file an episode already.
#![allow(dead_code, reason = "each test program uses its own part")]

use serde_json::{Map, Value, json};
use sinew_datasets::Dataset;
use std::path::Path;

pub(crate) fn downgrade(root: &Path, old: &Path, version: &str, stats: bool) {
    let dataset = Dataset::open(root).unwrap();
    let info = dataset.info();
    let copy = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    let (mut episodes, mut all_stats) = (String::new(), String::new());
    for episode in dataset.episodes() {
        let name = format!("episode_{:06}", episode.index);
        copy(
            &root.join(info.data_file(episode.data).unwrap()),
            &old.join(format!("data/chunk-000/{name}.parquet")),
        );
        for span in &episode.videos {
            copy(
                &root.join(info.video_file(&span.key, span.file).unwrap()),
                &old.join(format!("videos/chunk-000/{}/{name}.mp4", span.key)),
            );
        }
        let (index, length) = (episode.index, episode.length);
        let line = json!({"episode_index": index, "tasks": episode.tasks, "length": length});
        episodes.push_str(&format!("{line}\n"));
        let channels = |value: f64| json!([[[value]], [[value]], [[value]]]);
        let mut of_features: Map<String, Value> = episode
            .videos
            .iter()
            .map(|v| {
                let stats = json!({"min": channels(0.0), "max": channels(1.0), "mean": channels(0.5), "std": channels(0.25), "count": [length]});
                (v.key.clone(), stats)
            })
            .collect();
        for (name, _) in info.features.iter().filter(|(_, f)| !f.is_video()) {
            of_features.insert(name.to_owned(), of_numbers(&dataset, index, name));
        }
        let line = json!({"episode_index": index, "stats": of_features});
        all_stats.push_str(&format!("{line}\n"));
    }
    let tasks: String = dataset
        .tasks()
        .iter()
        .enumerate()
        .map(|(i, task)| format!("{}\n", json!({"task_index": i, "task": task})))
        .collect();
    let mut head = serde_json::to_value(info).unwrap();
    let fields = head.as_object_mut().unwrap();
    fields.remove("data_files_size_in_mb");
    fields.remove("video_files_size_in_mb");
    fields.insert("codebase_version".into(), json!(version));
    fields.insert("total_chunks".into(), json!(1));
    let videos = dataset.episodes().iter().map(|e| e.videos.len());
    fields.insert("total_videos".into(), json!(videos.sum::<usize>()));
    fields.insert(
        "data_path".into(),
        json!("data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"),
    );
    fields.insert(
        "video_path".into(),
        json!("videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"),
    );
    let meta = old.join("meta");
    std::fs::create_dir_all(&meta).unwrap();
    std::fs::write(meta.join("info.json"), head.to_string()).unwrap();
    std::fs::write(meta.join("episodes.jsonl"), episodes).unwrap();
    std::fs::write(meta.join("tasks.jsonl"), tasks).unwrap();
    if stats {
        std::fs::write(meta.join("episodes_stats.jsonl"), all_stats).unwrap();
    }
}

/// Statistics of a numeric feature in an episode, without quantiles.
fn of_numbers(dataset: &Dataset, episode: u64, name: &str) -> Value {
    let series = dataset.series(episode, name).unwrap();
    let columns: Vec<Vec<f64>> = (0..series.width)
        .map(|i| {
            series
                .values
                .iter()
                .skip(i)
                .step_by(series.width)
                .copied()
                .collect()
        })
        .collect();
    let each = |f: &dyn Fn(&[f64]) -> f64| columns.iter().map(|c| f(c)).collect::<Vec<f64>>();
    let mean = |c: &[f64]| c.iter().sum::<f64>() / c.len() as f64;
    let deviation = |c: &[f64]| {
        let middle = mean(c);
        (c.iter().map(|v| (v - middle).powi(2)).sum::<f64>() / c.len() as f64).sqrt()
    };
    json!({
        "min": each(&|c| c.iter().copied().fold(f64::INFINITY, f64::min)),
        "max": each(&|c| c.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        "mean": each(&mean),
        "std": each(&deviation),
        "count": [series.len()],
    })
}

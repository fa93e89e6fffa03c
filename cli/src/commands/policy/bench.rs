//! `sinew policy bench`: how long a policy takes, from nothing and then again and again, beside the time
//! that it has.

use super::Stored;
use super::args::Bench;
use super::stand_in::{Still, features};
use crate::commands::dataset::text::{bytes, labelled};
use crate::failure::{check_seconds, usage};
use anyhow::Result;
use serde::Serialize;
use sinew_policies::Policy;
use std::time::{Duration, Instant};

/// Most inferences that are kept for the percentiles.
const MOST: usize = 1_000_000;

#[derive(Debug, Serialize)]
struct Report {
    policy: String,
    architecture: String,
    engine: &'static str,
    provider: String,
    precision: String,
    threads: usize,
    /// From the files to a policy that is ready, and its first chunk after that.
    load_ms: f64,
    first_ms: f64,
    inferences: usize,
    mean_us: f64,
    p50_us: f64,
    p95_us: f64,
    p99_us: f64,
    max_us: f64,
    /// Time of a step, and the time that the used steps of a chunk last.
    period_ms: f64,
    chunk_ms: f64,
    /// Share of the chunk's time that the slowest of a hundred inferences takes.
    p99_of_chunk: f64,
    /// Most memory of the process, before the policy was loaded and in the end.
    memory_before_bytes: Option<u64>,
    memory_peak_bytes: Option<u64>,
    files_bytes: u64,
}

/// Runs the command.
pub(super) fn bench(args: &Bench) -> Result<()> {
    check_seconds("--seconds", Some(args.seconds))?;
    let stored = Stored::open(&args.path)?;
    let (features, files_bytes) = (features(&stored)?, files_bytes(&stored));
    // The mapped files count as this process's memory when they are read, so not before the clock runs.
    drop(stored);
    let memory_before_bytes = peak_memory();
    let start = Instant::now();
    let mut policy = Policy::load(&args.path, args.computing.options(), features).map_err(usage)?;
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    let mut still = Still::new(&policy);
    let mut chunk = Vec::new();
    let mut infer = |policy: &mut Policy| -> Result<Duration> {
        let start = Instant::now();
        still.next(|input| policy.infer(input, &mut chunk))?;
        Ok(start.elapsed())
    };
    let first_ms = infer(&mut policy)?.as_secs_f64() * 1e3;
    // On a thread beside the policy; what is measured from here on has the machine to itself.
    policy.finish_check();
    let mut times = Vec::new();
    let start = Instant::now();
    while times.is_empty() || (start.elapsed().as_secs_f64() < args.seconds && times.len() < MOST) {
        times.push(infer(&mut policy)?.as_secs_f64() * 1e6);
    }
    let mean_us = times.iter().sum::<f64>() / times.len() as f64;
    times.sort_by(f64::total_cmp);
    let info = policy.info();
    let period_ms = 1e3 / info.rate_hz;
    let chunk_ms = period_ms * info.n_action_steps as f64;
    let p99_us = percentile(&times, 0.99);
    let report = Report {
        policy: info.name.clone(),
        architecture: info.architecture.clone(),
        engine: policy.engine_name(),
        provider: args.computing.provider.to_string(),
        precision: args.computing.precision.to_string(),
        threads: args.computing.threads,
        load_ms,
        first_ms,
        inferences: times.len(),
        mean_us,
        p50_us: percentile(&times, 0.5),
        p95_us: percentile(&times, 0.95),
        p99_us,
        max_us: percentile(&times, 1.0),
        period_ms,
        chunk_ms,
        p99_of_chunk: p99_us / 1e3 / chunk_ms,
        memory_before_bytes,
        memory_peak_bytes: peak_memory(),
        files_bytes,
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn files_bytes(stored: &Stored) -> u64 {
    match stored {
        Stored::Checkpoint(checkpoint) => checkpoint.weights.size(),
        Stored::Manifest(manifest, _) => {
            let folder = manifest.path.parent().unwrap_or(std::path::Path::new(""));
            let model = std::fs::metadata(folder.join(&manifest.model_file));
            model.map_or(0, |file| file.len())
        }
        Stored::Onnx(file) => std::fs::metadata(file).map_or(0, |file| file.len()),
    }
}

/// The smallest of sorted values that a share of them does not exceed.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let place = rank.clamp(1, sorted.len().max(1)) - 1;
    sorted.get(place).copied().unwrap_or(0.0)
}

/// Most memory that this process had so far, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn print(report: &Report) {
    let threads = match report.threads {
        0 => "threads as the engine likes".to_owned(),
        threads => format!("{threads} threads"),
    };
    labelled(
        "policy",
        &format!(
            "{} ({}) on {} ({}), {}, {threads}",
            report.policy, report.architecture, report.engine, report.provider, report.precision
        ),
    );
    labelled(
        "cold start",
        &format!(
            "{:.0} ms to load, {:.1} ms for the first chunk",
            report.load_ms, report.first_ms
        ),
    );
    labelled(
        "latency",
        &format!(
            "p50 {}, p95 {}, p99 {}, max {}, of {} chunks",
            time(report.p50_us),
            time(report.p95_us),
            time(report.p99_us),
            time(report.max_us),
            report.inferences
        ),
    );
    labelled(
        "budget",
        &format!(
            "a step lasts {:.1} ms and the used part of a chunk {:.1} ms: p99 takes {:.1} % of it",
            report.period_ms,
            report.chunk_ms,
            report.p99_of_chunk * 100.0
        ),
    );
    if let Some(peak) = report.memory_peak_bytes {
        let before = report.memory_before_bytes.unwrap_or(0);
        labelled(
            "memory",
            &format!(
                "{} at most, {} before the policy; its files have {}",
                bytes(peak),
                bytes(before),
                bytes(report.files_bytes)
            ),
        );
    }
}

fn time(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.1} µs"),
        us => format!("{:.2} ms", us / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        let shares = [0.5, 0.95, 0.99, 1.0].map(|share| percentile(&values, share));
        assert_eq!(shares, [100.0, 190.0, 198.0, 200.0]);
        assert_eq!(percentile(&[7.0], 0.01), 7.0);
    }

    #[test]
    fn the_peak_of_memory_is_known_on_linux() {
        assert!(peak_memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}

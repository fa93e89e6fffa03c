//! Sinew's side of the dataset benchmark (`benches/datasets/run`): reads what it is told on standard
//! input and answers with one JSON line each.
//!
//! `serve ROOT` keeps a reader open and understands `get I…` (single items by number),
//! `load START COUNT` and `shuffle SEED COUNT` (read ahead). `open ROOT` opens a dataset once and
//! tells the time and the process's peak of memory. `make ROOT EPISODES FRAMES` records a dataset,
//! `record ROOT SECONDS` an episode in real time.

mod record;
mod scene;

use sinew_datasets::{Dataset, Item, LoaderOptions, Order, Reader, ReaderOptions};
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [command, root] if command == "open" => open(Path::new(root)),
        [command, root] if command == "serve" => serve(Path::new(root)),
        [command, root, episodes, frames] if command == "make" => {
            record::make(Path::new(root), episodes.parse()?, frames.parse()?)
        }
        [command, root, seconds] if command == "record" => {
            record::paced(Path::new(root), seconds.parse()?)
        }
        _ => Err("usage: datasets open|serve|make|record ROOT [NUMBERS]".into()),
    }
}

fn open(root: &Path) -> Outcome<()> {
    let start = Instant::now();
    let dataset = Dataset::open(root)?;
    let seconds = start.elapsed().as_secs_f64();
    let answer = serde_json::json!({
        "episodes": dataset.episodes().len(),
        "seconds": seconds,
        "peak_mb": peak_mb()?,
    });
    println!("{answer}");
    Ok(())
}

/// The most memory that this process ever held, MB.
fn peak_mb() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB"));
    Ok(kib.ok_or("no VmHWM")?.trim().parse::<f64>()? * 1024.0 / 1e6)
}

fn serve(root: &Path) -> Outcome<()> {
    let dataset = Dataset::open(root)?;
    // lerobot keeps no pictures either.
    let options = ReaderOptions {
        picture_cache_bytes: 0,
        ..ReaderOptions::default()
    };
    let reader = dataset.reader(&options)?;
    consume(&reader.get(0)?);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let start = Instant::now();
        let frames = run(&reader, &words)?;
        let answer = serde_json::json!({
            "frames": frames,
            "seconds": start.elapsed().as_secs_f64(),
            "peak_mb": peak_mb()?,
        });
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Does one block and returns how many pictures were read.
fn run(reader: &Reader, words: &[&str]) -> Outcome<usize> {
    let Some((command, numbers)) = words.split_first() else {
        return Err("an empty line".into());
    };
    let numbers: Vec<u64> = numbers
        .iter()
        .map(|n| n.parse())
        .collect::<Result<_, _>>()?;
    let (order, start, count) = match (*command, &numbers[..]) {
        ("get", indices) => {
            let mut frames = 0;
            for index in indices {
                frames += consume(&reader.get(*index)?);
            }
            return Ok(frames);
        }
        ("load", [start, count]) => (Order::Sequential, *start, *count),
        ("shuffle", [seed, count]) => (
            Order::Shuffled {
                seed: *seed,
                epoch: 0,
            },
            0,
            *count,
        ),
        _ => return Err(format!("unknown command {command}").into()),
    };
    let options = LoaderOptions {
        order,
        start,
        threads: 2,
        ..LoaderOptions::default()
    };
    let mut frames = 0;
    for item in reader.load(&options)?.take(count as usize) {
        frames += consume(&item?);
    }
    Ok(frames)
}

/// Touches the item, and counts its pictures.
fn consume(item: &Item) -> usize {
    let pictures = item.values.iter().map(|(_, value)| value.images());
    pictures
        .flatten()
        .filter(|image| std::hint::black_box(image.byte_len()) > 0)
        .count()
}

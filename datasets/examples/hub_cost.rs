//! What a dataset on a hub costs: bytes, requests and time until it is open, until the first frame,
//! and for one episode, against downloading all of it first.
//!
//! Usage: `cargo run -p sinew-datasets --features gstreamer,remote --example hub_cost -- FOLDER [LATENCY_MS [MBIT_S]]`
//!
//! The hub is the tests' own, on this machine. Each answer waits for the latency, and each
//! connection brings at most so many Mbit/s.

#[path = "../tests/support/hub.rs"]
mod hub;

use hub::{COMMIT, TestHub};
use sinew_datasets::{Dataset, HubName, HubOptions, LoaderOptions, ReaderOptions};
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Counts what the hub was asked for since the last step.
struct Meter {
    hub: TestHub,
    begun: Instant,
}

impl Meter {
    fn step(&mut self, what: &str, whole: u64) {
        let log = self.hub.take_log();
        let bytes: u64 = log.iter().map(|asked| asked.sent).sum();
        println!(
            "{what:<44}{:>9}{:>14}{:>9.2} %{:>10.0} ms",
            log.len(),
            bytes,
            100.0 * bytes as f64 / whole as f64,
            self.begun.elapsed().as_secs_f64() * 1000.0
        );
        self.begun = Instant::now();
    }
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("which folder?")?;
    let folder = PathBuf::from(folder).canonicalize()?;
    let latency_ms = arguments.next().map_or(Ok(20), |a| a.parse())?;
    let mbit_s: Option<f64> = arguments.next().map(|a| a.parse()).transpose()?;
    let hub = TestHub::start();
    hub.serve("lab/set", &folder);
    hub.set_latency(Duration::from_millis(latency_ms));
    hub.set_speed(mbit_s.map(|m| m * 125_000.0));
    let cache = tempfile::tempdir()?;
    let options = HubOptions {
        endpoint: hub.endpoint.clone(),
        cache: cache.path().to_owned(),
        token: None,
        ..HubOptions::from_env()?
    };
    let whole = Dataset::open(&folder)?
        .files()?
        .iter()
        .map(|f| f.size)
        .sum();
    println!("{whole} bytes in all; {latency_ms} ms latency\n");
    println!(
        "{:<44}{:>9}{:>14}{:>11}{:>13}",
        "step", "requests", "bytes", "of all", "time"
    );
    let begun = Instant::now();
    let mut meter = Meter { hub, begun };
    let name: HubName = "hub://lab/set".parse()?;
    let dataset = Dataset::open_hub(&name, &options)?;
    meter.step("open, nothing cached", whole);
    let reader = dataset.reader(&ReaderOptions::default())?;
    let middle = dataset.len() / 2;
    reader.get(middle)?;
    meter.step("first frame (all features, middle)", whole);
    let episode = dataset.episode_of(middle)?.index;
    let load = LoaderOptions {
        episodes: Some(vec![episode]),
        ..LoaderOptions::default()
    };
    for item in reader.load(&load)? {
        item?;
    }
    meter.step(&format!("the rest of episode {episode}"), whole);
    drop(Dataset::open_hub(&name, &options)?);
    meter.step("open again", whole);
    download(&meter.hub, &options, &dataset)?;
    meter.step("download of all files, 8 at a time", whole);
    Ok(())
}

/// Fetches every file whole, as `hf download` does: a HEAD and a GET each.
fn download(hub: &TestHub, options: &HubOptions, dataset: &Dataset) -> Outcome<()> {
    let files = dataset.files()?;
    let next = std::sync::atomic::AtomicUsize::new(0);
    let agent = ureq::Agent::config_builder()
        .max_idle_connections_per_host(options.connections)
        .build()
        .new_agent();
    let work = || -> Result<(), ureq::Error> {
        while let Some(file) = files.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            let url = format!(
                "{}/datasets/lab/set/resolve/{COMMIT}/{}",
                hub.endpoint,
                file.path.display()
            );
            let mut body = agent.get(url).call()?.into_body().into_reader();
            std::io::copy(&mut body, &mut std::io::sink())?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.connections)
            .map(|_| {
                std::thread::Builder::new()
                    .name("download".into())
                    .spawn_scoped(scope, work)
            })
            .collect::<Result<_, _>>()?;
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })
}

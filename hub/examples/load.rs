//! Asks a server at a steady rate and says how long answers took, counted from when each request was due, whether
//! or not an earlier one had been answered: what people wait, not what the server admits.
//!
//! `load HOST:PORT REQUESTS_PER_S SECONDS TOKEN < paths`; a path a line, asked for in turn. One line of JSON comes back.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Requests that may be under way at once.
const CONNECTIONS: usize = 64;

type Failure = Box<dyn Error + Send + Sync>;

/// What every connection shares.
struct Plan {
    address: String,
    token: String,
    paths: Vec<String>,
    start: Instant,
    period: Duration,
    total: usize,
    next: AtomicUsize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let [address, rate, seconds, token] = arguments()?;
    let paths: Vec<String> = std::io::stdin().lines().collect::<Result<_, _>>()?;
    let (rate, seconds): (f64, f64) = (rate.parse()?, seconds.parse()?);
    let plan = Arc::new(Plan {
        address,
        token,
        paths,
        // Connections are made before the first request is due.
        start: Instant::now() + Duration::from_millis(500),
        period: Duration::from_secs_f64(1.0 / rate),
        total: (rate * seconds) as usize,
        next: AtomicUsize::new(0),
    });
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| tokio::spawn(work(Arc::clone(&plan))))
        .collect();
    let mut times = Vec::new();
    for worker in workers {
        times.extend(worker.await??);
    }
    times.sort();
    println!("{}", report(&times));
    Ok(())
}

fn arguments() -> Result<[String; 4], Failure> {
    let all: Vec<String> = std::env::args().skip(1).collect();
    all.try_into()
        .map_err(|_| "usage: load HOST:PORT REQUESTS_PER_S SECONDS TOKEN < paths".into())
}

/// Takes requests until none are left and returns how long each took.
async fn work(plan: Arc<Plan>) -> Result<Vec<Duration>, Failure> {
    let stream = TcpStream::connect(&plan.address).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(256 * 1024, stream);
    let mut times = Vec::new();
    loop {
        let number = plan.next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.total {
            return Ok(times);
        }
        let due = plan.start + plan.period * u32::try_from(number)?;
        tokio::time::sleep_until(due).await;
        let path = &plan.paths[number % plan.paths.len()];
        ask(&mut stream, &plan, path).await?;
        times.push(due.elapsed());
    }
}

async fn ask(stream: &mut BufReader<TcpStream>, plan: &Plan, path: &str) -> Result<(), Failure> {
    let Plan { address, token, .. } = plan;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    if line.split(' ').nth(1) != Some("200") {
        return Err(format!("{path}: {}", line.trim()).into());
    }
    let mut length = None;
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = Some(value.parse::<usize>()?);
            }
            Some(_) => {}
            None => break,
        }
    }
    let length = length.ok_or_else(|| format!("{path}: an answer without a length"))?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(())
}

fn report(times: &[Duration]) -> serde_json::Value {
    let ms = |at: f64| {
        let index = ((times.len() as f64 * at) as usize).min(times.len().saturating_sub(1));
        times
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    serde_json::json!({
        "requests": times.len(), "p50_ms": ms(0.5), "p90_ms": ms(0.9), "p99_ms": ms(0.99), "max_ms": ms(1.0),
    })
}

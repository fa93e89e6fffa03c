//! The Rust half of the bus benchmark; `benches/bus/clients.py` runs it beside its peers.
//!
//! ```text
//! bus emulator [--wire]   serves six servos, prints the port, until standard input closes
//! bus client PORT         for each line `run N` on standard input measures N cycles
//! ```
//!
//! A cycle is a sync read of six positions and a sync write of six goals. The answer to `run N`
//! is one JSON line: `{"ns": [each cycle], "cpu_us": of this process, "failed": cycles}`.

use sinew_drivers::emulator::{EmulatedChain, PtyOptions, PtyServer, ServoConfig, SharedChain};
use sinew_drivers::feetech::registers::{GOAL_POSITION, PRESENT_POSITION, RETURN_DELAY_TIME};
use sinew_drivers::feetech::{BusOptions, FeetechBus, Reply};
use sinew_runtime::{Clock, MonotonicClock};
use std::error::Error;
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

const IDS: [u8; 6] = [1, 2, 3, 4, 5, 6];
const BUDGET: Duration = Duration::from_millis(50);

fn emulator(wire_timing: bool) -> Result<(), Box<dyn Error>> {
    let config = |id| ServoConfig {
        eeprom: vec![(RETURN_DELAY_TIME, 0)],
        ..ServoConfig::new(id)
    };
    let chain = SharedChain::new(EmulatedChain::new(&IDS.map(config))?);
    let server = PtyServer::start(
        chain,
        &PtyOptions {
            wire_timing,
            ..PtyOptions::default()
        },
    )?;
    println!("{}", server.path().display());
    std::io::stdout().flush()?;
    for line in std::io::stdin().lock().lines() {
        line?;
    }
    Ok(())
}

fn client(port: &str) -> Result<(), Box<dyn Error>> {
    let mut bus = FeetechBus::open(port, BusOptions::default())?;
    println!("ready");
    std::io::stdout().flush()?;
    let mut replies = [Reply::default(); IDS.len()];
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let count = line
            .strip_prefix("run ")
            .ok_or("only `run N` is understood")?
            .parse()?;
        let mut times = Vec::with_capacity(count);
        let mut failed = 0;
        let cpu = cpu_us();
        for i in 0..count {
            let start = MonotonicClock.now();
            let answered = bus.sync_read(PRESENT_POSITION.addr, 2, &IDS, &mut replies, BUDGET)?;
            bus.sync_write(&GOAL_POSITION, &IDS, &[2048 + (i % 100) as i32; IDS.len()])?;
            times.push(MonotonicClock.now() - start);
            failed += usize::from(answered != IDS.len());
        }
        let cpu = cpu_us() - cpu;
        println!(
            "{}",
            serde_json::json!({ "ns": times, "cpu_us": cpu, "failed": failed })
        );
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// User and system time of this process so far, µs.
fn cpu_us() -> i64 {
    // SAFETY: rusage is plain data for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is writable.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    let micros = |t: libc::timeval| t.tv_sec * 1_000_000 + t.tv_usec;
    micros(usage.ru_utime) + micros(usage.ru_stime)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["emulator"] => emulator(false),
        ["emulator", "--wire"] => emulator(true),
        ["client", port] => client(port),
        _ => Err("usage: bus emulator [--wire] | bus client PORT".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

//! Measures how late a thread wakes for its deadlines, with the sleep, the deadlines and the set-up
//! that the device thread and the control loop use.
//!
//! `wake --hz 1000 --seconds 10 [--fifo] [--cpu N]` prints one line of JSON, times in µs. Compare it with
//! `cyclictest`; `benches/loop.sh` does.

use sinew_runtime::histogram::LatencyHistogram;
use sinew_runtime::pace::{Pace, nanos, period_of};
use sinew_runtime::rt::{RtRequest, apply};
use sinew_runtime::{Clock, MonotonicClock};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: wake --hz 1000 --seconds 10 [--fifo] [--cpu N]";

struct Options {
    period: Duration,
    length: Duration,
    rt: RtRequest,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let (mut hz, mut seconds, mut rt) = (1000.0, 10.0, RtRequest::NONE);
    let mut cpu = None;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--hz" => hz = arguments.next()?.parse().ok()?,
            "--seconds" => seconds = arguments.next()?.parse().ok()?,
            "--cpu" => cpu = Some(arguments.next()?.parse().ok()?),
            "--fifo" => rt = RtRequest::DEVICE,
            _ => return None,
        }
    }
    let length = Duration::try_from_secs_f64(seconds).ok()?;
    Some(Options {
        period: period_of(hz)?,
        length,
        rt: RtRequest { cpu, ..rt },
    })
}

fn measure(options: &Options) -> (LatencyHistogram, Pace) {
    let clock = MonotonicClock;
    let mut pace = Pace::new(options.period, 0);
    let mut wake_error = LatencyHistogram::new();
    pace.align(clock.now(), Duration::ZERO);
    let end = clock.now().saturating_add(nanos(options.length));
    while pace.deadline() < end {
        clock.sleep_until(pace.deadline());
        wake_error.record(pace.arrive(clock.now()).wake_error_ns);
    }
    (wake_error, pace)
}

fn main() -> ExitCode {
    let Some(options) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let (rt, _guard) = apply(&options.rt);
    eprintln!("{rt}");
    let (wake_error, pace) = measure(&options);
    let (s, counters) = (wake_error.summary(), pace.counters());
    println!(
        r#"{{"count":{},"mean_us":{:.2},"p50_us":{:.2},"p99_us":{:.2},"max_us":{:.2},"late":{},"skipped":{}}}"#,
        s.count, s.mean_us, s.p50_us, s.p99_us, s.max_us, counters.late, counters.skipped
    );
    ExitCode::SUCCESS
}

//! Reports for people: a few lines with the figures that matter.

use crate::session::SessionReport;
use sinew_runtime::histogram::Summary;
use std::fmt::Write;

/// Prints a session's report: as JSON, or as a short table.
pub(crate) fn print(report: &SessionReport, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        print!("{}", table(report));
    }
    Ok(())
}

/// Loop rate, errors and ages, and everything that was dropped, late or missed.
pub(crate) fn table(report: &SessionReport) -> String {
    let mut text = String::new();
    let (control, device) = (&report.control, &report.device);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{:<24}{:>10}{:>10}{:>10}", "", "p50", "p99", "max");
    let period = control.stats.period;
    let _ = writeln!(
        text,
        "{:<24}{:>10}",
        "loop rate",
        format!("{:.1} Hz", rate(&period))
    );
    row(&mut text, "loop wake-up error", &control.stats.wake_error);
    row(&mut text, "loop work", &control.stats.work);
    row(&mut text, "observation age", &control.stats.observation_age);
    let _ = writeln!(
        text,
        "{:<24}{:>10}",
        "bus rate",
        format!("{:.1} Hz", rate(&device.stats.period))
    );
    row(&mut text, "bus wake-up error", &device.stats.wake_error);
    row(&mut text, "bus cycle", &device.stats.work);
    if let Some(inference) = &report.inference {
        row(&mut text, "inference", &inference.latency);
    }
    let _ = writeln!(text, "misses: {}", misses(report));
    let _ = writeln!(text, "at the end: {}", device.left);
    text
}

/// What went wrong, in counts; zeros are left out.
pub(crate) fn misses(report: &SessionReport) -> String {
    let (control, device) = (&report.control.counters, &report.device.counters);
    let queue = control.queue.unwrap_or_default();
    let counts = [
        ("late ticks", control.pace.late),
        ("skipped ticks", control.pace.skipped),
        ("stale states", control.stale_state),
        ("stale frames", control.stale_frame),
        ("starved ticks", control.starved),
        ("ticks held for inference", queue.held),
        ("chunks too late", queue.overruns),
        ("policy not asked for want of a picture", queue.stale),
        ("records dropped", control.dropped),
        ("late bus cycles", device.pace.late),
        ("skipped bus cycles", device.pace.skipped),
        ("bus time-outs", device.bus_timeouts),
        ("joint time-outs", device.joint_timeouts.iter().sum()),
        ("joint replies corrupt", device.joint_corrupt.iter().sum()),
        ("write failures", device.write_failures),
        ("servo alarms", device.safety.alarms.iter().sum()),
        (
            "targets limited",
            device.safety.position_limited
                + device.safety.velocity_limited
                + device.safety.step_limited,
        ),
    ];
    let seen: Vec<String> = counts
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(what, n)| format!("{what} {n}"))
        .collect();
    if seen.is_empty() {
        "none".to_owned()
    } else {
        seen.join(", ")
    }
}

/// Ticks a second of a loop with these periods.
pub(crate) fn rate(period: &Summary) -> f64 {
    if period.mean_us > 0.0 {
        1e6 / period.mean_us
    } else {
        0.0
    }
}

fn row(text: &mut String, label: &str, summary: &Summary) {
    let _ = writeln!(
        text,
        "{label:<24}{:>10}{:>10}{:>10}",
        time(summary.p50_us),
        time(summary.p99_us),
        time(summary.max_us)
    );
}

/// A duration with the unit that fits.
pub(crate) fn time(us: f64) -> String {
    if us >= 10_000.0 {
        format!("{:.1} ms", us / 1000.0)
    } else {
        format!("{us:.0} µs")
    }
}

//! `sinew bench`: figures of this machine.

use crate::args::{BenchWhat, RobotArgs};
use crate::commands::teleop::stop_token;
use crate::failure::usage;
use crate::report;
use crate::session::{Rates, Rig, Setup, feetech_baud};
use crate::world::World;
use anyhow::Result;
use sinew_drivers::emulator::{
    EmulatedChain, InertialPlant, PlantThread, PtyOptions, PtyServer, SharedChain,
};
use sinew_drivers::feetech::bus::wire_time_us;
use sinew_drivers::feetech::robot::ReadMode;
use sinew_runtime::control::{ActionOutcome, Observation};
use sinew_runtime::histogram::LatencyHistogram;
use sinew_runtime::stop::StopCause;
use sinew_runtime::{Clock, JointState, JointTarget, MonotonicClock, Robot};
use std::time::Duration;

/// Runs the benchmark.
pub(crate) fn bench(what: &BenchWhat) -> Result<()> {
    match what {
        BenchWhat::Loop {
            rate,
            seconds,
            json,
        } => bench_loop(*rate, *seconds, *json),
        BenchWhat::Bus {
            robot,
            emulated,
            cycles,
            json,
        } => bench_bus(robot, *emulated, *cycles, *json),
    }
}

/// An emulated SO-101 and its port; the threads end when this is dropped.
struct Emulated {
    server: PtyServer,
    _plant: PlantThread,
}

fn emulated(wire_timing: bool) -> Result<Emulated> {
    let chain = SharedChain::new(EmulatedChain::new(
        &Rig::load(&arguments(""))?.emulated_servos(),
    )?);
    let _plant = PlantThread::start(
        chain.clone(),
        InertialPlant::default(),
        Duration::from_millis(2),
    )?;
    let server = PtyServer::start(
        chain,
        &PtyOptions {
            wire_timing,
            ..PtyOptions::default()
        },
    )?;
    Ok(Emulated { server, _plant })
}

fn arguments(port: &str) -> RobotArgs {
    RobotArgs {
        robot: "so101".to_owned(),
        port: Some(port.to_owned()),
        calibration: None,
        bus_rate: 200.0,
        sim: None,
    }
}

fn bench_loop(rate: f64, seconds: f64, json: bool) -> Result<()> {
    if !(0.1..=3600.0).contains(&seconds) {
        return Err(usage(format!("--seconds {seconds}: choose 0.1 to 3600")));
    }
    let stop = stop_token()?;
    let emulated = emulated(false)?;
    let args = arguments(&emulated.server.path().to_string_lossy());
    let rig = Rig::load(&args)?;
    let robot = rig.connect(&args)?;
    let setup = Setup::new(
        rig,
        robot,
        Rates {
            bus_hz: rate,
            loop_hz: rate,
        },
        stop.clone(),
    )?;
    // Sends each joint where it is: the whole path runs, nothing moves.
    let echo = |observation: &Observation, target: &mut JointTarget| {
        target.len = observation.state.len;
        target.position = observation.state.position;
        ActionOutcome::Act
    };
    let session = setup.start(Box::new(echo), &World::Real)?;
    stop.wait(Duration::from_secs_f64(seconds));
    stop.request_immediate(StopCause::Finished);
    report::print(&session.join()?, json)
}

fn bench_bus(args: &RobotArgs, on_emulator: bool, cycles: u32, json: bool) -> Result<()> {
    let emulator = if on_emulator {
        Some(emulated(true)?)
    } else {
        None
    };
    let args = match &emulator {
        Some(e) => arguments(&e.server.path().to_string_lossy()),
        None => args.clone(),
    };
    let rig = Rig::load(&args)?;
    let baud = feetech_baud(&rig.blueprint)?;
    let mut robot = rig.connect_feetech(&args)?;
    let (mut state, clock) = (JointState::default(), MonotonicClock);
    robot.read(&mut state).map_err(|e| usage(e.to_string()))?;
    robot.set_torque(true)?;
    let mut latency = LatencyHistogram::new();
    for seq in 1..=u64::from(cycles) {
        let start = clock.now();
        robot.read(&mut state)?;
        let target = JointTarget {
            seq,
            issued_ns: start,
            len: state.len,
            position: state.position,
        };
        robot.write(&target)?;
        latency.record(clock.now() - start);
    }
    robot.set_torque(false)?;
    let (summary, stats) = (latency.summary(), robot.stats());
    let floor = wire_time_us(
        rig.names.len(),
        usize::from(ReadMode::Full.bytes()),
        2,
        baud,
    );
    if json {
        println!(
            "{}",
            serde_json::json!({ "cycle": summary, "wire_floor_us": floor, "time_outs": stats.timeouts,
                "retries": stats.retries, "corrupt": stats.corrupt })
        );
        return Ok(());
    }
    println!(
        "cycle (read position, velocity, load; write goal): p50 {:.0} µs, p99 {:.0} µs, max {:.0} µs",
        summary.p50_us, summary.p99_us, summary.max_us
    );
    println!(
        "wire floor {floor:.0} µs: efficiency {:.0} %",
        100.0 * floor / summary.p50_us
    );
    println!(
        "time-outs {}, retries {}, damaged {}",
        stats.timeouts, stats.retries, stats.corrupt
    );
    Ok(())
}

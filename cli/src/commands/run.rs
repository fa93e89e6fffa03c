//! `sinew run`: a policy drives.

use super::teleop::{begin_episode, interrupted, open, stop_token};
use crate::args::Run;
use crate::failure::check_seconds;
use crate::keyboard;
use crate::monitor::{self, Monitor};
use crate::player::load_policy;
use crate::report;
use crate::session::{Rates, SessionReport, Setup};
use crate::world::World;
use anyhow::Result;
use sinew_runtime::actions::Strategy;
use sinew_runtime::stop::{StopCause, StopToken};
use std::time::{Duration, Instant};

/// The loop gives up when the policy has been silent for this long.
const PATIENCE_S: f64 = 3.0;
/// The task counts as done once it has been so for this long.
const DONE_FOR: Duration = Duration::from_millis(500);

/// What a policy run did.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Ran {
    pub(crate) policy: String,
    pub(crate) engine: &'static str,
    /// How its chunks were played.
    pub(crate) strategy: Strategy,
    /// Whether the simulated task was done; absent on a real robot.
    pub(crate) success: Option<bool>,
    pub(crate) seconds: f64,
    /// From the start of the program to the first target that was sent, s.
    pub(crate) first_action_s: Option<f64>,
    pub(crate) session: SessionReport,
}

/// Runs the command.
pub(crate) fn run(args: &Run) -> Result<()> {
    let stop = stop_token()?;
    let ran = drive(args, None, stop.clone())?;
    if args.output.json {
        println!("{}", serde_json::to_string_pretty(&ran)?);
    } else {
        print!("{}", report::table(&ran.session));
        if let Some(seconds) = ran.first_action_s {
            println!("first action {seconds:.2} s after the program started");
        }
        if let Some(success) = ran.success {
            println!(
                "{} on {}: {} after {:.1} s",
                ran.policy,
                ran.engine,
                if success { "success" } else { "not done" },
                ran.seconds
            );
        }
    }
    interrupted(stop.cause())
}

/// Drives, in the given world or the one that the arguments name.
pub(crate) fn drive(args: &Run, world: Option<World>, stop: StopToken) -> Result<Ran> {
    check_seconds("--seconds", args.seconds)?;
    let (rig, world, robot) = open(&args.robot, world)?;
    let options = args.computing.options();
    let policy = load_policy(&args.policy, options, &args.strategy, &rig, &world)?;
    begin_episode(&world, args.seed)?;
    let (name, engine, rate) = (policy.name.clone(), policy.engine, policy.rate_hz);
    let strategy = policy.strategy;
    let rates = Rates {
        bus_hz: args.robot.bus_rate,
        loop_hz: rate,
    };
    let mut setup = Setup::new(rig.clone(), robot, rates, stop.clone())?;
    setup.give_up_after((PATIENCE_S * rate) as u32);
    let wanted = monitor::prepare(&mut setup, &rig, &world, &args.output)?;
    let (inference, source) = policy.start(&world, stop.clone())?;
    let mut session = setup.start(Box::new(source), &world)?;
    session.set_inference(inference);
    let monitor = Monitor::start(
        &mut session,
        wanted,
        &format!("{} · {name}", rig.blueprint.title),
        keyboard::WATCHING,
    )?;
    monitor.phase(
        &format!("{name} at {rate} Hz on {engine}, {strategy}"),
        None,
    );
    let start = Instant::now();
    let success = watch(args, &world, &stop, start, || {
        monitor.serve_estop(&session.estop);
    });
    let seconds = start.elapsed().as_secs_f64();
    let report = session.join();
    monitor.finish();
    let report = report?;
    let first_ns = report.control.counters.first_target_ns;
    Ok(Ran {
        policy: name,
        engine,
        strategy,
        success: success?,
        seconds,
        first_action_s: first_ns.map(|ns| ns.saturating_sub(crate::started_ns()) as f64 / 1e9),
        session: report,
    })
}

/// Waits for success, the end of the time, or whatever else ends the run.
fn watch(
    args: &Run,
    world: &World,
    stop: &StopToken,
    start: Instant,
    serve_keys: impl Fn(),
) -> Result<Option<bool>> {
    let mut done_since: Option<Instant> = None;
    let mut success = None;
    while !stop.is_set() {
        serve_keys();
        let done = match is_done(world) {
            Ok(done) => done,
            Err(error) => {
                stop.request(StopCause::Requested);
                return Err(error);
            }
        };
        success = done;
        done_since = done
            .unwrap_or(false)
            .then(|| done_since.unwrap_or_else(Instant::now));
        let finished =
            args.seed.is_some() && done_since.is_some_and(|since| since.elapsed() >= DONE_FOR);
        let over = args
            .seconds
            .is_some_and(|seconds| start.elapsed().as_secs_f64() >= seconds);
        if finished || over {
            stop.request(StopCause::Finished);
        }
        stop.wait(Duration::from_millis(20));
    }
    Ok(success)
}

fn is_done(world: &World) -> Result<Option<bool>> {
    #[cfg(feature = "sim")]
    if let Some(task) = world.task_state()? {
        return Ok(Some(task.success));
    }
    let _ = world;
    Ok(None)
}

//! `sinew replay`: a recorded episode's actions, through the driver again.

use super::teleop::{begin_episode, interrupted, open, stop_token};
use crate::args::Replay;
use crate::failure::usage;
use crate::keyboard;
use crate::monitor::{self, Monitor};
use crate::report;
use crate::session::{Rates, Rig, SessionReport, Setup};
use crate::source::Replayed;
use crate::world::World;
use anyhow::Result;
use sinew_datasets::Dataset;
use sinew_runtime::stop::StopToken;
use std::time::Duration;

/// Runs the command.
pub(crate) fn replay(args: &Replay) -> Result<()> {
    let stop = stop_token()?;
    let report = run(args, None, stop.clone())?;
    report::print(&report, args.output.json)?;
    interrupted(stop.cause())
}

/// Replays, in the given world or the one that the arguments name.
pub(crate) fn run(args: &Replay, world: Option<World>, stop: StopToken) -> Result<SessionReport> {
    let dataset = crate::hub::dataset(&args.dataset)?;
    let (rig, world, robot) = open(&args.robot, world)?;
    let rows = rows(&dataset, args.episode, &rig)?;
    begin_episode(&world, args.seed)?;
    let fps = f64::from(dataset.info().fps);
    let (ticks, title) = (
        rows.len(),
        format!(
            "{} · replay of episode {}",
            rig.blueprint.title, args.episode
        ),
    );
    let rates = Rates {
        bus_hz: args.robot.bus_rate,
        loop_hz: fps,
    };
    let mut setup = Setup::new(rig.clone(), robot, rates, stop.clone())?;
    let wanted = monitor::prepare(&mut setup, &rig, &world, &args.output)?;
    let mut session = setup.start(Box::new(Replayed::new(rows, 1.0 / fps)), &world)?;
    let monitor = Monitor::start(&mut session, wanted, &title, keyboard::WATCHING)?;
    monitor.phase(&format!("replaying {ticks} rows at {fps} Hz"), None);
    while !stop.is_set() {
        monitor.serve_estop(&session.estop);
        stop.wait(Duration::from_millis(20));
    }
    let report = session.join();
    monitor.finish();
    report
}

/// An episode's actions as goals in rad, blueprint order; columns are bound by name.
fn rows(dataset: &Dataset, episode: u64, rig: &Rig) -> Result<Vec<Vec<f64>>> {
    let actions = dataset.actions(episode).map_err(usage)?;
    if actions.is_empty() {
        return Err(usage(format!("episode {episode} has no rows")));
    }
    let names = &actions.names;
    if names.is_empty() {
        return Err(usage(
            "the dataset does not name its actions; they cannot be bound to joints",
        ));
    }
    let column = |wanted: &String| -> Result<usize> {
        names.iter().position(|name| name == wanted).ok_or_else(|| {
            usage(format!(
                "the dataset has no action {wanted}, which {} needs; it has {}",
                rig.blueprint.name,
                names.join(", ")
            ))
        })
    };
    let columns: Vec<usize> = rig
        .units
        .names()
        .iter()
        .map(column)
        .collect::<Result<_>>()?;
    let goals = |row: &[f64]| -> Vec<f64> {
        let joints = rig.units.joints().iter().zip(&columns);
        joints
            .map(|(units, column)| units.from_lerobot(row[*column]))
            .collect::<Vec<f64>>()
    };
    let rows: Vec<Vec<f64>> = (0..actions.len())
        .filter_map(|index| actions.row(index).map(goals))
        .collect();
    Ok(rows)
}

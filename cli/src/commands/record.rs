//! `sinew record`: episodes into a LeRobot dataset.

use super::teleop::{Driver, interrupted, open, stop_token};
use crate::args::Record;
use crate::failure::{check_seconds, usage};
use crate::hub::Destination;
use crate::monitor::{self, Monitor};
use crate::recording::{self, Counts};
use crate::report;
use crate::session::{Rates, Session, SessionReport, Setup};
use crate::world::World;
use anyhow::{Context, Result};
use sinew_datasets::{
    DatasetSpec, Error, RecordOptions, Recorder, RecorderThread, RepairOptions, SavedEpisode,
    repair,
};
use sinew_drivers::teleop::EpisodeCommand;
use sinew_runtime::stop::{StopCause, StopToken};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Rows that wait for the recorder at most: seconds of a stuck disk.
const RING_ROWS: usize = 300;
/// Time that the scripted operator may take to be ready for the next episode.
const SETTLE: Duration = Duration::from_millis(300);

/// One recorded episode.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct EpisodeResult {
    pub(crate) index: u64,
    pub(crate) tasks: Vec<String>,
    pub(crate) seed: Option<u64>,
    pub(crate) frames: u64,
    pub(crate) seconds: f64,
    /// Whether the simulated task was done at the end; absent on a real robot.
    pub(crate) success: Option<bool>,
    pub(crate) dropped_rows: u64,
    /// Why it ended before it was to end: a full disk, a lost camera, a failed encoder.
    pub(crate) ended_early: Option<String>,
    pub(crate) saved_in_ms: f64,
}

/// What a recording made.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Recorded {
    pub(crate) dataset: std::path::PathBuf,
    /// Which encoder was chosen and why.
    pub(crate) video: Option<String>,
    pub(crate) episodes: Vec<EpisodeResult>,
    pub(crate) incomplete_ticks: u64,
    pub(crate) session: SessionReport,
    #[serde(skip)]
    pub(crate) cause: Option<StopCause>,
}

/// Runs the command.
pub(crate) fn record(args: &Record) -> Result<()> {
    let stop = stop_token()?;
    let destination = args.push.as_deref().map(Destination::check).transpose()?;
    if args.lockstep.lockstep {
        lockstep(args, &stop)?;
    } else {
        record_live(args, stop)?;
    }
    match destination {
        Some(destination) => destination.push(&args.dataset),
        None => Ok(()),
    }
}

/// Runs the command in real time.
fn record_live(args: &Record, stop: StopToken) -> Result<()> {
    let recorded = run(args, None, stop)?;
    if args.output.json {
        println!("{}", serde_json::to_string_pretty(&recorded)?);
    } else {
        print_episodes(&recorded.episodes);
        print!("{}", report::table(&recorded.session));
        println!("dataset: {}", recorded.dataset.display());
    }
    interrupted(recorded.cause)
}

/// Runs the command in lockstep.
#[cfg(feature = "sim")]
fn lockstep(args: &Record, stop: &StopToken) -> Result<()> {
    super::record_lockstep::record(args, stop)
}

/// Runs the command in lockstep.
#[cfg(not(feature = "sim"))]
fn lockstep(_args: &Record, _stop: &StopToken) -> Result<()> {
    Err(usage(
        "this sinew was built without simulation; build it with `--features sim`",
    ))
}

/// One line an episode.
pub(crate) fn print_episodes(episodes: &[EpisodeResult]) {
    for episode in episodes {
        let outcome = match episode.success {
            Some(true) => "success",
            Some(false) => "FAILED",
            None => "recorded",
        };
        println!(
            "episode {}: {outcome}, {} frames, {:.1} s, {} dropped, saved in {:.0} ms",
            episode.index,
            episode.frames,
            episode.seconds,
            episode.dropped_rows,
            episode.saved_in_ms
        );
        if let Some(reason) = &episode.ended_early {
            println!("episode {} ended early: {reason}", episode.index);
        }
    }
}

/// Records, in the given world or the one that the arguments name.
pub(crate) fn run(args: &Record, world: Option<World>, stop: StopToken) -> Result<Recorded> {
    if args.fps == 0 || args.episodes == 0 {
        return Err(usage("--fps and --episodes must be at least 1"));
    }
    check_seconds("--episode-time", Some(args.episode_time))?;
    check_seconds("--reset-time", Some(args.reset_time))?;
    if !(0.0..=3600.0).contains(&args.camera_timeout) {
        return Err(usage("--camera-timeout must be 0 to 3600 seconds"));
    }
    monitor::check_keyboard(args.teleop, &args.output)?;
    let (rig, world, robot) = open(&args.robot, world)?;
    let rates = Rates {
        bus_hz: args.robot.bus_rate,
        loop_hz: f64::from(args.fps),
    };
    let mut setup = Setup::new(rig.clone(), robot, rates, stop.clone())?;
    let (driver, source) = Driver::new(
        args.teleop,
        f64::from(args.fps),
        &mut setup,
        &rig,
        &world,
        &args.output,
    )?;
    setup.add_sink();
    let sent = setup.sent_targets();
    let wanted = monitor::prepare(&mut setup, &rig, &world, &args.output)?;
    // Last, so that a mistake in anything else leaves no half-made dataset behind, which would be
    // in the way of the corrected command.
    let (spec, options) = (
        recording::spec(&rig, &world, args),
        recording::options(args),
    );
    let recorder = if args.resume && args.dataset.join("meta/info.json").exists() {
        resume(&args.dataset, &spec, options)?
    } else {
        Recorder::create_with(&args.dataset, &spec, options).map_err(usage)?
    };
    let video = recording::video_line(&recorder);
    if let Some(line) = &video {
        eprintln!("{line}");
    }
    let (recorder, rows) = RecorderThread::spawn(recorder, RING_ROWS)?;
    let mut session = setup.start(source, &world)?;
    let monitor = Monitor::start(
        &mut session,
        wanted,
        &format!("{} · record", rig.blueprint.title),
        &crate::keyboard::help(&rig),
    )?;
    let (counts, forwarder) = recording::forward(&rig, session.take_sink()?, sent, rows)?;
    let mut takes = Takes {
        args,
        world: &world,
        driver: &driver,
        session: &session,
        monitor: &monitor,
        recorder: &recorder,
        stop: &stop,
    };
    let outcome = takes.record_all();
    stop.request(StopCause::Finished);
    let report = session.join();
    monitor.finish();
    // It ends with the session's rings.
    let _ = forwarder.join();
    let finished = recorder.finish();
    let operator = driver.finish();
    let session = report?;
    operator?;
    let (episodes, cause) = (outcome?, stop.cause());
    finished?;
    Ok(Recorded {
        dataset: args.dataset.clone(),
        video,
        episodes,
        incomplete_ticks: incomplete(&counts),
        session,
        cause,
    })
}

/// Goes on with a dataset. What a crashed session was recording becomes an episode of its own, which
/// is said, and marked in the dataset: it can be deleted, whereas what was thrown away is gone.
pub(super) fn resume(
    root: &std::path::Path,
    spec: &DatasetSpec,
    options: RecordOptions,
) -> Result<Recorder> {
    match Recorder::resume_with(root, spec, options) {
        Err(Error::Unrepaired { .. }) => {
            let report = repair(root, RepairOptions::default())?;
            for episode in report.completed.iter().chain(&report.recovered) {
                eprintln!(
                    "recovered episode {} of a session that crashed: {} rows, task \"{}\"",
                    episode.episode, episode.rows, episode.task
                );
            }
            Recorder::resume_with(root, spec, options).map_err(usage)
        }
        other => other.map_err(usage),
    }
}

fn incomplete(counts: &Arc<Counts>) -> u64 {
    counts.incomplete.load(Ordering::Relaxed)
}

/// How a take ended.
enum TakeEnd {
    Keep,
    Redo,
    Quit,
}

/// The takes of one recording.
struct Takes<'a> {
    args: &'a Record,
    world: &'a World,
    driver: &'a Driver,
    session: &'a Session,
    monitor: &'a Monitor,
    recorder: &'a RecorderThread,
    stop: &'a StopToken,
}

impl Takes<'_> {
    fn record_all(&mut self) -> Result<Vec<EpisodeResult>> {
        let mut episodes = Vec::new();
        let mut seed = self.args.seed;
        while (episodes.len() as u64) < self.args.episodes && !self.stop.is_set() {
            let number = episodes.len() as u64 + 1;
            self.prepare(seed, number)?;
            if self.stop.is_set() {
                break;
            }
            let task = (number - 1) as usize;
            self.recorder.start_episode(self.task(task))?;
            let end = self.take(number, task)?;
            match end {
                TakeEnd::Redo => self.recorder.discard_episode()?,
                TakeEnd::Quit if self.stop.cause() != Some(StopCause::Requested) => {
                    self.recorder.discard_episode()?;
                }
                TakeEnd::Keep | TakeEnd::Quit => {
                    episodes.push(self.save(seed, number)?);
                    seed += 1;
                }
            }
            if matches!(end, TakeEnd::Quit) {
                break;
            }
        }
        Ok(episodes)
    }

    /// Puts the world in order for the next take.
    fn prepare(&self, seed: u64, number: u64) -> Result<()> {
        self.monitor.phase(
            &format!("episode {number} of {}: getting ready", self.args.episodes),
            None,
        );
        if self.world.is_simulated() {
            self.world.reset(seed)?;
        } else if number > 1 {
            self.pause(Duration::from_secs_f64(
                self.args.reset_time.clamp(0.0, 3600.0),
            ));
        }
        if let Some(operator) = &self.driver.operator {
            operator.restart();
            self.pause(SETTLE);
        }
        Ok(())
    }

    fn pause(&self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time && !self.stop.is_set() {
            if self.driver.serve(self.monitor, self.session).is_some() {
                return;
            }
            self.stop.wait(Duration::from_millis(10));
        }
    }

    /// The `number`-th task, from 0; after the last comes the first again.
    fn task(&self, number: usize) -> &str {
        let tasks = &self.args.task;
        tasks
            .get(number % tasks.len().max(1))
            .map_or("", String::as_str)
    }

    fn take(&self, number: u64, mut task: usize) -> Result<TakeEnd> {
        let phase = |task: usize| {
            format!(
                "episode {number} of {}: {}",
                self.args.episodes,
                self.task(task)
            )
        };
        let (start, longest) = (Instant::now(), self.args.episode_time);
        loop {
            let elapsed = start.elapsed().as_secs_f64();
            self.monitor.phase(&phase(task), Some(elapsed / longest));
            match self.driver.serve(self.monitor, self.session) {
                Some(EpisodeCommand::Next) => return Ok(TakeEnd::Keep),
                Some(EpisodeCommand::Redo) => return Ok(TakeEnd::Redo),
                Some(EpisodeCommand::Quit) => {
                    self.stop.request(StopCause::Requested);
                    return Ok(TakeEnd::Quit);
                }
                Some(EpisodeCommand::NextTask) => {
                    task += 1;
                    self.recorder.set_task(self.task(task))?;
                }
                None => {}
            }
            if self.stop.is_set() {
                return Ok(TakeEnd::Quit);
            }
            if elapsed >= longest
                || self.recorder.ended_early().is_some()
                || self
                    .driver
                    .operator
                    .as_ref()
                    .is_some_and(|operator| operator.is_done())
            {
                return Ok(TakeEnd::Keep);
            }
            self.stop.wait(Duration::from_millis(10));
        }
    }

    fn save(&self, seed: u64, number: u64) -> Result<EpisodeResult> {
        let success = self.success()?;
        let start = Instant::now();
        let SavedEpisode {
            summary,
            dropped_rows,
        } = self
            .recorder
            .save_episode()
            .with_context(|| format!("episode {number} was not saved"))?;
        Ok(EpisodeResult {
            index: summary.episode,
            tasks: summary.tasks,
            seed: self.world.is_simulated().then_some(seed),
            frames: summary.rows,
            seconds: summary.duration_s,
            success,
            dropped_rows,
            ended_early: summary.ended_early,
            saved_in_ms: start.elapsed().as_secs_f64() * 1e3,
        })
    }

    fn success(&self) -> Result<Option<bool>> {
        #[cfg(feature = "sim")]
        if let Some(task) = self.world.task_state()? {
            return Ok(Some(task.success));
        }
        Ok(None)
    }
}

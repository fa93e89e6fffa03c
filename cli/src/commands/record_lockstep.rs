//! `sinew record --lockstep`: demonstrations of the scripted operator, faster than real time.
//!
//! No bus, no threads, no clock: the world of this process waits for the operator, the renderer and
//! the recorder in turn. The same arguments give the same rows.

use super::record::{EpisodeResult, print_episodes};
use super::record_take_over::Beginner;
use crate::args::{Operator, Record};
use crate::failure::{check_seconds, usage};
use crate::recording;
use crate::session::Rig;
use anyhow::{Result, anyhow};
use sinew_datasets::{ExtraValue, Recorder, Row};
use sinew_runtime::stop::StopToken;
use sinew_sim::pick::{DOF, Disturbance, LockstepPick, Observation, ROBOT, ScriptedPick, WORLD};
use std::time::Instant;

/// Rows recorded after the operator is done, s, so that a policy learns to stay at home.
const TAIL_S: f64 = 0.5;
/// So many episodes in a row that fail mean that more would, too.
const MOST_FAILURES: u64 = 50;
/// What can be disturbed, rad: more than this is no noise.
const MOST_NOISE: f64 = 0.5;

/// What a recording made.
#[derive(Debug, serde::Serialize)]
struct Recorded {
    dataset: std::path::PathBuf,
    video: Option<String>,
    episodes: Vec<EpisodeResult>,
    /// Seeds whose episodes failed, so that they are not in the dataset.
    unsolved: Vec<u64>,
    simulated_s: f64,
    wall_s: f64,
}

/// Runs the command.
pub(super) fn record(args: &Record, stop: &StopToken) -> Result<()> {
    check(args)?;
    let rig = Rig::load(&args.robot)?;
    let beginner = args.lockstep.take_over.as_deref();
    let beginner = beginner.map(|folder| Beginner::new(folder, &rig, args.fps));
    let beginner = beginner.transpose()?;
    let start = Instant::now();
    let mut world = LockstepPick::new(args.seed, Some(args.lockstep.camera_size)).map_err(usage)?;
    let cameras = world.cameras();
    let cameras = cameras.iter().map(|c| (c.name.as_str(), c.width, c.height));
    let spec = recording::spec_of(&rig, &cameras.collect::<Vec<_>>(), args);
    let options = recording::options(args);
    let recorder = if args.resume && args.dataset.join("meta/info.json").exists() {
        super::record::resume(&args.dataset, &spec, options)?
    } else {
        Recorder::create_with(&args.dataset, &spec, options).map_err(usage)?
    };
    let mut takes = Takes {
        args,
        beginner,
        rig: &rig,
        operator: ScriptedPick::new(world.task())?,
        world: &mut world,
        video: recording::video_line(&recorder),
        recorder,
        episodes: Vec::new(),
        unsolved: Vec::new(),
    };
    takes.record_all(stop)?;
    let recorded = takes.finish(start)?;
    if args.output.json {
        println!("{}", serde_json::to_string_pretty(&recorded)?);
    } else {
        print_episodes(&recorded.episodes);
        println!(
            "{} episodes, {} not solved and left out; {:.0} s simulated in {:.0} s",
            recorded.episodes.len(),
            recorded.unsolved.len(),
            recorded.simulated_s,
            recorded.wall_s
        );
        println!("dataset: {}", recorded.dataset.display());
    }
    super::teleop::interrupted(stop.cause())
}

fn check(args: &Record) -> Result<()> {
    if args.fps == 0 || args.fps > 500 || args.episodes == 0 {
        return Err(usage(
            "--lockstep needs --fps from 1 to 500 and --episodes of at least 1",
        ));
    }
    check_seconds("--episode-time", Some(args.episode_time))?;
    if args.teleop != Operator::Scripted {
        return Err(usage(
            "--lockstep is faster than a person: it needs --teleop scripted",
        ));
    }
    if args.robot.robot != ROBOT {
        return Err(usage(format!(
            "--robot {}: --lockstep simulates {WORLD}, which has an {ROBOT}; leave --robot out",
            args.robot.robot
        )));
    }
    if !(0.0..=MOST_NOISE).contains(&args.lockstep.noise) {
        return Err(usage(format!(
            "--noise {}: choose 0 to {MOST_NOISE} rad",
            args.lockstep.noise
        )));
    }
    Ok(())
}

/// What became of an episode.
enum Take {
    /// It is in the dataset.
    Kept,
    /// The operator did not get it done.
    Failed,
    /// The policy had done the task before the operator was to take over.
    NotNeeded,
}

struct Takes<'a> {
    args: &'a Record,
    rig: &'a Rig,
    world: &'a mut LockstepPick,
    operator: ScriptedPick,
    beginner: Option<Beginner>,
    recorder: Recorder,
    video: Option<String>,
    episodes: Vec<EpisodeResult>,
    unsolved: Vec<u64>,
}

impl Takes<'_> {
    fn record_all(&mut self, stop: &StopToken) -> Result<()> {
        let mut seed = self.args.seed;
        let mut failures = 0;
        while (self.episodes.len() as u64) < self.args.episodes && !stop.is_set() {
            match self.take(seed, stop)? {
                Take::Kept => failures = 0,
                Take::Failed => failures += 1,
                Take::NotNeeded => {}
            }
            if failures == MOST_FAILURES {
                return Err(anyhow!(
                    "{MOST_FAILURES} episodes in a row failed, the last of seed {seed}; use less --noise or a longer --episode-time"
                ));
            }
            seed = seed.wrapping_add(1);
        }
        Ok(())
    }

    /// Records the episode of `seed`, or leaves it out if it fails; says which.
    fn take(&mut self, seed: u64, stop: &StopToken) -> Result<Take> {
        self.world.reset(seed)?;
        self.operator.restart();
        if let Some(beginner) = &mut self.beginner {
            if !beginner.play(self.world, seed, stop)? {
                return Ok(Take::NotNeeded);
            }
            self.operator.take_over();
        }
        let tasks = &self.args.task;
        let number = self.episodes.len();
        let task = tasks.get(number % tasks.len().max(1));
        self.recorder
            .start_episode(task.map_or("", String::as_str))?;
        let solved = self.drive(seed, stop)?;
        if !solved || stop.is_set() {
            self.recorder.discard_episode()?;
            if !stop.is_set() {
                self.unsolved.push(seed);
            }
            return Ok(Take::Failed);
        }
        let start = Instant::now();
        let summary = self.recorder.save_episode()?;
        self.episodes.push(EpisodeResult {
            index: summary.episode,
            tasks: summary.tasks,
            seed: Some(seed),
            frames: summary.rows,
            seconds: summary.duration_s,
            success: Some(true),
            dropped_rows: summary.dropped_rows,
            ended_early: summary.ended_early,
            saved_in_ms: start.elapsed().as_secs_f64() * 1e3,
        });
        if number % 25 == 24 && !self.args.output.json {
            eprintln!("  {} episodes", number + 1);
        }
        Ok(Take::Kept)
    }

    /// Lets the operator work until it is done; whether the task then is.
    fn drive(&mut self, seed: u64, stop: &StopToken) -> Result<bool> {
        let rate = f64::from(self.args.fps);
        let mut noise = Disturbance::new(seed, self.args.lockstep.noise, rate);
        let mut tail = (TAIL_S * rate).ceil() as u32;
        let rows = (self.args.episode_time * rate) as u64;
        for _ in 0..rows {
            let seen = self.world.observe()?;
            let now_s = seen.state.time_s;
            // A cube pushed out of reach is a failed episode, not a failed recording.
            let Ok(wanted) = self.operator.tick(now_s, &seen.positions, &seen.state) else {
                return Ok(false);
            };
            self.add(&seen, &wanted)?;
            let disturbance = noise.next(self.operator.phase());
            let told = std::array::from_fn(|i| wanted[i] + disturbance[i]);
            self.world.advance(&told, 1.0 / rate)?;
            if self.operator.is_done() {
                tail = tail.saturating_sub(1);
            }
            if tail == 0 || stop.is_set() {
                break;
            }
        }
        Ok(self.world.task().state().success)
    }

    /// One row: what was seen, and what the operator wanted then. Everything happens at one instant.
    fn add(&mut self, seen: &Observation, wanted: &[f64; DOF]) -> Result<()> {
        let (mut state, mut action) = ([0.0; DOF], [0.0; DOF]);
        self.rig.units.to_lerobot(&seen.positions, &mut state);
        self.rig.units.to_lerobot(wanted, &mut action);
        let (at, age) = (seen.state.time_s, 0.0);
        let mut timing = vec![at, at, at, age];
        for _ in &seen.frames {
            timing.extend([at, age]);
        }
        self.recorder.add(Row {
            state: &state,
            action: &action,
            extra: &[ExtraValue::F64(&timing)],
            frames: &seen.frames,
        })?;
        Ok(())
    }

    fn finish(self, start: Instant) -> Result<Recorded> {
        self.recorder.finalize()?;
        Ok(Recorded {
            dataset: self.args.dataset.clone(),
            video: self.video,
            simulated_s: self.episodes.iter().map(|e| e.seconds).sum(),
            episodes: self.episodes,
            unsolved: self.unsolved,
            wall_s: start.elapsed().as_secs_f64(),
        })
    }
}

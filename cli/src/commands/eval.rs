//! `sinew eval`: how often does a policy succeed?
//!
//! Episodes are played in lockstep, so a simulated second takes as long as its computation, and the
//! same seeds give the same results to the bit, whatever the number of workers.

use crate::args::Eval;
use crate::failure::usage;
use anyhow::Result;

/// Runs the command.
#[cfg(not(feature = "sim"))]
pub(crate) fn eval(_args: &Eval) -> Result<()> {
    Err(usage(
        "this sinew was built without simulation; build it with `--features sim`",
    ))
}

/// Runs the command.
#[cfg(feature = "sim")]
pub(crate) fn eval(args: &Eval) -> Result<()> {
    simulated::run(args)
}

#[cfg(feature = "sim")]
mod simulated {
    use super::*;
    use crate::commands::dataset::progress::Progress;
    use crate::commands::teleop::stop_token;
    use crate::failure::Interrupted;
    use crate::player::{Loaded, Player, features_of};
    use sinew_hardware::{Blueprint, Units};
    use sinew_policies::{Channel, LoadOptions};
    use sinew_runtime::actions::Strategy;
    use sinew_sim::eval::{EvalError, Score, evaluate};
    use sinew_sim::pick::{CAMERAS, ENVIRONMENT, Episode, ROBOT, Rules, WORLD};
    use std::ops::Range;
    use std::sync::{Mutex, PoisonError};
    use std::time::Instant;

    /// Failed seeds that are listed for people; JSON lists all.
    const LISTED: usize = 20;

    /// What an evaluation found. The same arguments give the same, but for `run`.
    #[derive(Debug, serde::Serialize)]
    struct Report {
        task: &'static str,
        policy: String,
        engine: &'static str,
        strategy: Strategy,
        /// What an inference was taken to need.
        latency_ms: f64,
        rules: Rules,
        #[serde(flatten)]
        score: Score,
        results: Vec<Episode>,
        run: RunReport,
    }

    /// What depends on the machine.
    #[derive(Debug, serde::Serialize)]
    struct RunReport {
        workers: usize,
        seconds: f64,
    }

    pub(super) fn run(args: &Eval) -> Result<()> {
        check(args)?;
        let seeds = seeds(args)?;
        let first = load(args)?;
        let rules = rules(args, &first)?;
        let workers = workers(args, &seeds);
        let latency_steps = (args.latency_ms * 1e-3 * rules.rate_hz - 1e-9).ceil() as u64;
        let (name, engine, strategy) = (first.name.clone(), first.engine, first.strategy);
        let first = Mutex::new(Some(first));
        let (total, start) = (seeds.end - seeds.start, Instant::now());
        let shown = Mutex::new((Progress::new("episodes"), 0));
        let results = evaluate(
            seeds,
            rules,
            workers,
            |known| {
                let loaded = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                let loaded = loaded.map_or_else(|| load(args), Ok)?;
                Ok(Player::new(loaded, known, latency_steps))
            },
            |_| {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.1 += 1;
                let done = shown.1;
                shown.0.at(done, total);
            },
            &stop_token()?,
        );
        drop(shown);
        let results = results.map_err(|error| match error {
            EvalError::Stopped => Interrupted.into(),
            EvalError::Episodes { .. } => usage(error),
            other => anyhow::Error::from(other),
        })?;
        let report = Report {
            task: WORLD,
            policy: name,
            engine,
            strategy,
            latency_ms: args.latency_ms,
            rules,
            score: Score::of(&results),
            results,
            run: RunReport {
                workers,
                seconds: start.elapsed().as_secs_f64(),
            },
        };
        if args.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            tell(&report);
        }
        Ok(())
    }

    fn check(args: &Eval) -> Result<()> {
        if args.task != WORLD {
            let task = &args.task;
            return Err(usage(format!("no task is called {task}; there is {WORLD}")));
        }
        if !(0.0..=60_000.0).contains(&args.latency_ms) {
            let ms = args.latency_ms;
            return Err(usage(format!("--latency-ms {ms}: choose 0 to 60000 ms")));
        }
        if !(0.1..=3600.0).contains(&args.episode_time) {
            let seconds = args.episode_time;
            return Err(usage(format!(
                "--episode-time {seconds}: choose 0.1 to 3600 s"
            )));
        }
        if args.workers == Some(0) {
            return Err(usage("--workers: choose 1 or more"));
        }
        Ok(())
    }

    fn seeds(args: &Eval) -> Result<Range<u64>> {
        match &args.seeds {
            Some(seeds) => Ok(seeds.clone()),
            None => match args.seed.checked_add(args.episodes) {
                Some(end) => Ok(args.seed..end),
                None => Err(usage(format!(
                    "--seed {} and --episodes {}: the last seed is too large",
                    args.seed, args.episodes
                ))),
            },
        }
    }

    fn workers(args: &Eval, seeds: &Range<u64>) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let episodes = usize::try_from(seeds.end - seeds.start).unwrap_or(usize::MAX);
        args.workers.unwrap_or_else(cores).min(episodes).max(1)
    }

    fn load(args: &Eval) -> Result<Loaded> {
        let blueprint = Blueprint::load(ROBOT).map_err(usage)?;
        let units = Units::default_of(&blueprint).map_err(usage)?;
        let features = features_of(&blueprint, &units)
            .with_cameras(CAMERAS)
            .with_values(Channel::Environment, ENVIRONMENT);
        let options = LoadOptions {
            // One thread each: episodes are played side by side, and sums do not depend on the machine.
            threads: args.computing.threads.max(1),
            // It would depend on the time which chunk is the first of another network.
            self_check: false,
            ..args.computing.options()
        };
        Loaded::new(&args.policy, options, &args.strategy, features)
    }

    fn rules(args: &Eval, policy: &Loaded) -> Result<Rules> {
        let mut rules = Rules::new(policy.rate_hz).map_err(usage)?;
        rules.limit_s = args.episode_time;
        for picture in &policy.pictures {
            let size = args.camera_size.unwrap_or((picture.width, picture.height));
            if let Some(wanted) = rules.pictures.get_mut(picture.camera) {
                *wanted = Some(size);
            }
        }
        Ok(rules)
    }

    fn tell(report: &Report) {
        let Report {
            task,
            policy,
            engine,
            strategy,
            latency_ms,
            score,
            run,
            ..
        } = report;
        println!("{task}: {policy} on {engine}, {strategy}, inference takes {latency_ms} ms");
        let [low, high] = score.interval_95.map(|share| share * 100.0);
        println!(
            "{} of {} succeeded: {:.1} % (95 % interval {low:.1} to {high:.1} %)",
            score.successes,
            score.episodes,
            score.success_rate * 100.0
        );
        if let Some(seconds) = score.mean_time_to_success_s {
            println!("{seconds:.1} s to success on average, simulated");
        }
        let failed: Vec<_> = report.results.iter().filter(|r| !r.success).collect();
        for episode in failed.iter().take(LISTED) {
            println!(
                "seed {} failed: the cube is {:.0} mm from the middle of the zone",
                episode.seed,
                episode.distance_m * 1e3
            );
        }
        if failed.len() > LISTED {
            println!("and {} more; --json lists all", failed.len() - LISTED);
        }
        println!(
            "{:.1} s of computing, {} at a time",
            run.seconds, run.workers
        );
    }
}

//! `sinew demo`: the main job, whole, without hardware.

use crate::args::Demo;
use anyhow::Result;

/// Runs the command.
#[cfg(not(feature = "sim"))]
pub(crate) fn demo(_args: &Demo) -> Result<()> {
    Err(crate::failure::usage(
        "this sinew was built without simulation; build it with `--features sim`",
    ))
}

/// Runs the command.
#[cfg(feature = "sim")]
pub(crate) fn demo(args: &Demo) -> Result<()> {
    simulated::run(args)
}

#[cfg(feature = "sim")]
mod simulated {
    use super::*;
    use crate::args::{
        CodecArg, Computing, LockstepArgs, Operator, OutputArgs, Record, Replay, RobotArgs, Run,
        StrategyArgs,
    };
    #[cfg(feature = "hub")]
    use crate::commands::demo_hub::{ThereAndBack, there_and_back};
    use crate::commands::record::{self, Recorded};
    use crate::commands::run::{self, Ran};
    use crate::commands::teleop::stop_token;
    use crate::commands::{record as recording, replay};
    use crate::failure::{Interrupted, usage};
    use crate::report;
    use crate::session::SessionReport;
    use crate::world::World;
    use anyhow::Context;
    use sinew_datasets::Dataset;
    use sinew_datasets::video::{PixFmt, Quality, side_by_side_mp4};
    use sinew_policies::lerobot::Checkpoint;
    use sinew_runtime::stop::StopToken;
    use sinew_sim::pick::CAMERA_SIZE;
    use sinew_sim::pick::realtime::{SimConfig, SimServer};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    /// Left in the output folder, so that only a demo's folder is ever emptied.
    const MARK: &str = ".sinew-demo";
    /// Longest policy run, seconds.
    const POLICY_SECONDS: f64 = 25.0;
    /// The policy's episode is not one of those recorded.
    const POLICY_SEED_OFFSET: u64 = 1000;
    /// How often the policy may try. The simulation runs in real time: a machine that is busy with something else at the
    /// wrong moment can cost it the cube.
    const POLICY_ATTEMPTS: u32 = 3;

    #[derive(Debug, serde::Serialize)]
    struct Everything {
        recorded: Recorded,
        replayed: SessionReport,
        replay_success: bool,
        policy: Ran,
        policy_attempts: u32,
        video: PathBuf,
        dataset: PathBuf,
        #[cfg(feature = "hub")]
        hub: ThereAndBack,
    }

    impl Everything {
        fn check(&self) -> Result<()> {
            anyhow::ensure!(
                self.replay_success,
                "the replayed episode did not place the cube"
            );
            anyhow::ensure!(
                succeeded(&self.policy),
                "the policy did not place the cube in {POLICY_ATTEMPTS} attempts"
            );
            Ok(())
        }
    }

    fn succeeded(policy: &Ran) -> bool {
        policy.success.unwrap_or(false)
    }

    pub(super) fn run(args: &Demo) -> Result<()> {
        empty(&args.out)?;
        let all = phases(args)?;
        if args.json {
            println!("{}", serde_json::to_string_pretty(&all)?);
        } else {
            summarise(&all);
        }
        all.check()
    }

    /// A simulated arm that runs, with cameras of a size.
    fn start(args: &Demo, camera_size: (u32, u32)) -> Result<(Arc<SimServer>, RobotArgs)> {
        let config = SimConfig {
            seed: args.seed,
            camera_size,
            ..SimConfig::default()
        };
        let server = Arc::new(SimServer::start(&config).map_err(usage)?);
        step(args, &format!("servo bus at {}", server.device().display()));
        let robot = RobotArgs {
            robot: "so101".to_owned(),
            port: Some(server.device().to_string_lossy().into_owned()),
            calibration: None,
            bus_rate: 200.0,
            sim: None,
        };
        Ok((server, robot))
    }

    fn phases(args: &Demo) -> Result<Everything> {
        // Before anything is recorded.
        let folder = crate::hub::policy(&args.policy)?;
        let pictures = picture_size(&folder)?;
        step(
            args,
            "starting the simulated SO-101 (MuJoCo, six emulated STS3215 servos, two cameras)",
        );
        let (mut server, mut robot) = start(args, CAMERA_SIZE)?;
        let world = World::Here(server.clone());
        let dataset = args.out.join("dataset");
        step(
            args,
            &format!(
                "recording {} episodes of the scripted operator",
                args.episodes
            ),
        );
        // Each phase ends on its own; a signal ends them all.
        let whole = stop_token()?;
        let recorded = record::run(
            &record_args(args, &robot, &dataset),
            Some(world.clone()),
            whole.child(),
        )?;
        end_if_interrupted(recorded.cause)?;
        if !args.json {
            recording::print_episodes(&recorded.episodes);
        }
        step(args, "replaying episode 0 through the driver");
        let stop = whole.child();
        let replay_args = Replay {
            robot: robot.clone(),
            dataset: dataset.clone(),
            episode: 0,
            seed: Some(args.seed),
            output: quiet(),
        };
        let replayed = replay::run(&replay_args, Some(world.clone()), stop.clone())?;
        end_if_interrupted(stop.cause())?;
        let replay_success = server.success()?;
        server.check()?;
        if pictures != CAMERA_SIZE {
            let (width, height) = pictures;
            step(
                args,
                &format!("cameras of {width}×{height} pixels, as the policy was trained with"),
            );
            drop((world, server));
            (server, robot) = start(args, pictures)?;
        }
        step(
            args,
            &format!("running the policy in {}", args.policy.display()),
        );
        let run = run_args(args, robot, folder);
        let (policy, policy_attempts) = run_policy(args, &run, &server, &whole)?;
        step(args, "joining what the cameras saw into one video");
        let video = args.out.join("episodes.mp4");
        montage(&dataset, &video)?;
        #[cfg(feature = "hub")]
        let hub = {
            step(args, "pushing the dataset to a hub, and pulling it back");
            there_and_back(&dataset, &args.out)?
        };
        Ok(Everything {
            recorded,
            replayed,
            replay_success,
            policy,
            policy_attempts,
            video,
            dataset,
            #[cfg(feature = "hub")]
            hub,
        })
    }

    /// Runs the policy until it succeeds or has tried often enough; returns how often as well.
    fn run_policy(
        args: &Demo,
        run: &Run,
        server: &Arc<SimServer>,
        whole: &StopToken,
    ) -> Result<(Ran, u32)> {
        let mut attempt = 1;
        loop {
            let stop = whole.child();
            let policy = run::drive(run, Some(World::Here(server.clone())), stop.clone())?;
            end_if_interrupted(stop.cause())?;
            server.check()?;
            if succeeded(&policy) || attempt == POLICY_ATTEMPTS {
                return Ok((policy, attempt));
            }
            attempt += 1;
            step(
                args,
                &format!(
                    "the cube is not where it should be after {:.0} s; attempt {attempt} of {POLICY_ATTEMPTS}",
                    policy.seconds
                ),
            );
        }
    }

    /// The pictures that a policy takes, where it says so: width and height, pixels.
    fn picture_size(policy: &Path) -> Result<(u32, u32)> {
        if Checkpoint::find(policy).is_none() {
            return Ok(CAMERA_SIZE);
        }
        let checkpoint = Checkpoint::open(policy).map_err(usage)?;
        let size = checkpoint.config.images().find_map(|image| {
            let [_, height, width] = *image.shape.as_slice() else {
                return None;
            };
            Some((u32::try_from(width).ok()?, u32::try_from(height).ok()?))
        });
        Ok(size.unwrap_or(CAMERA_SIZE))
    }

    fn record_args(args: &Demo, robot: &RobotArgs, dataset: &Path) -> Record {
        Record {
            robot: robot.clone(),
            teleop: Operator::Scripted,
            dataset: dataset.to_owned(),
            resume: false,
            task: vec!["Pick up the cube and place it in the target zone.".to_owned()],
            episodes: args.episodes,
            episode_time: 30.0,
            reset_time: 0.0,
            fps: 30,
            codec: CodecArg::Auto,
            crf: Quality::default().crf,
            gop: Quality::default().gop,
            pix_fmt: PixFmt::default(),
            images: false,
            camera_timeout: 2.0,
            seed: args.seed,
            push: None,
            lockstep: LockstepArgs::OFF,
            output: quiet(),
        }
    }

    /// The policy is the folder whose pictures were looked at: on a hub there may be another by now.
    fn run_args(args: &Demo, robot: RobotArgs, policy: PathBuf) -> Run {
        Run {
            robot,
            policy,
            computing: Computing {
                engine: args.engine,
                ..Computing::default()
            },
            seconds: Some(POLICY_SECONDS),
            seed: Some(args.seed + POLICY_SEED_OFFSET),
            strategy: StrategyArgs::default(),
            output: quiet(),
        }
    }

    fn quiet() -> OutputArgs {
        OutputArgs {
            json: false,
            no_panel: true,
            view: None,
            topics: false,
            connect: vec![],
            listen: vec![],
            domain: 0,
            supervisor: None,
        }
    }

    fn end_if_interrupted(cause: Option<sinew_runtime::stop::StopCause>) -> Result<()> {
        if cause == Some(sinew_runtime::stop::StopCause::Signal) {
            Err(Interrupted.into())
        } else {
            Ok(())
        }
    }

    /// All cameras of all episodes, side by side, one episode after the other.
    fn montage(dataset: &Path, video: &Path) -> Result<()> {
        let dataset = Dataset::open(dataset)?;
        let mut episodes = Vec::new();
        for episode in dataset.episodes() {
            let files = dataset.video_files(episode.index)?;
            episodes.push(files.into_iter().map(|(_, path)| path).collect::<Vec<_>>());
        }
        side_by_side_mp4(&episodes, video, dataset.info().fps)
            .context("the video could not be joined")?;
        Ok(())
    }

    /// Makes the output folder, or empties that of an earlier demo.
    fn empty(out: &Path) -> Result<()> {
        let occupied = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
        if occupied && !out.join(MARK).exists() {
            return Err(usage(format!(
                "{} is not empty and not from an earlier demo; choose another --out",
                out.display()
            )));
        }
        if occupied {
            std::fs::remove_dir_all(out)
                .with_context(|| format!("cannot empty {}", out.display()))?;
        }
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        std::fs::write(out.join(MARK), "")
            .with_context(|| format!("cannot write in {}", out.display()))
    }

    fn step(args: &Demo, what: &str) {
        if args.json {
            eprintln!("==> {what}");
        } else {
            println!("==> {what}");
        }
    }

    fn summarise(all: &Everything) {
        let word = |success: bool| if success { "success" } else { "FAILED" };
        println!("\n==> report");
        recording::print_episodes(&all.recorded.episodes);
        println!("replay of episode 0: {}", word(all.replay_success));
        let policy = &all.policy;
        println!(
            "policy {} on {}: {} after {:.1} s{}",
            policy.policy,
            policy.engine,
            word(succeeded(policy)),
            policy.seconds,
            match all.policy_attempts {
                1 => String::new(),
                attempts => format!(", in attempt {attempts}"),
            }
        );
        println!("\nwhile recording:");
        print!("{}", report::table(&all.recorded.session));
        println!("\nwhile the policy ran:");
        print!("{}", report::table(&all.policy.session));
        println!("\ndataset (LeRobot v3.0)   {}", all.dataset.display());
        println!("what the cameras saw     {}", all.video.display());
        #[cfg(feature = "hub")]
        println!("to a hub and back        {}", all.hub.line());
    }
}

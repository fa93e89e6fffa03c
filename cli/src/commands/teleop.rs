//! `sinew teleop`: a person, a script or a topic drives.

use crate::args::{Operator, OutputArgs, RobotArgs, Teleop};
use crate::failure::usage;
use crate::keyboard::Keyboard;
use crate::monitor::{self, Monitor};
use crate::session::{Rates, Rig, Session, Setup};
use crate::source::{OperatorControl, spawn_operator};
use crate::world::World;
use crate::{failure, report};
use anyhow::{Result, anyhow};
use sinew_drivers::teleop::{EpisodeCommand, StopRequest};
use sinew_runtime::control::ActionSource;
use sinew_runtime::stop::{StopCause, StopToken};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Someone who drives, attached to a running session.
#[derive(Debug)]
pub(crate) struct Driver {
    /// Restart and done, for operators with episodes.
    pub(crate) operator: Option<Arc<OperatorControl>>,
    keyboard: Option<Keyboard>,
    threads: Vec<JoinHandle<()>>,
    #[cfg(feature = "topics")]
    _commands: Option<crate::topics::Commands>,
}

impl Driver {
    /// Makes the source of actions for the operator that was asked for.
    pub(crate) fn new(
        who: Operator,
        rate: f64,
        setup: &mut Setup,
        rig: &Rig,
        world: &World,
        output: &OutputArgs,
    ) -> Result<(Self, Box<dyn ActionSource>)> {
        let states = setup.states();
        let mut driver = Self {
            operator: None,
            keyboard: None,
            threads: Vec::new(),
            #[cfg(feature = "topics")]
            _commands: None,
        };
        let source: Box<dyn ActionSource> = match who {
            Operator::Keyboard => {
                let (keyboard, operate) = Keyboard::new(rig)?;
                driver.keyboard = Some(keyboard);
                driver.spawn(operate, states, rate, &setup.stop)?
            }
            #[cfg(feature = "sim")]
            Operator::Scripted => driver.spawn(
                Box::new(crate::source::Scripted::new(world)?),
                states,
                rate,
                &setup.stop,
            )?,
            #[cfg(not(feature = "sim"))]
            Operator::Scripted => {
                return Err(usage(
                    "this sinew was built without simulation; build it with `--features sim`",
                ));
            }
            #[cfg(feature = "topics")]
            Operator::Topic => {
                let (commands, source) =
                    crate::topics::Commands::open(rig, setup.node(output)?, states)?;
                driver._commands = Some(commands);
                Box::new(source)
            }
            #[cfg(not(feature = "topics"))]
            Operator::Topic => {
                return Err(usage(
                    "this sinew was built without topics; build it with `--features topics`",
                ));
            }
        };
        let _ = (world, output);
        Ok((driver, source))
    }

    fn spawn(
        &mut self,
        operate: Box<dyn crate::source::Operate>,
        states: sinew_runtime::slot::SlotReader<sinew_runtime::JointState>,
        rate: f64,
        stop: &StopToken,
    ) -> Result<Box<dyn ActionSource>> {
        let (source, control, thread) = spawn_operator(operate, states, rate, stop.clone())?;
        self.operator = Some(control);
        self.threads.push(thread);
        Ok(Box::new(source))
    }

    /// Passes keys to the keyboard and carries out what they ask; returns an episode command.
    pub(crate) fn serve(&self, monitor: &Monitor, session: &Session) -> Option<EpisodeCommand> {
        let mut asked = None;
        while let Some(key) = monitor.key() {
            asked = match &self.keyboard {
                Some(keyboard) => {
                    keyboard.press(key);
                    asked
                }
                None => {
                    crate::keyboard::stop_or_release(key, &session.estop);
                    crate::keyboard::episode_command(key).or(asked)
                }
            };
        }
        if let Some(keyboard) = &self.keyboard {
            let (stop, episode) = keyboard.take_requests();
            match stop {
                StopRequest::Emergency => {
                    session.estop.trip(sinew_runtime::safety::EStopReason::Key)
                }
                StopRequest::Release => session.estop.reset(),
                StopRequest::Hold | StopRequest::None => {}
            }
            asked = episode.or(asked);
        }
        asked
    }

    /// Why the operator gave up, if it did.
    pub(crate) fn check(&self) -> Result<()> {
        match self
            .operator
            .as_ref()
            .and_then(|operator| operator.failure())
        {
            Some(failure) => Err(anyhow!("the operator gave up: {failure}")),
            None => Ok(()),
        }
    }

    /// Waits for the operator's threads, after the stop token was set.
    pub(crate) fn finish(self) -> Result<()> {
        let checked = self.check();
        for thread in self.threads {
            let _ = thread.join();
        }
        checked
    }
}

/// Loads the rig, finds the world, connects: the start of every verb that moves a robot.
pub(crate) fn open(
    args: &RobotArgs,
    world: Option<World>,
) -> Result<(Rig, World, Box<dyn sinew_runtime::Robot>)> {
    let rig = Rig::load(args)?;
    let world = match world {
        Some(world) => world,
        None => World::find(args)?,
    };
    let robot = rig.connect(args)?;
    Ok((rig, world, robot))
}

/// Starts the simulated episode of `--seed`, which a real robot has not.
pub(crate) fn begin_episode(world: &World, seed: Option<u64>) -> Result<()> {
    match seed {
        Some(_) if !world.is_simulated() => {
            Err(usage("--seed is for simulated tasks; this robot is real"))
        }
        Some(seed) => world.reset(seed),
        None => Ok(()),
    }
}

/// A stop token that signals and panics set.
pub(crate) fn stop_token() -> Result<StopToken> {
    let stop = StopToken::new();
    stop.on_signals()?;
    stop.on_panic();
    Ok(stop)
}

/// Whether the run ended because of a signal, which the exit code tells.
pub(crate) fn interrupted(cause: Option<StopCause>) -> Result<()> {
    if cause == Some(StopCause::Signal) {
        Err(failure::Interrupted.into())
    } else {
        Ok(())
    }
}

/// Runs the command.
pub(crate) fn teleop(args: &Teleop) -> Result<()> {
    failure::check_seconds("--seconds", args.seconds)?;
    monitor::check_keyboard(args.teleop, &args.output)?;
    let stop = stop_token()?;
    let (rig, world, robot) = open(&args.robot, None)?;
    begin_episode(&world, args.seed)?;
    let rates = Rates {
        bus_hz: args.robot.bus_rate,
        loop_hz: args.rate,
    };
    let mut setup = Setup::new(rig.clone(), robot, rates, stop.clone())?;
    let (driver, source) = Driver::new(
        args.teleop,
        args.rate,
        &mut setup,
        &rig,
        &world,
        &args.output,
    )?;
    let wanted = monitor::prepare(&mut setup, &rig, &world, &args.output)?;
    let mut session = setup.start(source, &world)?;
    let monitor = Monitor::start(
        &mut session,
        wanted,
        &format!("{} · teleop", rig.blueprint.title),
        &crate::keyboard::help(&rig),
    )?;
    monitor.phase("teleoperation", None);
    let start = Instant::now();
    while !stop.is_set() {
        if driver.serve(&monitor, &session) == Some(EpisodeCommand::Quit) {
            stop.request(StopCause::Requested);
        }
        if args
            .seconds
            .is_some_and(|seconds| start.elapsed().as_secs_f64() >= seconds)
        {
            stop.request(StopCause::Finished);
        }
        stop.wait(Duration::from_millis(10));
    }
    let report = session.join();
    monitor.finish();
    let operator = driver.finish();
    // Where both failed, the bus is the cause: an operator that watches a simulator dies with it.
    let report = report?;
    operator?;
    report::print(&report, args.output.json)?;
    interrupted(stop.cause())
}

//! The world at wall time, looking like hardware: a serial port with six servos and two cameras.
//!
//! ```text
//! servo-emulator thread   pty ⇄ chain (packets, control tables)
//! pick-world thread       chain ⇄ SimPlant ─► snapshot (state, privileged task state)
//! pick-camera thread      snapshot ─► own world ─► renderer ─► camera feeds
//! pick-link threads       feeds and task state ─► Unix socket (only when asked for)
//! ```
//!
//! The world thread holds no lock while it steps; the others see it through the snapshot, whose
//! lock is held for a copy of about a hundred numbers. A thread that fails stops all the others,
//! and [`SimServer::check`] and [`SimServer::stop`] say why.

use super::camera::{Cameras, yield_to_the_bus};
use super::error::PickError;
use super::feed::CameraFeed;
use super::link::LinkServer;
use super::lockstep::camera_infos;
use super::plant::{SimPlant, TickMap, emulated_servos};
use super::scene::{CAMERA_SIZE, CAMERAS};
use super::task::{PickTask, TaskState};
use crate::{Model, State};
use sinew_drivers::emulator::{
    EmulatorError, Fault, FaultHandle, PtyOptions, PtyServer, SharedChain,
};
use sinew_runtime::{Clock, MonotonicClock, Nanos};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the world thread looks at the bus, wall time. Also the physics timestep.
const WORLD_PERIOD_NS: Nanos = 2_000_000;
/// Answers that the world thread owes come within a period; this allows for a stalled machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Resets that may wait for the world thread at once.
const MOST_RESETS: usize = 8;

/// How to run the simulated hardware.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// Seed of the first episode.
    pub seed: u64,
    /// Simulated seconds per second of wall time, 0.05 to 10.
    pub speed: f64,
    /// Frames a second of each camera; 0 for no cameras (and no need for a renderer).
    pub camera_fps: u32,
    /// Size of the cameras' images, pixels: width, height.
    pub camera_size: (u32, u32),
    /// Bytes on the bus take as long as on a real line.
    pub wire_timing: bool,
    /// Faults of the bus from the start; more can be switched on later.
    pub faults: Vec<Fault>,
    /// A stable name for the servo port: a symbolic link made here and removed at the end.
    pub port_link: Option<PathBuf>,
    /// File in which the servos' EEPROM survives.
    pub eeprom: Option<PathBuf>,
    /// Socket at which other processes get frames and task state; see [`super::link`].
    pub socket: Option<PathBuf>,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            speed: 1.0,
            camera_fps: 30,
            camera_size: CAMERA_SIZE,
            wire_timing: true,
            faults: Vec::new(),
            port_link: None,
            eeprom: None,
            socket: None,
        }
    }
}

/// What the other threads see of the world.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub(super) state: State,
    task: Option<TaskState>,
    pub(super) captured_ns: Nanos,
}

struct ResetRequest {
    seed: u64,
    answer: SyncSender<Result<TaskState, PickError>>,
}

/// Shared by all threads of one simulator.
#[derive(Debug)]
pub(crate) struct Shared {
    stop: AtomicBool,
    snapshot: Mutex<Snapshot>,
    resets: SyncSender<ResetRequest>,
    failure: Mutex<Option<(&'static str, String)>>,
    pub(crate) feeds: Vec<CameraFeed>,
    pub(crate) device: PathBuf,
}

impl Shared {
    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The newest task state.
    pub(crate) fn task_state(&self) -> Result<TaskState, PickError> {
        self.snapshot().task.ok_or_else(|| self.stopped())
    }

    /// Asks the world thread for another episode and waits until it has begun.
    pub(crate) fn reset(&self, seed: u64) -> Result<TaskState, PickError> {
        let (answer, reply) = sync_channel(1);
        self.resets
            .send(ResetRequest { seed, answer })
            .map_err(|_| self.stopped())?;
        reply.recv_timeout(ANSWER_TIMEOUT).map_err(|_| {
            let waited_ms = ANSWER_TIMEOUT.as_millis() as u64;
            if self.stopping() {
                self.stopped()
            } else {
                PickError::Timeout {
                    request: "reset",
                    waited_ms,
                }
            }
        })?
    }

    pub(super) fn snapshot(&self) -> MutexGuard<'_, Snapshot> {
        lock(&self.snapshot)
    }

    fn check(&self) -> Result<(), PickError> {
        if lock(&self.failure).is_some() {
            Err(self.stopped())
        } else {
            Ok(())
        }
    }

    fn stopped(&self) -> PickError {
        let (thread, reason) = lock(&self.failure)
            .clone()
            .unwrap_or(("pick-world", "the simulation was stopped".to_owned()));
        PickError::Stopped { thread, reason }
    }

    /// Remembers the first failure and stops everything.
    fn fail(&self, thread: &'static str, reason: String) {
        tracing::error!(thread, reason, "simulator thread failed");
        lock(&self.failure).get_or_insert((thread, reason));
        self.stop.store(true, Ordering::Release);
    }
}

/// A panic elsewhere leaves at worst an old snapshot; its own report says what went wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running simulator. Dropping it stops all threads and removes port and socket.
#[derive(Debug)]
pub struct SimServer {
    shared: Arc<Shared>,
    faults: FaultHandle,
    socket: Option<PathBuf>,
    map: TickMap,
    arm: super::Arm,
    threads: Vec<JoinHandle<()>>,
    // Dropped last: the port must outlive the threads that answer on it.
    link: Option<LinkServer>,
    _pty: PtyServer,
}

impl SimServer {
    /// Starts the world, its servo bus and its cameras.
    ///
    /// # Errors
    /// [`PickError::Config`] for a value out of range, [`PickError::Bus`] when no port can be
    /// made, [`PickError::Sim`] when the model does not compile or nothing can be rendered.
    pub fn start(config: &SimConfig) -> Result<Self, PickError> {
        check_config(config)?;
        let blueprint = super::scene::blueprint()?;
        let map = TickMap::from_blueprint(&blueprint)?;
        let mut task = PickTask::new(config.seed)?;
        // Unpowered servos hold nothing: the arm starts where it would lie.
        let rest = task.scene().rest;
        task.pose_arm(&rest)?;
        let arm = super::Arm::new(task.world(), task.scene())?;
        let model = task.world().model().clone();
        let chain = SharedChain::new(emulated_servos(&blueprint, &map, &rest)?);
        let faults = chain.faults();
        let options = PtyOptions {
            wire_timing: config.wire_timing,
            link: config.port_link.clone(),
            store: config.eeprom.clone(),
        };
        let pty = PtyServer::start(chain.clone(), &options).map_err(bus)?;
        for fault in &config.faults {
            faults.inject(*fault);
        }
        let (resets, requests) = sync_channel(MOST_RESETS);
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            snapshot: Mutex::default(),
            resets,
            failure: Mutex::default(),
            feeds: if config.camera_fps > 0 {
                feeds(config.camera_size)
            } else {
                Vec::new()
            },
            device: pty.path(),
        });
        let plant = SimPlant::new(task, map);
        publish(&shared, &plant, MonotonicClock.now());
        let mut server = Self {
            shared,
            faults,
            socket: config.socket.clone(),
            map,
            arm,
            threads: Vec::new(),
            link: None,
            _pty: pty,
        };
        let speed = config.speed;
        server.spawn("pick-world", move |shared| {
            run_world(shared, &chain, plant, &requests, speed)
        })?;
        if config.camera_fps > 0 {
            server.start_cameras(model, config.camera_fps, config.camera_size)?;
        }
        if let Some(path) = &config.socket {
            server.link = Some(LinkServer::start(path, server.shared.clone())?);
        }
        Ok(server)
    }

    /// The servo bus: what a driver opens.
    pub fn device(&self) -> PathBuf {
        self.shared.device.clone()
    }

    /// The link's socket, if there is one.
    pub fn socket(&self) -> Option<&PathBuf> {
        self.socket.as_ref()
    }

    /// The cameras, `front` and `wrist`; none when they are off.
    pub fn cameras(&self) -> &[CameraFeed] {
        &self.shared.feeds
    }

    /// The privileged task state, at most one physics period old.
    pub fn task_state(&self) -> Result<TaskState, PickError> {
        self.shared.task_state()
    }

    /// Position (m) and orientation (w x y z) of the cube.
    pub fn cube_pose(&self) -> Result<crate::Pose, PickError> {
        let state = self.task_state()?;
        Ok(crate::Pose {
            position: state.cube_position,
            quaternion: state.cube_quaternion,
        })
    }

    /// Whether the task is done now.
    pub fn success(&self) -> Result<bool, PickError> {
        Ok(self.task_state()?.success)
    }

    /// Starts the episode of `seed`: cube and zone move, the arm stays where its servos hold it.
    ///
    /// # Errors
    /// [`PickError::Blocked`] when the arm is where the cube should go.
    pub fn reset(&self, seed: u64) -> Result<TaskState, PickError> {
        self.shared.reset(seed)
    }

    /// The switchboard of the bus's faults.
    pub fn faults(&self) -> &FaultHandle {
        &self.faults
    }

    /// How raw ticks and joint angles belong together.
    pub fn tick_map(&self) -> &TickMap {
        &self.map
    }

    /// A scripted operator for this arm.
    pub fn operator(&self) -> super::ScriptedPick {
        super::ScriptedPick::with_arm(self.arm.clone())
    }

    /// Whether all threads are well.
    ///
    /// # Errors
    /// [`PickError::Stopped`] with the first failure.
    pub fn check(&self) -> Result<(), PickError> {
        self.shared.check()
    }

    /// Stops everything and reports what failed, if anything did.
    pub fn stop(mut self) -> Result<(), PickError> {
        self.join();
        self.shared.check()
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.link = None;
        for thread in self.threads.drain(..) {
            // Panics were caught inside and recorded as the failure.
            let _ = thread.join();
        }
    }

    fn spawn(
        &mut self,
        name: &'static str,
        body: impl FnOnce(&Shared) -> Result<(), PickError> + Send + 'static,
    ) -> Result<(), PickError> {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || guard(&shared, name, body))
            .map_err(|e| PickError::Spawn {
                thread: name,
                reason: e.to_string(),
            })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Starts the render thread and waits until it has a working renderer, so that a machine
    /// without one is told so here.
    fn start_cameras(
        &mut self,
        model: Arc<Model>,
        fps: u32,
        size: (u32, u32),
    ) -> Result<(), PickError> {
        let (ready, answer) = sync_channel(1);
        self.spawn("pick-camera", move |shared| {
            yield_to_the_bus();
            let cameras = match Cameras::new(model, shared, size) {
                Ok(cameras) => cameras,
                Err(e) => {
                    let _ = ready.send(Err(e));
                    return Ok(());
                }
            };
            let _ = ready.send(Ok(()));
            cameras.run(shared, fps)
        })?;
        answer.recv().map_err(|_| self.shared.stopped())?
    }
}

impl Drop for SimServer {
    fn drop(&mut self) {
        self.join();
    }
}

fn check_config(config: &SimConfig) -> Result<(), PickError> {
    if !(0.05..=10.0).contains(&config.speed) {
        let value = config.speed.to_string();
        return Err(PickError::Config {
            field: "speed",
            value,
            problem: "is not between 0.05 and 10",
        });
    }
    if config.camera_fps > 120 {
        let value = config.camera_fps.to_string();
        return Err(PickError::Config {
            field: "camera_fps",
            value,
            problem: "is above 120",
        });
    }
    Ok(())
}

fn bus(error: EmulatorError) -> PickError {
    PickError::Bus {
        reason: error.to_string(),
    }
}

fn feeds(size: (u32, u32)) -> Vec<CameraFeed> {
    camera_infos(&[Some(size); CAMERAS.len()])
        .into_iter()
        .map(CameraFeed::new)
        .collect()
}

/// Runs a thread's body and turns its error or panic into the simulator's failure.
fn guard(shared: &Shared, name: &'static str, body: impl FnOnce(&Shared) -> Result<(), PickError>) {
    match catch_unwind(AssertUnwindSafe(|| body(shared))) {
        Ok(Ok(())) => {}
        Ok(Err(e)) => shared.fail(name, e.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            shared.fail(name, format!("panicked: {}", text.unwrap_or_default()));
        }
    }
}

fn publish(shared: &Shared, plant: &SimPlant, captured_ns: Nanos) {
    let task = plant.task().state();
    let mut snapshot = shared.snapshot();
    plant.task().world().save_into(&mut snapshot.state);
    snapshot.task = Some(task);
    snapshot.captured_ns = captured_ns;
}

fn run_world(
    shared: &Shared,
    chain: &SharedChain,
    mut plant: SimPlant,
    requests: &Receiver<ResetRequest>,
    speed: f64,
) -> Result<(), PickError> {
    let clock = MonotonicClock;
    let mut last = clock.now();
    let mut due = last;
    while !shared.stopping() {
        // A late round starts the grid anew instead of hurrying to catch up.
        due = (due + WORLD_PERIOD_NS).max(clock.now());
        clock.sleep_until(due);
        while let Ok(request) = requests.try_recv() {
            let result = plant
                .task_mut()
                .rearrange(request.seed)
                .map(|()| plant.task().state());
            publish(shared, &plant, clock.now());
            // Whoever asked may have given up waiting.
            let _ = request.answer.send(result);
        }
        let now = clock.now();
        chain.step((now - last) as f64 * 1e-9 * speed, &mut plant);
        last = now;
        if let Some(failure) = plant.take_failure() {
            return Err(failure.into());
        }
        publish(shared, &plant, now);
    }
    Ok(())
}

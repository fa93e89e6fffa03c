//! The world in lockstep for other processes and languages, over a Unix socket.
//!
//! Every connection has a world of its own, which waits for its client: the same seed and actions
//! give the same answers, however slow the client is. Messages are framed as those of [`link`]:
//!
//! ```text
//! u32 LE header length │ u32 LE payload length │ header: JSON │ payload: raw bytes
//!
//! server  {"type":"hello","version":1,"world":…,"joints":[…],"cameras":[{"name":…,"width":…,"height":…}]}
//! client  {"type":"reset","seed":7}                          or
//!         {"type":"step","action":[6 numbers],"seconds":0.05}
//! server  {"type":"observation","state":[6 numbers],"reward":0.0,"success":false,"time_s":0.05},
//!         payload: the RGB images, one after the other in the order of the cameras;
//!         or {"type":"error","message":…}
//! ```
//!
//! The server speaks first; then every request gets one answer. Joints are in LeRobot's units, as
//! datasets hold them; measurements and targets are rounded to the servos' steps, as those of `sinew eval`
//! and `sinew record --lockstep` are. A success is a task that has been done for 0.5 s, as there too: the
//! reward is 1 then, and 0 before. After an error about a value (an action that is not finite, say) the
//! connection goes on; after bytes that are not the protocol it is closed. Only the owner of the
//! socket file can connect.
//!
//! [`link`]: super::link

use super::error::PickError;
use super::feed::CameraInfo;
use super::link::socket::{SocketServer, ThreadNames, with_timeouts};
use super::link::{Decoder, protocol, read_message, write_message};
use super::lockstep::{DONE_FOR_S, LockstepPick};
use super::scene::{DOF, WORLD};
use serde::{Deserialize, Serialize};
use sinew_hardware::Units;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Version of the protocol.
pub const SERVE_VERSION: u32 = 1;
/// Longest simulated time of one step, s.
pub const LONGEST_STEP_S: f64 = 1.0;
/// Worlds, and so connections, at once.
pub const MOST_WORLDS: usize = 16;

/// How often a waiting thread looks whether it is to stop.
const POLL: Duration = Duration::from_millis(50);
/// A client that takes nothing for this long is dropped.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Starts the episode of a seed.
    Reset {
        /// The seed.
        seed: u64,
    },
    /// Drives the arm for some simulated time.
    Step {
        /// Target of each joint, LeRobot's units.
        action: Vec<f64>,
        /// How long, s; above 0, at most [`LONGEST_STEP_S`].
        seconds: f64,
    },
}

/// What the server sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Answer {
    /// First message of every connection.
    Hello {
        /// [`SERVE_VERSION`] of the server.
        version: u32,
        /// Name of the world.
        world: String,
        /// Names of the joints, as in datasets.
        joints: Vec<String>,
        /// The cameras, in the order of the images.
        cameras: Vec<CameraInfo>,
    },
    /// The world after a request; the payload holds the images.
    Observation {
        /// Measured joint positions, LeRobot's units.
        state: Vec<f32>,
        /// 1 on success, else 0.
        reward: f32,
        /// Whether the task has been done for [`DONE_FOR_S`].
        success: bool,
        /// Simulated time since the reset, s.
        time_s: f64,
    },
    /// The request was refused.
    Error {
        /// Why, and what would be right.
        message: String,
    },
}

/// Serves worlds until dropped; then the socket file is gone.
#[derive(Debug)]
pub struct EpisodeServer {
    socket: SocketServer,
}

impl EpisodeServer {
    /// Listens at `path`; `camera_size` is the cameras' image size in pixels (width, height), `None`
    /// for no cameras. Makes one world at once, so that whatever is missing shows here.
    ///
    /// # Errors
    /// [`PickError::Link`] when the socket cannot be made, and those of [`LockstepPick::new`].
    pub fn start(path: &Path, camera_size: Option<(u32, u32)>) -> Result<Self, PickError> {
        drop(LockstepPick::new(0, camera_size)?);
        let units = Units::default_of(&super::scene::blueprint()?)?;
        let names = ThreadNames {
            listener: "pick-serve",
            client: "pick-world",
        };
        let client = move |stream, stop: &AtomicBool, others| {
            serve(stream, camera_size, &units, stop, others)
        };
        SocketServer::start(path, names, client).map(|socket| Self { socket })
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        self.socket.path()
    }

    /// Whether the server still listens.
    pub fn is_running(&self) -> bool {
        self.socket.is_running()
    }
}

/// One client, from hello to goodbye.
fn serve(
    mut stream: UnixStream,
    camera_size: Option<(u32, u32)>,
    units: &Units,
    stop: &AtomicBool,
    others: usize,
) -> Result<(), PickError> {
    with_timeouts(&stream, POLL, WRITE_TIMEOUT)?;
    let mut scratch = Vec::new();
    if others >= MOST_WORLDS {
        let message = format!("{MOST_WORLDS} clients are connected, which is the most; try later");
        return write_message(&mut stream, &mut scratch, &Answer::Error { message }, &[]);
    }
    let mut host = Host {
        world: LockstepPick::new(0, camera_size)?,
        units,
        images: Vec::new(),
        begun: false,
    };
    write_message(&mut stream, &mut scratch, &host.hello(), &[])?;
    let mut decoder = Decoder::default();
    while !stop.load(Ordering::Acquire) {
        let request = match read_message::<Request>(&mut stream, &mut decoder) {
            Ok((request, payload)) if payload.is_empty() => request,
            Ok(_) => {
                let message = "a request has no payload".to_owned();
                write_message(&mut stream, &mut scratch, &Answer::Error { message }, &[])?;
                return Err(protocol("a request came with a payload".to_owned()));
            }
            Err(e) if e.is_timeout() => continue,
            Err(e) => {
                let result = e.into_result();
                if let Err(error) = &result {
                    let message = error.to_string();
                    // The client may be gone; the first error is the one to report.
                    let _ =
                        write_message(&mut stream, &mut scratch, &Answer::Error { message }, &[]);
                }
                return result;
            }
        };
        host.images.clear();
        let answer = host.answer(&request).unwrap_or_else(|error| {
            host.images.clear();
            Answer::Error {
                message: error.to_string(),
            }
        });
        write_message(&mut stream, &mut scratch, &answer, &host.images)?;
    }
    Ok(())
}

/// A client's world.
struct Host<'a> {
    world: LockstepPick,
    units: &'a Units,
    /// The images of the last answer.
    images: Vec<u8>,
    /// Whether an episode was begun.
    begun: bool,
}

impl Host<'_> {
    fn hello(&self) -> Answer {
        Answer::Hello {
            version: SERVE_VERSION,
            world: WORLD.to_owned(),
            joints: self.units.names().to_vec(),
            cameras: self.world.cameras().to_vec(),
        }
    }

    fn answer(&mut self, request: &Request) -> Result<Answer, PickError> {
        match request {
            Request::Reset { seed } => {
                self.world.reset(*seed)?;
                self.begun = true;
            }
            Request::Step { action, seconds } => {
                if !self.begun {
                    let problem = "no episode has begun; send a reset first".to_owned();
                    return Err(PickError::Step { problem });
                }
                let (targets, seconds) = self.check_step(action, *seconds)?;
                self.world.advance(&targets, seconds)?;
            }
        }
        let seen = self.world.observe()?;
        for frame in &seen.frames {
            self.images.extend_from_slice(&frame.data);
        }
        let mut state = vec![0.0; DOF];
        self.units.to_lerobot(&seen.positions, &mut state);
        let success = self.world.is_done_for(DONE_FOR_S);
        Ok(Answer::Observation {
            state,
            reward: f32::from(u8::from(success)),
            success,
            time_s: seen.state.time_s,
        })
    }

    /// The targets of a step, rad, and its length, s.
    fn check_step(&self, action: &[f64], seconds: f64) -> Result<([f64; DOF], f64), PickError> {
        let problem = if action.len() != DOF {
            format!("the action has {} values, {DOF} are needed", action.len())
        } else if let Some(i) = action.iter().position(|value| !value.is_finite()) {
            format!("the action is {} for {}", action[i], self.units.names()[i])
        } else if !(seconds > 0.0 && seconds <= LONGEST_STEP_S) {
            format!("it is {seconds} s long; choose more than 0, at most {LONGEST_STEP_S} s")
        } else {
            let mut values = [0.0; DOF];
            for (value, wanted) in values.iter_mut().zip(action) {
                *value = *wanted as f32;
            }
            let mut targets = [0.0; DOF];
            self.units.from_lerobot(&values, &mut targets);
            return Ok((targets, seconds));
        };
        Err(PickError::Step { problem })
    }
}

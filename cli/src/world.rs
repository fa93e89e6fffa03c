//! What surrounds the robot: a simulated world in this process or another one, or nothing that we
//! know of.

use anyhow::Result;
use sinew_runtime::Frame;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(feature = "sim")]
pub(crate) use simulated::*;

/// Where `sinew sim so101-pick` puts its port unless told otherwise.
pub(crate) fn default_port() -> PathBuf {
    runtime_dir().join("sinew-so101-pick.port")
}

/// The socket that belongs to a port.
pub(crate) fn socket_of(port: &Path) -> PathBuf {
    port.with_extension("link")
}

fn runtime_dir() -> PathBuf {
    std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// A camera's newest frames.
#[derive(Clone)]
pub(crate) struct Camera {
    pub(crate) name: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    newest: Arc<dyn Fn(u64) -> Option<Arc<Frame>> + Send + Sync>,
}

impl std::fmt::Debug for Camera {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Camera")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Camera {
    /// The newest frame, if its number is above `seen`.
    pub(crate) fn newer_than(&self, seen: u64) -> Option<Arc<Frame>> {
        (self.newest)(seen)
    }
}

#[cfg(feature = "sim")]
mod simulated {
    use super::*;
    use crate::failure::usage;
    use sinew_sim::pick::link::LinkClient;
    use sinew_sim::pick::realtime::SimServer;
    use sinew_sim::pick::{CameraFeed, ScriptedPick, TaskState};

    /// The surroundings.
    #[derive(Debug, Clone)]
    pub(crate) enum World {
        /// Unknown: a real robot.
        Real,
        /// Simulated in this process.
        Here(Arc<SimServer>),
        /// Simulated by `sinew sim` in another one.
        There(Arc<LinkClient>),
    }

    impl World {
        /// The world that belongs to the arguments: the one behind `--sim`, or behind the port's own
        /// socket.
        pub(crate) fn find(args: &crate::args::RobotArgs) -> Result<Self> {
            let socket = match (&args.sim, args.port.as_deref()) {
                (Some(socket), _) => Some(socket.clone()),
                (None, Some("sim")) => Some(socket_of(&default_port())),
                (None, Some(port)) => Some(socket_of(Path::new(port))).filter(|s| s.exists()),
                (None, None) => None,
            };
            match socket {
                Some(socket) => Ok(Self::There(Arc::new(
                    LinkClient::connect(&socket).map_err(usage)?,
                ))),
                None => Ok(Self::Real),
            }
        }

        /// The cameras.
        pub(crate) fn cameras(&self) -> Vec<Camera> {
            let feeds: &[CameraFeed] = match self {
                Self::Real => &[],
                Self::Here(server) => server.cameras(),
                Self::There(client) => client.cameras(),
            };
            let camera = |feed: &CameraFeed| {
                let info = feed.info().clone();
                let feed = feed.clone();
                Camera {
                    name: info.name,
                    width: info.width,
                    height: info.height,
                    newest: Arc::new(move |seen| feed.newer_than(seen)),
                }
            };
            feeds.iter().map(camera).collect()
        }

        /// The privileged task state; `None` for a real robot.
        pub(crate) fn task_state(&self) -> Result<Option<TaskState>> {
            match self {
                Self::Real => Ok(None),
                Self::Here(server) => Ok(Some(server.task_state()?)),
                Self::There(client) => Ok(client.task_state()?),
            }
        }

        /// Starts an episode; does nothing for a real robot.
        pub(crate) fn reset(&self, seed: u64) -> Result<()> {
            match self {
                Self::Real => Ok(()),
                Self::Here(server) => server.reset(seed).map(drop).map_err(Into::into),
                Self::There(client) => client.reset(seed).map_err(Into::into),
            }
        }

        /// A scripted operator, where there is a task.
        pub(crate) fn operator(&self) -> Result<ScriptedPick> {
            match self {
                Self::Real => Err(usage(
                    "the scripted operator needs a simulated task; start `sinew sim so101-pick` and use --port sim",
                )),
                Self::Here(server) => Ok(server.operator()),
                Self::There(_) => Ok(ScriptedPick::new(&sinew_sim::pick::PickTask::new(0)?)?),
            }
        }

        /// Whether this is a simulation.
        pub(crate) fn is_simulated(&self) -> bool {
            !matches!(self, Self::Real)
        }
    }
}

#[cfg(not(feature = "sim"))]
pub(crate) use real::*;

#[cfg(not(feature = "sim"))]
mod real {
    use super::*;
    use crate::failure::usage;

    /// The surroundings: unknown, because simulation was not built in.
    #[derive(Debug, Clone)]
    pub(crate) enum World {
        /// A real robot.
        Real,
    }

    impl World {
        /// The world that belongs to the arguments. A simulator's is refused: without its cameras
        /// and task it would be a robot with less than was asked for.
        pub(crate) fn find(args: &crate::args::RobotArgs) -> Result<Self> {
            let simulated = match (&args.sim, args.port.as_deref()) {
                (Some(_), _) | (None, Some("sim")) => true,
                (None, Some(port)) => socket_of(Path::new(port)).exists(),
                (None, None) => false,
            };
            if simulated {
                return Err(usage(
                    "this sinew was built without simulation and cannot reach a simulator; build it with `--features sim`, or name a real robot's --port",
                ));
            }
            Ok(Self::Real)
        }

        /// No cameras: those of a real robot are not driven yet.
        pub(crate) fn cameras(&self) -> Vec<Camera> {
            Vec::new()
        }

        /// Does nothing for a real robot.
        pub(crate) fn reset(&self, _seed: u64) -> Result<()> {
            Ok(())
        }

        /// Whether this is a simulation.
        pub(crate) fn is_simulated(&self) -> bool {
            false
        }
    }
}

//! A chain of STS3215 servos in software, byte for byte, behind a pseudo-terminal.
//!
//! The path that data takes:
//!
//! ```text
//! client ─► pty ─► server (thread, wire timing) ─► chain (packets) ─► servo (control table, profile, protection)
//! client ◄─ pty ◄─ faults (noise, loss, delay)  ◄─ status packets        │ drives ▼   ▲ measurements
//!                                                                        plant (InertialPlant, or MuJoCo)
//! ```
//!
//! Read [`servo`] for what one servo does, [`chain`] for what a chain answers, then [`server`].
//! Whoever owns the world steps it: [`SharedChain::step`] advances setpoints, lets a [`Plant`]
//! move, and puts the measured positions back into the control tables. The chain is locked only
//! while numbers are copied, so that the bus answers promptly beside a slow physics step.
//!
//! Not modelled: the PID gains, dead zones and start-up force (the plant is the controller), and
//! damping mode (`Torque_Enable` = 2).

pub mod chain;
pub mod faults;
mod line;
mod memory;
pub mod plant;
mod profile;
mod protection;
mod pty;
pub mod server;
pub mod servo;
mod store;

pub use chain::{EmulatedChain, Reply, ReplyPart, SharedChain};
pub use faults::{Fault, FaultHandle, FaultKind};
pub use plant::{DriveMode, InertialPlant, Plant, PlantThread, ServoDrive, ServoMeasurement};
pub use server::{PtyOptions, PtyServer, ServerStats};
pub use servo::{Servo, ServoConfig};

use std::path::PathBuf;
use thiserror::Error;

/// What can go wrong while emulating a bus.
#[derive(Debug, Error)]
pub enum EmulatorError {
    /// The system gave no pseudo-terminal, thread or event descriptor.
    #[error(
        "cannot {what} for the emulated bus: {source}; check that /dev/pts is mounted and descriptors are left"
    )]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The stable name of the port could not be made.
    #[error(
        "cannot link {link:?} to the emulated port: {source}; choose a path that you may write and that is not a file"
    )]
    Link {
        /// The link asked for.
        link: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file of kept control tables could not be read or written.
    #[error(
        "cannot use {path:?} to keep the servos' EEPROM: {source}; check the folder and its permissions"
    )]
    Store {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file of kept control tables is not one.
    #[error(
        "{path:?} does not hold the EEPROM of an emulated chain: {reason}; delete it to start with new servos"
    )]
    StoreFormat {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Two servos of one chain were given the same id, or an id that no servo can have.
    #[error("servo id {id} is {reason}; give each servo its own id from 0 to 252")]
    Id {
        /// The id.
        id: u8,
        /// Why not.
        reason: &'static str,
    },
    /// A fault description that means nothing.
    #[error(
        "fault {text:?}: {reason}; write for example silent:3, noise:0.01, truncate:2@0.1, delay:4=5ms, overload:6, unplug"
    )]
    Fault {
        /// What was given.
        text: String,
        /// What does not fit.
        reason: String,
    },
}

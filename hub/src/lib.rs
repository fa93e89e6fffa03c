//! The hub: a self-hosted server that Hugging Face's clients understand, and a client for hubs.
//!
//! `xet/` holds Xet's formats and arithmetic, for server and client alike: files become chunks, chunks
//! become xorbs, shards say which chunks of which xorbs make which file. It touches neither disk nor
//! network. `client/` moves files to and from hubs. `server/` answers them: `accounts/` says who may do what, `repos/`
//! keeps commits and files, `cas/` large files, `objects/` bytes, `db/` everything else;
//! `operate/` is what operators do to it.
//!
//! `command/` is the command line on top of both.
//!
//! Features: `client`, `server`, `command`.

#[cfg(feature = "server")]
pub mod accounts;
#[cfg(feature = "server")]
mod audit;
#[cfg(feature = "server")]
mod cas;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "command")]
pub mod command;
#[cfg(feature = "server")]
pub mod db;
#[cfg(feature = "server")]
pub mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(any(feature = "client", feature = "server"))]
mod glob;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "server")]
mod objects;
#[cfg(feature = "server")]
pub mod operate;
#[cfg(any(feature = "client", feature = "server"))]
mod paths;
#[cfg(feature = "server")]
mod repos;
#[cfg(feature = "server")]
pub mod server;
pub mod xet;

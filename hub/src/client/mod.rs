//! A client for hubs: this one, and any other that speaks Hugging Face's protocol.
//!
//! Blocking, with threads of its own. `http.rs` has the one way in which requests are made, tried again
//! and refused; [`HubClient`] asks a hub's API; `xet/` moves files to and from its chunk store. On top of them
//! [`push`] and [`pull`] make a repository of a folder and the reverse, and [`compare`] says in what they differ.
//! Who asks which hub is a [`Session`], which shares its login with Hugging Face's own clients.

mod choice;
mod commit;
mod compare;
mod device;
mod digest;
mod error;
mod fetch;
mod folder;
mod http;
mod hub;
mod lfs;
mod names;
mod parallel;
mod pull;
mod push;
mod repos;
mod session;
mod snapshot;
mod tree;
pub mod xet;

pub use choice::Choice;
pub use commit::{Candidate, Change, Committed, Message, Mode, PullRequest, SAMPLE_BYTES};
pub use compare::{Difference, by_path, compare};
pub use device::DeviceLogin;
pub use error::{ClientError, ClientResult};
pub use folder::{LocalFile, guess_kind, scan};
pub use http::{Http, HttpOptions};
pub use hub::{HubClient, OrgName, Whoami};
pub use names::{Kind, RepoId, RepoName};
pub use pull::{PullOptions, PullReport, pull};
pub use push::{PushOptions, PushReport, push};
pub use repos::{RepoHead, RepoLine};
pub use session::{Environment, Session, Stored};
pub use snapshot::{RepoVersion, Snapshot, snapshot, snapshot_cache};
pub use tree::{Content, Entry};

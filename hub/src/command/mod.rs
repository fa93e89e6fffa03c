//! `sinew hub`: arguments and what they do. The binary adds [`Hub`] to its subcommands and calls [`Hub::run`];
//! `examples/hub.rs` is the same without the rest of Sinew.
//!
//! For users: `login`, `create`, `push`, `pull`, `ls`, `rm`, `diff`, in `transfer.rs` and `repository.rs`. For
//! operators, on the machine that has the data: `serve` and the rest, in `serve.rs`, `people.rs` and `operate.rs`.

mod args;
mod failure;
pub mod here;
mod login;
mod operate;
mod people;
pub mod places;
mod progress;
mod repository;
mod serve;
mod text;
mod transfer;

pub use args::Hub;
pub use failure::Failure;

use crate::client::Environment;
use args::Verb;
use std::io::Write;

/// What a command has around it, so that tests can give it another.
pub struct Scene<'a> {
    /// Variables.
    pub environment: Environment,
    /// Where results go.
    pub out: &'a mut (dyn Write + Send),
    /// Whether a person may watch how far the work is, on stderr.
    pub shows_progress: bool,
}

impl std::fmt::Debug for Scene<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene").finish_non_exhaustive()
    }
}

impl Scene<'_> {
    /// A line of results.
    fn say(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(Failure::output)
    }

    /// Results as JSON.
    fn json(&mut self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value);
        let text = text.map_err(|e| Failure::Failed(format!("cannot print JSON: {e}")))?;
        self.say(&text)
    }
}

impl Hub {
    /// Carries the command out in this process.
    ///
    /// # Errors
    /// If it cannot; the message is for people, [`Failure::exit_code`] for scripts.
    pub fn run(&self) -> Result<(), Failure> {
        self.run_in(&mut Scene {
            environment: Environment::of_process(),
            out: &mut std::io::stdout(),
            shows_progress: !self.is_quiet(),
        })
    }

    /// Whether output that nobody reads any more should end the process quietly, as in `… ls | head`.
    pub fn may_end_with_reader(&self) -> bool {
        !matches!(self.verb, Verb::Serve(_))
    }

    /// Carries the command out.
    ///
    /// # Errors
    /// As [`Hub::run`].
    pub fn run_in(&self, scene: &mut Scene<'_>) -> Result<(), Failure> {
        match &self.verb {
            Verb::Login(args) => login::login(args, scene),
            Verb::Create(args) => repository::create(args, scene),
            Verb::Push(args) => transfer::push(args, scene),
            Verb::Pull(args) => transfer::pull(args, scene),
            Verb::Diff(args) => transfer::diff(args, scene),
            Verb::Ls(args) => repository::ls(args, scene),
            Verb::Rm(args) => repository::rm(args, scene),
            Verb::Serve(args) => serve::serve(args, scene),
            Verb::User(args) => people::user(args, scene),
            Verb::Org(args) => people::org(args, scene),
            Verb::Token(args) => people::token(args, scene),
            Verb::Fsck(args) => operate::fsck(args, scene),
            Verb::Gc(args) => operate::gc(args, scene),
            Verb::Stats(args) => operate::stats(args, scene),
            Verb::Backup(args) => operate::backup(args, scene),
            Verb::Restore(args) => operate::restore(args, scene),
            Verb::Audit(args) => operate::audit(args, scene),
        }
    }
}

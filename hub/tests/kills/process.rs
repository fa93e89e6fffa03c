//! Processes that are killed: the hub itself, and commands that talk to it.

use crate::support::program::{program, serve};
use std::io::{Read, Seek};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The longest that anything may take: far above what it needs, so that it tells a hang from a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// A command that somebody else may kill.
#[derive(Debug, Clone, Default)]
pub(crate) struct Victim(Arc<Mutex<Option<Child>>>);

impl Victim {
    /// Runs a command to its end and returns what it printed, or why it failed.
    pub(crate) fn run(&self, command: &mut Command) -> Result<String, String> {
        let mut printed = tempfile::tempfile().unwrap();
        let output = printed.try_clone().unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        *self.0.lock().unwrap() = Some(child);
        let start = Instant::now();
        let status = loop {
            let ended = self.0.lock().unwrap().as_mut().unwrap().try_wait().unwrap();
            if let Some(status) = ended {
                break status;
            }
            assert!(start.elapsed() < LIMIT, "{command:?} does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        *self.0.lock().unwrap() = None;
        printed.rewind().unwrap();
        let mut text = String::new();
        printed.read_to_string(&mut text).unwrap();
        if status.success() {
            Ok(text)
        } else {
            Err(format!("{command:?}: {status}: {text}"))
        }
    }

    /// Kills the command, if one is running, and says whether one was.
    pub(crate) fn kill(&self) -> bool {
        let mut child = self.0.lock().unwrap();
        child.as_mut().is_some_and(|child| child.kill().is_ok())
    }
}

/// Where a hub's data are and how it is reached; the hub comes and goes.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub port: u16,
    /// Of the first administrator, `admin`.
    pub token: String,
    folder: PathBuf,
    database: Option<String>,
}

impl Place {
    pub(crate) fn new(folder: &TempDir, database: Option<String>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            port: listener.local_addr().unwrap().port(),
            token: String::new(),
            folder: folder.path().join("hub"),
            database,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.folder.join("objects")
    }

    pub(crate) fn options(&self) -> sinew_hub::server::Options {
        let mut options = sinew_hub::server::Options::in_folder(&self.folder);
        if let Some(database) = &self.database {
            options.database.clone_from(database);
        }
        options
    }

    /// `hub VERB` on the hub's own data.
    pub(crate) fn operate(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).arg("--data").arg(&self.folder);
        if let Some(database) = &self.database {
            command.args(["--database", database]);
        }
        command
    }

    fn serving(&self) -> Command {
        let port = self.port.to_string();
        self.operate(&["serve", "--json", "--host", "127.0.0.1", "--port", &port])
    }

    /// Starts the hub without waiting for it.
    pub(crate) fn spawn(&self) -> Child {
        self.serving()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Starts the hub, which says where it is once it can be asked, and who administers it at its first start.
    pub(crate) fn start(&mut self) -> Child {
        let (child, said) = serve(&mut self.serving());
        if let Some(token) = said["token"].as_str() {
            token.clone_into(&mut self.token);
        }
        child
    }
}

//! The `sinew` command as a process that a test cannot wait for in vain.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::{NamedTempFile, TempDir};

/// The longest that any command may take to end, or anything to happen: far above what an idle
/// machine needs, so that it tells a hang from a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The program under test: the one built beside the running test.
///
/// # Panics
/// When it was not built.
pub fn sinew() -> PathBuf {
    let test = std::env::current_exe().expect("the system knows this program's path");
    let program = test
        .parent()
        .and_then(Path::parent)
        .map(|folder| folder.join("sinew"));
    let program = program.expect("the test lies two folders deep");
    assert!(
        program.is_file(),
        "{} is missing: run `cargo build -p sinew` first",
        program.display()
    );
    program
}

/// Waits until `done`.
///
/// # Panics
/// When that takes longer than [`LIMIT`].
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// The JSON on standard output.
    ///
    /// # Panics
    /// When there is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }

    /// The one sentence in which the command said what is wrong.
    ///
    /// # Panics
    /// When there is none, or several, or one with a program's innards in it.
    pub fn complaint(&self) -> &str {
        for word in [
            "panicked",
            "RUST_BACKTRACE",
            "stack backtrace",
            "report this as a bug",
        ] {
            assert!(!self.stderr.contains(word), "{word}: {}", self.stderr);
        }
        let mut lines = self
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix("sinew: "));
        let said = lines
            .next()
            .unwrap_or_else(|| panic!("no `sinew: …` line: {self:?}"));
        assert_eq!(
            lines.next(),
            None,
            "more than one complaint: {}",
            self.stderr
        );
        said
    }

    /// Checks that the run failed with `code`, and that its one complaint has all of `words`.
    ///
    /// # Panics
    /// When not.
    pub fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let said = self.complaint();
        for word in words {
            assert!(said.contains(word), "no `{word}` in: {said}");
        }
        says_it_once(said);
    }

    /// Expects these words in what a person sees, and no line that does not fit 100 columns.
    #[track_caller]
    pub fn prints(&self, words: &[&str]) {
        for line in self.stdout.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        for word in words {
            assert!(self.stdout.contains(word), "no `{word}` in {}", self.stdout);
        }
    }

    /// Checks that the command ended with 0.
    ///
    /// # Panics
    /// When not.
    pub fn succeeded(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
    }
}

/// A message that wraps another easily prints it twice.
fn says_it_once(said: &str) {
    let clauses: Vec<&str> = said
        .split([':', ';', '('])
        .map(str::trim)
        .filter(|c| c.len() > 20)
        .collect();
    for (i, clause) in clauses.iter().enumerate() {
        assert!(
            !clauses[..i].contains(clause),
            "says twice `{clause}`: {said}"
        );
    }
}

/// A command that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: NamedTempFile,
    stderr: NamedTempFile,
}

impl Running {
    /// Starts `sinew` with these arguments in the checkout's root, without a terminal.
    ///
    /// # Panics
    /// When it does not start.
    pub fn sinew(arguments: &[&str]) -> Self {
        Self::sinew_with(arguments, &[])
    }

    /// The same, with environment variables.
    ///
    /// # Panics
    /// When it does not start.
    pub fn sinew_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(sinew());
        command.args(arguments).envs(variables.iter().copied());
        // A user who asked for backtraces must not get one for a mistyped path.
        command
            .env("RUST_BACKTRACE", "1")
            .env_remove("RUST_LOG")
            .current_dir(crate::root());
        let file = || NamedTempFile::new().expect("a temporary file");
        let (stdout, stderr) = (file(), file());
        let to =
            |file: &NamedTempFile| -> File { file.reopen().expect("the temporary file opens") };
        command
            .stdin(Stdio::null())
            .stdout(to(&stdout))
            .stderr(to(&stderr));
        let child = command.spawn().expect("sinew starts");
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// Runs `sinew` to its end.
    ///
    /// # Panics
    /// When it does not end within [`LIMIT`].
    pub fn to_end(arguments: &[&str]) -> Outcome {
        Self::sinew(arguments).wait()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: i32) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: no pointers; the process is our child and not yet waited for, so the id is its own.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0, "{}", std::io::Error::last_os_error());
    }

    /// What it printed so far.
    ///
    /// # Panics
    /// When it is not text.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(self.stdout.path()).expect("text")
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("the child can be asked")
            .is_none()
    }

    /// Checks that it still runs, and says why not.
    ///
    /// # Panics
    /// When it ended.
    pub fn still_runs(&mut self) {
        if let Some(status) = self.child.try_wait().expect("the child can be asked") {
            panic!("ended early: {:?}", self.outcome(status));
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`LIMIT`].
    pub fn wait(self) -> Outcome {
        self.wait_for(LIMIT)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within `limit`; it is killed then.
    pub fn wait_for(mut self, limit: Duration) -> Outcome {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return self.outcome(status);
            }
            if start.elapsed() > limit {
                let _ = self.child.kill();
                let status = self
                    .child
                    .wait()
                    .expect("the killed child can be waited for");
                panic!("hung for {limit:?}: {:?}", self.outcome(status));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn outcome(&self, status: ExitStatus) -> Outcome {
        let text = |file: &NamedTempFile| {
            String::from_utf8_lossy(&std::fs::read(file.path()).unwrap_or_default()).into_owned()
        };
        Outcome {
            code: status.code(),
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `sinew sim so101-pick` in a process of its own.
#[derive(Debug)]
pub struct Simulator {
    /// The process.
    pub process: Running,
    port: String,
    _folder: TempDir,
}

impl Simulator {
    /// Starts it, without bus timing, and waits until it serves.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(arguments: &[&str]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let port = folder
            .path()
            .join("arm.port")
            .to_string_lossy()
            .into_owned();
        let mut all = vec![
            "sim",
            "so101-pick",
            "--no-wire-timing",
            "--json",
            "--port-link",
            &port,
        ];
        all.extend(arguments);
        let mut process = Running::sinew(&all);
        wait_until("the simulator serves", || {
            process.still_runs();
            process.printed().contains("\"device\"")
        });
        Self {
            process,
            port,
            _folder: folder,
        }
    }

    /// The servo bus.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// The socket of its task state.
    pub fn socket(&self) -> PathBuf {
        Path::new(&self.port).with_extension("link")
    }

    /// Ends it as nobody should.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn kill(self) {
        self.process.signal(libc::SIGKILL);
    }
}

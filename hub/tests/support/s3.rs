//! A real server that speaks S3, in a folder of its own: the crate s3s-fs.

use super::peers;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const KEY: &str = "hub";
const SECRET: &str = "a secret of the tests";

/// The server and its folder.
pub(crate) struct S3 {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl S3 {
    /// With one bucket, `hub`.
    pub(crate) fn start() -> Self {
        let program = peers().join("s3/bin/s3s-fs");
        assert!(
            program.exists(),
            "{} is missing: run scripts/setup interop",
            program.display()
        );
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("hub")).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let process = Command::new(program)
            .args([
                "--access-key",
                KEY,
                "--secret-key",
                SECRET,
                "--host",
                "127.0.0.1",
            ])
            .args(["--port", &port.to_string()])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "s3s-fs does not listen"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            process,
            port,
            folder,
        }
    }

    /// How the hub finds it.
    pub(crate) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
    }

    /// Where the bucket's objects lie.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.path().join("hub")
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

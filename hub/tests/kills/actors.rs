//! Who works on the hub while it is killed. Each has one command, which can be run again whenever it was cut off.

use crate::process::{Place, Victim};
use crate::support::program::program;
use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sinew_hub::client::{HttpOptions, HubClient, Kind, PushOptions, RepoId, by_path, push, scan};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// A file that the hub has acknowledged: where it is to be had from then on, and what it is.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    pub path: String,
    pub sha256: [u8; 32],
}

impl Promise {
    pub(crate) fn of(path: String, bytes: &[u8]) -> Self {
        Self {
            path,
            sha256: Sha256::digest(bytes).into(),
        }
    }
}

/// What a command came to.
pub(crate) type Done = Result<Vec<Promise>, String>;

/// Somebody who works on the hub.
pub(crate) trait Actor: Send {
    fn name(&self) -> &'static str;
    /// New work. What was begun before is done.
    fn prepare(&mut self, round: u64);
    /// Does the work, or what is missing of it.
    fn run(&mut self, place: &Place) -> Done;
    /// What to kill.
    fn victim(&self) -> Option<Victim> {
        None
    }
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Contents of a large file: mostly short, sometimes of several pieces, with a part that other rounds have too.
fn large(round: u64, salt: u64) -> Vec<u8> {
    let mut random = SmallRng::seed_from_u64(round ^ salt << 32);
    let len = if random.random_ratio(1, 4) {
        4_000_000
    } else {
        150_000
    };
    let common = noise(random.random_range(0..200_000), salt);
    [
        common,
        noise(random.random_range(1..len), random.next_u64()),
    ]
    .concat()
}

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let place = folder.join(path);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(place, bytes).unwrap();
}

/// Every file of a folder as it is promised at a commit.
fn promises(folder: &Path, repo: &str, commit: &str) -> Vec<Promise> {
    let files = scan(folder).unwrap();
    let promise = |file: &sinew_hub::client::LocalFile| {
        let path = format!("/{repo}/resolve/{commit}/{}", file.path);
        Promise::of(path, &fs::read(&file.place).unwrap())
    };
    files.iter().map(promise).collect()
}

fn options() -> HttpOptions {
    HttpOptions {
        backoff: Duration::from_millis(50),
        retries: 2,
        ..HttpOptions::default()
    }
}

fn client(place: &Place) -> HubClient {
    HubClient::new(&place.endpoint(), Some(place.token.clone()), options()).unwrap()
}

fn repo(kind: Kind, name: &str) -> RepoId {
    RepoId {
        kind,
        name: name.to_owned(),
    }
}

/// `sinew hub push`, a process of its own, into a data set that others write to as well.
pub(crate) struct Pusher {
    pub folder: PathBuf,
    pub victim: Victim,
    pub round: u64,
}

impl Actor for Pusher {
    fn name(&self) -> &'static str {
        "sinew hub push"
    }

    fn prepare(&mut self, round: u64) {
        self.round = round;
        let card = format!("---\ntags: [round-{round}]\n---\n");
        write(&self.folder, "README.md", card.as_bytes());
        write(
            &self.folder,
            "meta/info.json",
            br#"{"codebase_version":"v3.0"}"#,
        );
        write(&self.folder, "a/notes.txt", round.to_string().as_bytes());
        let name = format!("a/{}.bin", round % 3);
        write(&self.folder, &name, &large(round, 1));
    }

    fn run(&mut self, place: &Place) -> Done {
        let mut command = Command::new(program());
        command
            .arg("push")
            .arg(&self.folder)
            .args(["admin/shared", "--type", "dataset", "--json", "--quiet"])
            .env("HF_ENDPOINT", place.endpoint())
            .env("HF_TOKEN", &place.token)
            .env("HOME", self.folder.parent().unwrap());
        let said = self.victim.run(&mut command)?;
        let said: Value =
            serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
        let hub = client(place);
        let repo = repo(Kind::Dataset, "admin/shared");
        let head = hub.head(&repo, "main").map_err(|error| error.to_string())?;
        let commit = said["commits"][0]["commit"]
            .as_str()
            .unwrap_or(&head.commit);
        // What is read from the files at commit is there with the commit.
        let info = ask(place, "GET", "/api/datasets/admin/shared", "")?;
        let tag = format!("round-{}", self.round);
        if !info["tags"]
            .as_array()
            .is_some_and(|tags| tags.contains(&json!(tag)))
        {
            panic!("the commit {commit} is there without its card: {info}");
        }
        let refs = ask(place, "GET", "/api/datasets/admin/shared/refs", "")?;
        if refs["tags"][0]["name"] != "v3.0" {
            panic!("the commit {commit} is there without its version: {refs}");
        }
        Ok(promises(&self.folder, "datasets/admin/shared", commit))
    }

    fn victim(&self) -> Option<Victim> {
        Some(self.victim.clone())
    }
}

/// Our client inside the test, into the same data set.
pub(crate) struct Neighbour {
    pub folder: PathBuf,
}

fn push_folder(place: &Place, repo: &RepoId, folder: &Path) -> Result<String, String> {
    let hub = client(place);
    let told = |error: sinew_hub::client::ClientError| error.to_string();
    hub.create_repo(repo, true).map_err(told)?;
    let head = hub.head(repo, "main").map_err(told)?;
    let remote = by_path(hub.tree(repo, &head.commit, "", true).map_err(told)?);
    let local = scan(folder).map_err(told)?;
    let done = push(
        &hub,
        repo,
        &local,
        &remote,
        &PushOptions::default(),
        &Arc::default(),
    );
    let done = done.map_err(told)?;
    match done.commits.last() {
        Some(commit) => Ok(commit.commit.clone()),
        None => Ok(hub.head(repo, "main").map_err(told)?.commit),
    }
}

impl Actor for Neighbour {
    fn name(&self) -> &'static str {
        "a push inside the test"
    }

    fn prepare(&mut self, round: u64) {
        let text = format!("{round}\n").repeat(100);
        write(&self.folder, "b/notes.txt", text.as_bytes());
        write(
            &self.folder,
            &format!("b/{}.bin", round % 5),
            &large(round, 2),
        );
    }

    fn run(&mut self, place: &Place) -> Done {
        let commit = push_folder(place, &repo(Kind::Dataset, "admin/shared"), &self.folder)?;
        Ok(promises(&self.folder, "datasets/admin/shared", &commit))
    }
}

/// The real git.
pub(crate) struct Git {
    pub folder: PathBuf,
    pub victim: Victim,
}

impl Git {
    fn git(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("git");
        command
            .args([
                "-c",
                "user.name=A Tester",
                "-c",
                "user.email=a@b",
                "-c",
                "gc.auto=0",
            ])
            .args(arguments)
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        self.victim.run(&mut command)
    }

    /// Takes away what a killed git locked in its own folder.
    fn unlock(&self) {
        for folder in ["", "refs/heads", "refs/remotes/origin"] {
            let entries = fs::read_dir(self.folder.join(".git").join(folder));
            for entry in entries.into_iter().flatten().flatten() {
                if entry
                    .path()
                    .extension()
                    .is_some_and(|ending| ending == "lock")
                {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
        }
    }
}

impl Actor for Git {
    fn name(&self) -> &'static str {
        "git push"
    }

    fn prepare(&mut self, round: u64) {
        if !self.folder.join(".git").exists() {
            fs::create_dir_all(&self.folder).unwrap();
            self.git(&["init", "-q", "-b", "main"]).unwrap();
        }
        self.unlock();
        for number in 0..6 {
            let text = format!("{number} {round}\n").repeat(50);
            write(
                &self.folder,
                &format!("{}/{number}.txt", round % 4),
                text.as_bytes(),
            );
        }
        write(
            &self.folder,
            "notes.txt",
            &noise(200_000, round).map_to_hex(),
        );
        self.git(&["add", "-A"]).unwrap();
        self.git(&["commit", "-q", "-m", &format!("Round {round}")])
            .unwrap();
    }

    fn run(&mut self, place: &Place) -> Done {
        self.unlock();
        ask(
            place,
            "POST",
            "/api/repos/create",
            r#"{"name":"git","private":true,"exist_ok":true}"#,
        )?;
        let address = place.endpoint().replace("http://", "");
        let url = format!("http://admin:{}@{address}/admin/git", place.token);
        // Its first commit is not the hub's.
        self.git(&["push", "-q", "--force", &url, "main"])?;
        let commit = self.git(&["rev-parse", "HEAD"])?;
        let files = self.git(&["show", "--name-only", "--format=", "HEAD"])?;
        let promise = |path: &str| {
            let at = format!("/admin/git/resolve/{}/{path}", commit.trim());
            Promise::of(at, &fs::read(self.folder.join(path)).unwrap())
        };
        Ok(files.lines().map(promise).collect())
    }

    fn victim(&self) -> Option<Victim> {
        Some(self.victim.clone())
    }
}

trait Hex {
    fn map_to_hex(&self) -> Vec<u8>;
}

impl Hex for Vec<u8> {
    fn map_to_hex(&self) -> Vec<u8> {
        let digits = self.iter().map(|byte| format!("{byte:02x}"));
        digits.collect::<String>().into_bytes()
    }
}

/// A request with the administrator's token; an answer other than a success is an error, "409 exists" is none.
pub(crate) fn ask(place: &Place, method: &str, path: &str, body: &str) -> Result<Value, String> {
    let (status, text) = send(
        place,
        method,
        &format!("{}{path}", place.endpoint()),
        body.as_bytes(),
    )?;
    if !(200..300).contains(&status) && status != 409 {
        return Err(format!("{method} {path}: {status}: {text}"));
    }
    serde_json::from_str(&text).map_err(|error| format!("{path}: {error}: {text}"))
}

fn send(place: &Place, method: &str, url: &str, body: &[u8]) -> Result<(u16, String), String> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build();
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(url)
        .header("authorization", format!("Bearer {}", place.token))
        .header("content-type", "application/json")
        .body(body.to_vec())
        .unwrap();
    let told = |error: ureq::Error| format!("{method} {url}: {error}");
    let mut response = ureq::Agent::new_with_config(agent)
        .run(request)
        .map_err(told)?;
    let text = response.body_mut().read_to_string().map_err(told)?;
    Ok((response.status().as_u16(), text))
}

/// A client without Xet: an LFS batch, the object, the commit.
pub(crate) struct Lfs {
    pub round: u64,
}

impl Actor for Lfs {
    fn name(&self) -> &'static str {
        "an upload by LFS"
    }

    fn prepare(&mut self, round: u64) {
        self.round = round;
    }

    fn run(&mut self, place: &Place) -> Done {
        let bytes = large(self.round, 3);
        let oid = String::from_utf8(Sha256::digest(&bytes).to_vec().map_to_hex()).unwrap();
        ask(place, "POST", "/api/repos/create", r#"{"name":"lfs"}"#)?;
        let object = json!({"oid": oid, "size": bytes.len()});
        let batch = json!({"operation": "upload", "transfers": ["basic"], "objects": [object]});
        let batch = ask(
            place,
            "POST",
            "/admin/lfs.git/info/lfs/objects/batch",
            &batch.to_string(),
        )?;
        let upload = &batch["objects"][0]["actions"]["upload"]["href"];
        if let Some(url) = upload.as_str() {
            let (status, text) = send(place, "PUT", url, &bytes)?;
            if status != 200 {
                return Err(format!("PUT of an object: {status}: {text}"));
            }
        }
        let path = format!("{}.bin", self.round % 7);
        let lines = [
            json!({"key": "header", "value": {"summary": format!("Round {}", self.round)}}),
            json!({"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": oid, "size": bytes.len()}}),
        ];
        let lines = lines.map(|line| line.to_string()).join("\n");
        let done = ask(place, "POST", "/api/models/admin/lfs/commit/main", &lines)?;
        let commit = done["commitOid"].as_str().ok_or_else(|| done.to_string())?;
        Ok(vec![Promise::of(
            format!("/admin/lfs/resolve/{commit}/{path}"),
            &bytes,
        )])
    }
}

/// Pushes contents, removes them with their history in the next round, and pushes the same again later: `gc` has
/// something to remove, and to leave alone.
pub(crate) struct Churn {
    pub folder: PathBuf,
    pub round: u64,
}

impl Actor for Churn {
    fn name(&self) -> &'static str {
        "contents that come and go"
    }

    fn prepare(&mut self, round: u64) {
        self.round = round;
        write(&self.folder, "large.bin", &large(round / 2 % 3, 4));
        write(
            &self.folder,
            "small.txt",
            (round / 2 % 3).to_string().as_bytes(),
        );
    }

    fn run(&mut self, place: &Place) -> Done {
        let id = repo(Kind::Model, "admin/churn");
        if self.round.is_multiple_of(2) {
            push_folder(place, &id, &self.folder)?;
            return Ok(promises(&self.folder, "admin/churn", "main"));
        }
        let lines = [
            json!({"key": "header", "value": {"summary": "Away"}}),
            json!({"key": "deletedFile", "value": {"path": "large.bin"}}),
        ];
        let lines = lines.map(|line| line.to_string()).join("\n");
        let deleted = ask(place, "POST", "/api/models/admin/churn/commit/main", &lines);
        // Cut off after it was deleted.
        deleted.or_else(|error| {
            if error.contains(": 404: ") {
                Ok(Value::Null)
            } else {
                Err(error)
            }
        })?;
        ask(
            place,
            "POST",
            "/api/models/admin/churn/super-squash/main",
            "{}",
        )?;
        let small = fs::read(self.folder.join("small.txt")).unwrap();
        Ok(vec![Promise::of(
            "/admin/churn/resolve/main/small.txt".to_owned(),
            &small,
        )])
    }
}

/// The operator's `gc`.
pub(crate) struct Collector {
    pub victim: Victim,
}

impl Actor for Collector {
    fn name(&self) -> &'static str {
        "sinew hub gc"
    }

    fn prepare(&mut self, _: u64) {}

    fn run(&mut self, place: &Place) -> Done {
        self.victim.run(&mut place.operate(&["gc", "--json"]))?;
        Ok(Vec::new())
    }

    fn victim(&self) -> Option<Victim> {
        Some(self.victim.clone())
    }
}

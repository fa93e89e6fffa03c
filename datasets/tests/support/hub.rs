//! A hub for tests: serves dataset folders by the Hugging Face Hub's routes, large files through a
//! store on another port as a content network does, counts what is asked, and fails on demand.
#![allow(dead_code, reason = "each test program uses its own part")]

#[path = "hub_wire.rs"]
mod wire;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wire::{Answer, content, decoded, read_request};
pub(crate) use wire::{Asked, Host};

/// How an answer goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// This status with these headers.
    Status(u16, Vec<(&'static str, String)>),
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// A byte of the body each so many milliseconds.
    Drip(u64),
    /// No answer at all, for so many milliseconds.
    Silence(u64),
    /// The bytes after those that were asked for.
    OtherBytes,
    /// The whole file instead of a part.
    Whole,
    /// A body like this one.
    Body(Vec<u8>),
    /// Another ETag, as if the file had been replaced.
    OtherTag,
    /// Bytes that are no HTTP.
    Junk,
}

type Rule = (Box<dyn Fn(&Asked) -> bool + Send>, Trouble, u32);

/// A dataset that is served.
#[derive(Debug, Clone)]
struct Served {
    root: PathBuf,
    commit: String,
    tags: Vec<String>,
    /// Only for whoever sends this token.
    token: Option<String>,
    gated: bool,
    /// Commits before the last push, and what they hold.
    before: Vec<(String, PathBuf)>,
}

impl Served {
    /// The commit that a revision means, and what it holds.
    fn at(&self, revision: &str) -> Option<(&str, &Path)> {
        let now = revision == "main"
            || revision == self.commit
            || self.tags.iter().any(|t| t == revision);
        if now {
            return Some((&self.commit, &self.root));
        }
        let before = self.before.iter().find(|(commit, _)| commit == revision);
        before.map(|(commit, root)| (commit.as_str(), root.as_path()))
    }
}

/// The running hub.
pub(crate) struct TestHub {
    pub(crate) endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    hub: u16,
    store: u16,
    datasets: Mutex<HashMap<String, Served>>,
    rules: Mutex<Vec<Rule>>,
    log: Mutex<Vec<Asked>>,
    latency: Mutex<Duration>,
    /// Bytes a second of each connection.
    speed: Mutex<Option<f64>>,
    page: Mutex<usize>,
    /// Signed addresses of earlier numbers have expired.
    signature: AtomicU32,
    connections: AtomicU32,
    tags: Mutex<HashMap<PathBuf, String>>,
    stop: AtomicBool,
}

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

impl TestHub {
    pub(crate) fn start() -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (hub, store) = (bind(), bind());
        let shared = Arc::new(Shared {
            hub: hub.local_addr().unwrap().port(),
            store: store.local_addr().unwrap().port(),
            datasets: Mutex::default(),
            rules: Mutex::default(),
            log: Mutex::default(),
            latency: Mutex::default(),
            speed: Mutex::default(),
            page: Mutex::new(1000),
            signature: AtomicU32::new(1),
            connections: AtomicU32::new(0),
            tags: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        for (listener, host) in [(hub, Host::Hub), (store, Host::Store)] {
            let shared = shared.clone();
            let builder = std::thread::Builder::new().name("test-hub".into());
            builder
                .spawn(move || listen(&shared, &listener, host))
                .unwrap();
        }
        Self {
            endpoint: format!("http://127.0.0.1:{}", shared.hub),
            shared,
        }
    }

    /// Serves a folder as `repo`, tagged v3.0.
    pub(crate) fn serve(&self, repo: &str, root: &Path) {
        self.serve_tagged(repo, root, &["v3.0"]);
    }

    pub(crate) fn serve_tagged(&self, repo: &str, root: &Path, tags: &[&str]) {
        let served = Served {
            root: root.to_owned(),
            commit: COMMIT.into(),
            tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            token: None,
            gated: false,
            before: Vec::new(),
        };
        self.shared
            .datasets
            .lock()
            .unwrap()
            .insert(repo.into(), served);
    }

    /// From now on only whoever sends this token sees `repo`; others are told that there is nothing,
    /// or that they must ask.
    pub(crate) fn close(&self, repo: &str, token: &str, gated: bool) {
        let mut datasets = self.shared.datasets.lock().unwrap();
        let served = datasets.get_mut(repo).unwrap();
        (served.token, served.gated) = (Some(token.into()), gated);
    }

    /// A push: the branch and the tags move on to another folder.
    pub(crate) fn push(&self, repo: &str, root: &Path, commit: &str) {
        let mut datasets = self.shared.datasets.lock().unwrap();
        let served = datasets.get_mut(repo).unwrap();
        let before = (served.commit.clone(), served.root.clone());
        served.before.push(before);
        (served.root, served.commit) = (root.to_owned(), commit.into());
    }

    /// The next `times` requests that `which` picks fail like this.
    pub(crate) fn fail(
        &self,
        times: u32,
        trouble: Trouble,
        which: impl Fn(&Asked) -> bool + Send + 'static,
    ) {
        self.shared
            .rules
            .lock()
            .unwrap()
            .push((Box::new(which), trouble, times));
    }

    /// All signed addresses expire.
    pub(crate) fn expire(&self) {
        self.shared.signature.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        *self.shared.latency.lock().unwrap() = latency;
    }

    /// Bytes a second of each connection; `None` for as fast as it goes.
    pub(crate) fn set_speed(&self, bytes_s: Option<f64>) {
        *self.shared.speed.lock().unwrap() = bytes_s;
    }

    pub(crate) fn set_page(&self, entries: usize) {
        *self.shared.page.lock().unwrap() = entries;
    }

    /// What was asked since the last look.
    pub(crate) fn take_log(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.shared.log.lock().unwrap())
    }

    /// Connections since the start.
    pub(crate) fn connections(&self) -> u32 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for port in [self.shared.hub, self.shared.store] {
            let _ = TcpStream::connect(("127.0.0.1", port));
        }
    }
}

fn listen(shared: &Arc<Shared>, listener: &TcpListener, host: Host) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(stream), shared) = (stream, shared.clone()) else {
            continue;
        };
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let builder = std::thread::Builder::new().name("test-hub-connection".into());
        let _ = builder.spawn(move || converse(&shared, stream, host));
    }
}

/// Answers one connection's requests until it ends.
fn converse(shared: &Shared, stream: TcpStream, host: Host) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(mut asked) = read_request(&mut reader, host) {
        std::thread::sleep(*shared.latency.lock().unwrap());
        let trouble = shared.trouble(&asked);
        let mut answer = match host {
            Host::Hub => shared.hub_answer(&asked),
            Host::Store => shared.store_answer(&asked, &trouble),
        };
        let keep = spoil(&mut answer, &trouble, &mut stream);
        asked.sent = if asked.method == "HEAD" {
            0
        } else {
            answer.body.len() as u64
        };
        let body = std::mem::take(&mut answer.body);
        let length = answer
            .headers
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case("content-length"));
        let mut head = format!("HTTP/1.1 {} Status\r\n", answer.status);
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !length {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let head = head + "\r\n";
        let sent = match &trouble {
            Some(Trouble::Cut(after)) => (*after).min(body.len()),
            _ => body.len(),
        };
        let only_head = asked.method == "HEAD";
        shared.log.lock().unwrap().push(asked);
        if !keep || stream.write_all(head.as_bytes()).is_err() {
            return;
        }
        if only_head {
            continue;
        }
        if let Some(Trouble::Drip(pause_ms)) = trouble {
            for byte in body {
                std::thread::sleep(Duration::from_millis(pause_ms));
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
            }
            continue;
        }
        let speed = *shared.speed.lock().unwrap();
        for chunk in body[..sent].chunks(32 << 10) {
            if let Some(bytes_s) = speed {
                std::thread::sleep(Duration::from_secs_f64(chunk.len() as f64 / bytes_s));
            }
            if stream.write_all(chunk).is_err() {
                return;
            }
        }
        if sent < body.len() {
            return;
        }
    }
}

/// Makes an answer go wrong; whether it is sent at all.
fn spoil(answer: &mut Answer, trouble: &Option<Trouble>, stream: &mut TcpStream) -> bool {
    match trouble {
        Some(Trouble::Status(status, headers)) => {
            *answer = Answer::new(*status);
            for (name, value) in headers {
                answer.headers.push(((*name).to_owned(), value.clone()));
            }
        }
        Some(Trouble::Body(body)) => {
            answer.body = body.clone();
            answer.headers.retain(|(n, _)| n != "Content-Length");
        }
        Some(Trouble::OtherTag) => {
            for (name, value) in &mut answer.headers {
                if name.eq_ignore_ascii_case("etag") || name == "X-Linked-Etag" {
                    *value = "\"replaced\"".into();
                }
            }
        }
        Some(Trouble::Silence(ms)) => std::thread::sleep(Duration::from_millis(*ms)),
        Some(Trouble::Junk) => {
            let _ = stream.write_all(b"\x00\xff\xfe not http\r\n\r\n");
            return false;
        }
        _ => {}
    }
    true
}

impl Shared {
    fn trouble(&self, asked: &Asked) -> Option<Trouble> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules
            .iter_mut()
            .find(|(which, _, left)| *left > 0 && which(asked))?;
        rule.2 -= 1;
        Some(rule.1.clone())
    }

    fn hub_answer(&self, asked: &Asked) -> Answer {
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        let parts: Vec<String> = path
            .trim_start_matches('/')
            .split('/')
            .map(decoded)
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (owner, name, rest) = match parts[..] {
            ["api", "datasets", owner, name, ..] => (owner, name, &parts[4..]),
            ["datasets", owner, name, ..] => (owner, name, &parts[3..]),
            _ => return Answer::error(404, "RepoNotFound"),
        };
        let repo = format!("{owner}/{name}");
        let Some(served) = self.datasets.lock().unwrap().get(&repo).cloned() else {
            return Answer::error(
                if asked.authorization.is_some() {
                    404
                } else {
                    401
                },
                "RepoNotFound",
            );
        };
        let allowed = served
            .token
            .as_ref()
            .is_none_or(|token| asked.authorization.as_deref() == Some(&format!("Bearer {token}")));
        if !allowed {
            return match served.gated {
                true => Answer::error(403, "GatedRepo"),
                false => Answer::error(401, "RepoNotFound"),
            };
        }
        let (verb, revision, inside) = match rest {
            ["refs"] => return Answer::json(&refs(&served)),
            [] => ("revision", "main", String::new()),
            [verb, revision, inside @ ..] => (*verb, *revision, inside.join("/")),
            _ => return Answer::new(404),
        };
        let Some(at) = served.at(revision) else {
            return Answer::error(404, "RevisionNotFound");
        };
        match verb {
            "revision" => self.revision(&repo, at),
            "tree" => self.tree(at, path, &inside, query),
            "paths-info" => self.paths(asked, at.1),
            "resolve" => self.resolve(asked, &repo, at, &inside),
            _ => Answer::new(404),
        }
    }

    fn revision(&self, repo: &str, (commit, root): (&str, &Path)) -> Answer {
        let siblings: Vec<Value> = all_files(root, "")
            .keys()
            .map(|path| json!({ "rfilename": path }))
            .collect();
        Answer::json(&json!({
            "id": repo, "sha": commit, "private": false, "gated": false, "disabled": false,
            "tags": ["LeRobot"], "downloads": 0, "likes": 0, "siblings": siblings,
            "lastModified": "2026-11-25T00:00:00.000Z", "createdAt": "2026-11-25T00:00:00.000Z",
        }))
    }

    /// What is known of the paths in a form.
    fn paths(&self, asked: &Asked, root: &Path) -> Answer {
        let form = asked.body.split('&');
        let paths = form.filter_map(|field| field.strip_prefix("paths=").map(decoded));
        let about = |path: String| match fs::metadata(root.join(&path)) {
            Ok(found) if found.is_dir() => {
                Some(json!({ "type": "directory", "path": path, "oid": "0".repeat(40) }))
            }
            Ok(found) => Some(self.entry(root, &path, found.len())),
            Err(_) => None,
        };
        Answer::json(&Value::Array(paths.filter_map(about).collect()))
    }

    fn entry(&self, root: &Path, name: &str, size: u64) -> Value {
        let tag = self.tag(&root.join(name));
        let mut entry = json!({ "type": "file", "path": name, "size": size, "oid": tag[..40] });
        if is_large(name) {
            entry["lfs"] = json!({ "oid": tag, "size": size, "pointerSize": 130 });
        }
        entry
    }

    fn tree(&self, (commit, root): (&str, &Path), path: &str, inside: &str, query: &str) -> Answer {
        let files = all_files(root, inside);
        if files.is_empty() {
            return Answer::error(404, "EntryNotFound").with("X-Repo-Commit", commit);
        }
        let cursor = query.split('&').find_map(|q| q.strip_prefix("cursor="));
        let start: usize = cursor.map_or(0, |c| c.parse().unwrap());
        let page = *self.page.lock().unwrap();
        let entries: Vec<Value> = files
            .iter()
            .skip(start)
            .take(page)
            .map(|(name, size)| self.entry(root, name, *size))
            .collect();
        let answer = Answer::json(&Value::Array(entries));
        if start + page >= files.len() {
            return answer;
        }
        let next = format!("{path}?recursive=true&expand=false&cursor={}", start + page);
        answer.with(
            "Link",
            format!("<http://127.0.0.1:{}{next}>; rel=\"next\"", self.hub),
        )
    }

    fn resolve(
        &self,
        asked: &Asked,
        repo: &str,
        (commit, root): (&str, &Path),
        file: &str,
    ) -> Answer {
        let path = root.join(file);
        if !path.is_file() {
            return Answer::error(404, "EntryNotFound").with("X-Repo-Commit", commit);
        }
        let tag = self.tag(&path);
        if !is_large(file) {
            let answer = content(asked, &path, &format!("\"{}\"", &tag[..40]), &None);
            return answer.with("X-Repo-Commit", commit);
        }
        let signature = self.signature.load(Ordering::SeqCst);
        // Another name than the hub's, as huggingface_hub takes what is on the hub's host for the hub.
        let store = format!(
            "http://localhost:{}/store/{repo}/{commit}/{file}?signature={signature}",
            self.store
        );
        let mut answer = Answer::new(302)
            .with("Location", store)
            .with("X-Repo-Commit", commit)
            .with("X-Linked-Size", fs::metadata(&path).unwrap().len())
            .with("X-Linked-Etag", format!("\"{tag}\""))
            .with("ETag", format!("\"{tag}\""));
        if asked.method == "GET" {
            answer.body = b"Found. Redirecting to the store".to_vec();
        }
        answer
    }

    fn store_answer(&self, asked: &Asked, trouble: &Option<Trouble>) -> Answer {
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        let valid = format!("signature={}", self.signature.load(Ordering::SeqCst));
        if query != valid {
            return Answer::new(403);
        }
        let parts: Vec<&str> = path.trim_start_matches("/store/").splitn(4, '/').collect();
        let repo = format!("{}/{}", parts[0], parts[1]);
        let served = self.datasets.lock().unwrap()[&repo].clone();
        let file = served.at(parts[2]).unwrap().1.join(decoded(parts[3]));
        let tag = self.tag(&file);
        content(asked, &file, &format!("\"store-{}\"", &tag[..16]), trouble)
    }

    /// What identifies a file's contents.
    fn tag(&self, path: &Path) -> String {
        let mut tags = self.tags.lock().unwrap();
        let found = tags.entry(path.to_owned()).or_insert_with(|| {
            let hash = Sha256::digest(fs::read(path).unwrap());
            hash.iter().map(|b| format!("{b:02x}")).collect()
        });
        found.clone()
    }
}

fn refs(served: &Served) -> Value {
    let named = |kind: &str, name: &String| json!({ "name": name, "ref": format!("refs/{kind}/{name}"), "targetCommit": served.commit });
    let tags: Vec<Value> = served.tags.iter().map(|t| named("tags", t)).collect();
    json!({ "branches": [named("heads", &"main".to_owned())], "converts": [], "tags": tags })
}

/// What lies in large-file storage.
fn is_large(path: &str) -> bool {
    path.ends_with(".parquet") || path.ends_with(".mp4")
}

/// All files with their sizes, below `inside`.
fn all_files(root: &Path, inside: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.join(inside)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.insert(name, entry.metadata().unwrap().len());
            }
        }
    }
    found
}

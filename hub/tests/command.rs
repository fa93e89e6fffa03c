//! `sinew hub …` against a server inside the test: a folder goes up, comes down, is compared, changed and removed;
//! and what a person is told when something is wrong.

mod support;

use clap::Parser;
use rand::{RngCore, SeedableRng, rngs::SmallRng};
use serde_json::Value;
use sinew_hub::client::{Environment, HttpOptions, HubClient};
use sinew_hub::command::{Failure, Hub, Scene};
use std::fs;
use std::path::{Path, PathBuf};
use support::Server;
use tempfile::TempDir;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    hub: Hub,
}

/// Somebody at a terminal.
struct User {
    home: TempDir,
    endpoint: String,
    token: String,
}

impl User {
    fn of(server: &Server) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            endpoint: server.endpoint(),
            token: server.token.clone(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn environment(&self) -> Environment {
        Environment::of([
            ("HOME", self.home.path().display().to_string()),
            ("HF_ENDPOINT", self.endpoint.clone()),
            ("HF_TOKEN", self.token.clone()),
        ])
    }

    fn try_in(&self, environment: Environment, arguments: &[&str]) -> Result<String, Failure> {
        let home = self.home.path().display().to_string();
        let arguments = arguments.iter().map(|text| text.replace('~', &home));
        let cli = Cli::try_parse_from(std::iter::once("hub".to_owned()).chain(arguments)).unwrap();
        let mut out = Vec::new();
        cli.hub.run_in(&mut Scene {
            environment,
            out: &mut out,
            shows_progress: false,
        })?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        self.try_in(self.environment(), arguments)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[arguments, &["--json"]].concat()).unwrap()).unwrap()
    }

    /// The message and the exit code.
    fn refused(&self, arguments: &[&str]) -> (String, u8) {
        let failure = self.run(arguments).unwrap_err();
        (failure.to_string(), failure.exit_code())
    }
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let place = folder.join(path);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(place, bytes).unwrap();
}

/// A folder as of a small policy: small and large, empty, deep, with a name that addresses cannot carry.
fn policy(folder: &Path) {
    write(folder, "config.json", b"{\"type\": \"act\"}");
    write(folder, "model.safetensors", &noise(20 << 20, 1));
    write(folder, "empty.txt", b"");
    write(folder, "a folder/ünïcode #1?.txt", "text".as_bytes());
    write(folder, "deep/er/still.bin", &noise(100_000, 2));
    write(folder, ".git/config", b"left out");
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let local = sinew_hub::client::scan(folder).unwrap();
    let read = |file: sinew_hub::client::LocalFile| (file.path, fs::read(file.place).unwrap());
    local
        .into_iter()
        .map(read)
        .filter(|(path, _)| path != ".gitattributes")
        .collect()
}

#[test]
fn a_folder_goes_up_and_comes_down() {
    let server = Server::start();
    let user = User::of(&server);
    policy(&user.path("policy"));
    let pushed = user.json(&["push", "~/policy", "admin/pick", "--private"]);
    assert_eq!(
        (&pushed["type"], &pushed["changed"]),
        (&"model".into(), &5.into()),
        "{pushed}"
    );
    assert_eq!(pushed["commits"].as_array().unwrap().len(), 1);
    let pulled = user.json(&["pull", "admin/pick", "~/copy"]);
    assert_eq!(pulled["fetched"], 6, "{pulled}");
    assert_eq!(files(&user.path("policy")), files(&user.path("copy")));
    assert!(
        !user.path("copy/.cache").exists(),
        "nothing of the client stays"
    );
    // Nothing changed: nothing is sent, committed or fetched.
    let again = user.json(&["push", "~/policy", "admin/pick"]);
    assert_eq!(
        (&again["changed"], &again["wire_bytes"]),
        (&0.into(), &0.into()),
        "{again}"
    );
    assert!(again["commits"].as_array().unwrap().is_empty());
    assert_eq!(user.json(&["pull", "admin/pick", "~/copy"])["fetched"], 0);
}

#[test]
fn only_what_changed_moves() {
    let server = Server::start();
    let user = User::of(&server);
    let folder = user.path("policy");
    policy(&folder);
    user.run(&["push", "~/policy", "admin/pick"]).unwrap();
    user.run(&["pull", "admin/pick", "~/copy"]).unwrap();
    let mut model = noise(20 << 20, 1);
    model.splice(10_000_000..10_000_000, noise(1000, 3));
    write(&folder, "model.safetensors", &model);
    write(&folder, "new.txt", b"new");
    fs::remove_file(folder.join("empty.txt")).unwrap();
    let (words, code) = user.refused(&["diff", "~/policy", "admin/pick"]);
    assert_eq!(code, 1, "{words}");
    let pushed = user.json(&[
        "push",
        "~/policy",
        "admin/pick",
        "--delete",
        "-m",
        "Changed",
    ]);
    assert_eq!(
        (&pushed["changed"], &pushed["deleted"]),
        (&2.into(), &1.into()),
        "{pushed}"
    );
    assert!(pushed["wire_bytes"].as_u64().unwrap() < 1 << 20, "{pushed}");
    assert_eq!(user.run(&["diff", "~/policy", "admin/pick"]).unwrap(), "");
    let pulled = user.json(&["pull", "admin/pick", "~/copy"]);
    assert_eq!(pulled["fetched"], 2, "{pulled}");
    assert!(fs::read(user.path("copy/model.safetensors")).unwrap() == model);
}

#[test]
fn an_interrupted_pull_goes_on_where_it_ended() {
    let server = Server::start();
    let user = User::of(&server);
    policy(&user.path("policy"));
    user.run(&["push", "~/policy", "admin/pick"]).unwrap();
    user.run(&["pull", "admin/pick", "~/copy"]).unwrap();
    // What a pull leaves that was cut off: the beginning of a file, and one of other content.
    let model = fs::read(user.path("policy/model.safetensors")).unwrap();
    for (name, kept) in [("model.safetensors", 12 << 20), ("config.json", 5)] {
        let whole = fs::read(user.path("policy").join(name)).unwrap();
        fs::remove_file(user.path("copy").join(name)).unwrap();
        let entry = user.json(&["ls", "admin/pick", name]);
        let entry = &entry["files"][0];
        let digits = entry["sha256"]
            .as_str()
            .or(entry["git_oid"].as_str())
            .unwrap();
        write(
            &user.path("copy"),
            &part_of(digits, name),
            &whole[..kept.min(whole.len())],
        );
    }
    let pulled = user.json(&["pull", "admin/pick", "~/copy"]);
    assert_eq!(pulled["fetched"], 2, "{pulled}");
    assert!(
        pulled["wire_bytes"].as_u64().unwrap() < 10 << 20,
        "{pulled}"
    );
    assert!(fs::read(user.path("copy/model.safetensors")).unwrap() == model);
    // A beginning of something else is found out.
    let entry = user.json(&["ls", "admin/pick", "config.json"]);
    fs::remove_file(user.path("copy/config.json")).unwrap();
    let part = part_of(
        entry["files"][0]["git_oid"].as_str().unwrap(),
        "config.json",
    );
    write(&user.path("copy"), &part, b"wrong");
    user.run(&["pull", "admin/pick", "~/copy"]).unwrap();
    assert_eq!(files(&user.path("policy")), files(&user.path("copy")));
}

/// Where the client keeps what it has of a file.
fn part_of(digits: &str, path: &str) -> String {
    use sha2::Digest;
    let name = sha2::Sha256::digest(format!("{digits}\0{path}"));
    let name: String = name
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(".cache/sinew/{name}.part")
}

#[test]
fn lists_and_removals() {
    let server = Server::start();
    let user = User::of(&server);
    policy(&user.path("policy"));
    user.run(&["push", "~/policy", "admin/pick", "--private"])
        .unwrap();
    let top = user.run(&["ls", "admin/pick"]).unwrap();
    assert!(
        top.contains("deep/\n") && top.contains("21.0 MB  model.safetensors"),
        "{top}"
    );
    let below = user.run(&["ls", "admin/pick", "deep", "-r"]).unwrap();
    assert!(below.contains("deep/er/still.bin"), "{below}");
    assert_eq!(user.run(&["ls"]).unwrap(), "model   admin/pick  private\n");
    user.run(&["rm", "admin/pick", "deep", "empty.txt"])
        .unwrap();
    let rest = user.json(&["ls", "admin/pick", "-r"]);
    let paths: Vec<&str> = rest["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    assert!(
        !paths
            .iter()
            .any(|path| path.starts_with("deep") || *path == "empty.txt"),
        "{paths:?}"
    );
    let (words, code) = user.refused(&["rm", "admin/pick", "config.json", "none"]);
    assert!(
        words.contains("has no none; nothing was removed") && code == 2,
        "{words}"
    );
    let (words, code) = user.refused(&["rm", "admin/pick"]);
    assert!(words.contains("--repository") && code == 2, "{words}");
    user.run(&["rm", "admin/pick", "--repository"]).unwrap();
    let (words, code) = user.refused(&["pull", "admin/pick", "~/none"]);
    assert!(words.contains("no such repository") && code == 2, "{words}");
}

#[test]
fn a_login_is_checked_and_stored() {
    let server = Server::start();
    let user = User::of(&server);
    let bare = || Environment::of([("HOME", user.home.path().display().to_string())]);
    let wrong = user
        .try_in(
            bare(),
            &["login", "--endpoint", &user.endpoint, "--token", "hf_wrong"],
        )
        .unwrap_err();
    assert!(
        wrong.to_string().contains("log in, or set HF_TOKEN") && wrong.exit_code() == 2,
        "{wrong}"
    );
    assert!(!user.path(".config/sinew/hub.json").exists());
    let said = user
        .try_in(
            bare(),
            &[
                "login",
                "--endpoint",
                &user.endpoint,
                "--token",
                &user.token,
            ],
        )
        .unwrap();
    assert!(said.contains("as admin"), "{said}");
    // From now on neither address nor token have to be said.
    user.try_in(bare(), &["create", "admin/new", "--type", "dataset"])
        .unwrap();
    let listed = user.try_in(bare(), &["ls"]).unwrap();
    assert_eq!(listed, "dataset admin/new\n");
    let shared = fs::read_to_string(user.path(".cache/huggingface/token")).unwrap();
    assert_eq!(shared, user.token);
}

#[test]
fn a_login_on_the_hubs_page_gives_a_token() {
    let server = Server::start();
    let password = "correct horse battery";
    server
        .run(sinew_hub::operate::create_user(
            &server.hub,
            "ada",
            Some(password),
            false,
        ))
        .unwrap();
    let hub = |token| HubClient::new(&server.endpoint(), token, HttpOptions::default()).unwrap();
    let login = hub(None).begin_login().unwrap().unwrap();
    assert!(login.verification_uri.starts_with(&server.endpoint()));
    let body = format!(
        "code={}&name=ada&password={}",
        login.user_code,
        password.replace(' ', "+")
    );
    let confirmed = ureq::post(format!("{}/login/device", server.endpoint()))
        .header("content-type", "application/x-www-form-urlencoded")
        .send(body)
        .unwrap();
    assert!(confirmed.status().is_success());
    let token = hub(None).finish_login(&login).unwrap();
    assert_eq!(hub(Some(token)).whoami().unwrap().name, "ada");
}

#[test]
fn operators_manage_a_hub_that_is_there() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("hub");
    let options = sinew_hub::server::Options::in_folder(&data);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let hub = sinew_hub::server::Hub::open(&options).await.unwrap();
        hub.first_admin("admin").await.unwrap().unwrap();
    });
    let user = User {
        home,
        endpoint: String::new(),
        token: String::new(),
    };
    let run = |arguments: &[&str]| user.run(&[arguments, &["--data", "~/hub"]].concat());
    run(&["user", "add", "ada"]).unwrap();
    run(&["org", "add", "robots", "--admin", "ada"]).unwrap();
    run(&["org", "member", "robots", "admin", "read"]).unwrap();
    run(&["user", "set", "ada", "--quota", "2GB"]).unwrap();
    assert!(run(&["user", "ls"]).unwrap().contains("at most 2.00 GB"));
    assert_eq!(run(&["org", "ls", "robots"]).unwrap().lines().count(), 2);
    let token = run(&["token", "add", "ada", "--name", "robot", "--days", "1"]).unwrap();
    assert!(token.starts_with("hf_"), "{token}");
    let listed = run(&["token", "ls", "ada"]).unwrap();
    assert!(
        listed.contains("robot") && !listed.contains(token.trim()),
        "{listed}"
    );
    run(&["token", "revoke", listed.split(' ').next().unwrap()]).unwrap();
    assert_eq!(run(&["token", "ls", "ada"]).unwrap(), "");
    assert!(run(&["stats"]).unwrap().contains("users"));
    assert!(run(&["fsck"]).unwrap().contains("everything is sound"));
    assert!(
        run(&["gc", "--dry-run"])
            .unwrap()
            .contains("would be removed")
    );
    let audit = run(&["audit"]).unwrap();
    assert!(
        audit.lines().count() >= 4 && audit.contains("user.create"),
        "{audit}"
    );
    run(&["backup", "~/backup"]).unwrap();
    user.run(&["restore", "~/backup", "--data", "~/second"])
        .unwrap();
    assert!(
        user.run(&["user", "ls", "--data", "~/second"])
            .unwrap()
            .contains("ada")
    );
    let failure = run(&["user", "add", "ada"]).unwrap_err();
    assert!(
        failure.to_string().contains("is taken") && failure.exit_code() == 2,
        "{failure}"
    );
    assert!(run(&["token", "add", "nobody"]).is_err());
}

#[test]
fn what_is_wrong_is_said() {
    let server = Server::start();
    let mut user = User::of(&server);
    write(&user.path("unknown"), "a.txt", b"a");
    fs::create_dir(user.path("nothing")).unwrap();
    policy(&user.path("policy"));
    for (arguments, expected) in [
        (
            &["push", "~/unknown", "admin/x"][..],
            "say what it is with --type",
        ),
        (&["push", "~/none", "admin/x"], "there is no folder"),
        (&["push", "~/nothing", "admin/x"], "has no files to push"),
        (&["push", "~/policy", "stranger/x"], "there is no namespace"),
        (
            &["pull", "admin/none", "~/x"],
            "there is no such repository",
        ),
        (&["ls", "admin/none"], "there is no such repository"),
        (
            &["push", "~/policy", "datasets/admin/x", "--type", "policy"],
            "but --type says model",
        ),
    ] {
        let (words, code) = user.refused(arguments);
        assert!(
            words.contains(expected) && code == 2,
            "{arguments:?}: {words} ({code})"
        );
    }
    user.run(&["create", "admin/both", "--type", "dataset"])
        .unwrap();
    user.run(&["create", "admin/both", "--type", "policy"])
        .unwrap();
    let (words, _) = user.refused(&["create", "admin/both"]);
    assert!(words.contains("already"), "{words}");
    let (words, code) = user.refused(&["ls", "admin/both"]);
    assert!(words.contains("--type") && code == 2, "{words}");
    user.run(&["ls", "datasets/admin/both"]).unwrap();
    let (words, code) = user.refused(&[
        "pull",
        "admin/both",
        "~/x",
        "--type",
        "dataset",
        "--revision",
        "v9",
    ]);
    assert!(words.contains("v9") && code == 2, "{words}");
    user.token = "hf_wrong".into();
    let (words, code) = user.refused(&["push", "~/policy", "admin/x"]);
    assert!(
        words.contains("log in, or set HF_TOKEN") && code == 2,
        "{words}"
    );
    let environment = Environment::of([("HF_ENDPOINT", "ftp://x".into())]);
    let failure = user.try_in(environment, &["ls", "a/b"]).unwrap_err();
    assert!(
        failure.to_string().contains("is no address of a hub"),
        "{failure}"
    );
}

#[test]
fn a_folder_in_the_way_and_a_disk_that_refuses_are_named() {
    let server = Server::start();
    let user = User::of(&server);
    policy(&user.path("policy"));
    user.run(&["push", "~/policy", "admin/pick"]).unwrap();
    write(
        &user.path("copy"),
        "config.json/inside",
        b"a folder of that name",
    );
    let (words, code) = user.refused(&["pull", "admin/pick", "~/copy"]);
    assert!(
        words.contains("config.json is a folder here") && code == 2,
        "{words}"
    );
    write(
        &user.home.path().join("plain"),
        "deep",
        b"a file where a folder has to be",
    );
    let (words, code) = user.refused(&["pull", "admin/pick", "~/plain"]);
    assert!(words.contains("plain/deep") && code == 1, "{words}");
}

#[test]
fn a_data_set_is_tagged_when_it_is_pushed() {
    let server = Server::start();
    let user = User::of(&server);
    let folder = user.path("data");
    write(
        &folder,
        "meta/info.json",
        br#"{"codebase_version": "v3.0", "fps": 30, "total_episodes": 1}"#,
    );
    write(
        &folder,
        "data/chunk-000/file-000.parquet",
        &noise(50_000, 4),
    );
    let pushed = user.json(&["push", "~/data", "admin/pick"]);
    assert_eq!(pushed["type"], "dataset");
    user.run(&["pull", "admin/pick", "~/copy", "--revision", "v3.0"])
        .unwrap();
    assert_eq!(files(&folder), files(&user.path("copy")));
}

#[test]
fn a_port_that_is_taken_is_said_before_anything_is_made() {
    let server = Server::start();
    let user = User::of(&server);
    let port = user.endpoint.rsplit(':').next().unwrap();
    let arguments = [
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--data",
        "~/hub",
    ];
    let (words, code) = user.refused(&arguments);
    assert!(
        words.contains("is taken") && words.contains("--port") && code == 2,
        "{words}"
    );
    assert!(!user.path("hub").exists());
    let (words, code) = user.refused(&["stats", "--data", "~/hub"]);
    assert!(words.contains("there is no hub at") && code == 2, "{words}");
}

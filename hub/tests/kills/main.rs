//! `kill -9` at random moments, while clients upload, commit and push and the operator collects: nothing that was
//! acknowledged is lost or wrong, every command that was cut off succeeds when it is run again, and `fsck` is clean.
//!
//! `SINEW_HUB_KILLS` says how often the hub is killed.

#[path = "../support/mod.rs"]
mod support;

mod actors;
mod process;

use actors::{Actor, Churn, Collector, Done, Git, Lfs, Neighbour, Promise, Pusher};
use process::{Place, Victim};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use sha2::{Digest, Sha256};
use sinew_hub::server::Hub;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const DAYS: Duration = Duration::from_secs(31 * 24 * 3600);

/// Everything acknowledged, by where it is to be had. Contents under a branch's name replace each other.
type Promises = HashMap<String, [u8; 32]>;

struct Arena {
    place: Place,
    server: Child,
    random: SmallRng,
    promises: Promises,
    kills: u64,
    cut_off: u64,
    again: u64,
}

type Running = JoinHandle<(Box<dyn Actor>, Done)>;

impl Arena {
    fn pause(&mut self, most_ms: u64) {
        let wait = self.random.random_range(0..most_ms);
        std::thread::sleep(Duration::from_millis(wait));
    }

    fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        self.kills += 1;
    }

    fn begin(&self, actor: Box<dyn Actor>) -> Running {
        let place = self.place.clone();
        let mut actor = actor;
        let work = move || {
            let done = actor.run(&place);
            (actor, done)
        };
        Builder::new().name("actor".into()).spawn(work).unwrap()
    }

    /// One round: everybody works, the hub dies and comes back, and everybody finishes.
    fn round(&mut self, round: u64, mut actors: Vec<Box<dyn Actor>>) -> Vec<Box<dyn Actor>> {
        for actor in &mut actors {
            actor.prepare(round);
        }
        let victims: Vec<Victim> = actors.iter().filter_map(|actor| actor.victim()).collect();
        let running: Vec<Running> = actors.into_iter().map(|actor| self.begin(actor)).collect();
        let longest = if self.random.random_ratio(1, 3) {
            300
        } else {
            1500
        };
        self.pause(longest);
        let kills_clients = self.random.random_ratio(1, 3);
        for victim in victims.iter().filter(|_| kills_clients) {
            self.cut_off += u64::from(self.random.random_ratio(1, 2) && victim.kill());
        }
        self.kill();
        self.pause(200);
        if self.random.random_ratio(1, 5) {
            // While it starts.
            self.server = self.place.spawn();
            self.pause(150);
            self.kill();
        }
        self.server = self.place.start();
        let ended: Vec<(Box<dyn Actor>, Done)> =
            running.into_iter().map(|run| run.join().unwrap()).collect();
        // Those that were cut off run the same command again, all at once.
        let (done, failed): (Vec<_>, Vec<_>) =
            ended.into_iter().partition(|(_, done)| done.is_ok());
        self.again += failed.len() as u64;
        let repeated: Vec<Running> = failed
            .into_iter()
            .map(|(actor, _)| self.begin(actor))
            .collect();
        let repeated = repeated.into_iter().map(|run| run.join().unwrap());
        let mut actors = Vec::new();
        for (actor, done) in done.into_iter().chain(repeated) {
            let promises = done.unwrap_or_else(|error| {
                panic!("round {round}: {} fails again: {error}", actor.name())
            });
            let paths: Vec<String> = promises
                .iter()
                .map(|promise| promise.path.clone())
                .collect();
            self.remember(promises);
            self.check(round, paths.iter());
            actors.push(actor);
        }
        // Everything that was ever acknowledged, which is more in each round.
        if round % 5 == 4 {
            self.check(round, self.promises.keys());
        }
        actors
    }

    fn remember(&mut self, new: Vec<Promise>) {
        if new
            .iter()
            .any(|promise| promise.path.starts_with("/admin/churn/"))
        {
            self.promises
                .retain(|path, _| !path.starts_with("/admin/churn/"));
        }
        self.promises.extend(
            new.into_iter()
                .map(|promise| (promise.path, promise.sha256)),
        );
    }

    /// What was acknowledged is there, byte for byte.
    fn check<'a>(&self, round: u64, paths: impl Iterator<Item = &'a String>) {
        let agent = ureq::Agent::new_with_defaults();
        for path in paths {
            let sha256 = &self.promises[path];
            let url = format!("{}{path}", self.place.endpoint());
            let response = agent
                .get(&url)
                .header("authorization", format!("Bearer {}", self.place.token))
                .call();
            let mut response =
                response.unwrap_or_else(|error| panic!("round {round}: {path} is lost: {error}"));
            let bytes = response
                .body_mut()
                .with_config()
                .limit(u64::MAX)
                .read_to_vec();
            let bytes =
                bytes.unwrap_or_else(|error| panic!("round {round}: {path} is lost: {error}"));
            assert!(
                Sha256::digest(&bytes)[..] == sha256[..],
                "round {round}: {path} is another file"
            );
        }
    }

    fn fsck(&self, quick: bool) {
        let mut arguments = vec!["fsck"];
        arguments.extend(quick.then_some("--quick"));
        let said = Victim::default().run(&mut self.place.operate(&arguments));
        said.unwrap_or_else(|problems| panic!("{problems}"));
    }

    /// Thirty-one days pass while nothing runs.
    fn wait(&mut self, runtime: &tokio::runtime::Runtime) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        runtime.block_on(async {
            let hub = Hub::open(&self.place.options()).await.unwrap();
            hub.shift_marks(DAYS).await.unwrap();
            hub.db().close().await;
        });
        make_older(&self.place.objects());
        self.server = self.place.start();
    }
}

fn make_older(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            make_older(&path);
        } else {
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - DAYS).unwrap();
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn cast(folder: &TempDir) -> Vec<Box<dyn Actor>> {
    let at = |name: &str| folder.path().join(name);
    vec![
        Box::new(Pusher {
            folder: at("pusher"),
            victim: Victim::default(),
            round: 0,
        }),
        Box::new(Neighbour {
            folder: at("neighbour"),
        }),
        Box::new(Git {
            folder: at("git"),
            victim: Victim::default(),
        }),
        Box::new(Lfs { round: 0 }),
        Box::new(Churn {
            folder: at("churn"),
            round: 0,
        }),
        Box::new(Collector {
            victim: Victim::default(),
        }),
    ]
}

#[test]
fn nothing_acknowledged_is_lost() {
    let wanted = std::env::var("SINEW_HUB_KILLS").ok().map_or(6, |text| {
        text.parse().expect("SINEW_HUB_KILLS is to be a number")
    });
    let seed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let folder = TempDir::new().unwrap();
    let database = std::env::var("SINEW_HUB_POSTGRES")
        .ok()
        .map(|server| support::database(&server));
    let mut place = Place::new(&folder, database);
    let server = place.start();
    let mut arena = Arena {
        place,
        server,
        random: SmallRng::seed_from_u64(seed as u64),
        promises: HashMap::new(),
        kills: 0,
        cut_off: 0,
        again: 0,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut actors = cast(&folder);
    let mut round = 0;
    while arena.kills < wanted {
        actors = arena.round(round, actors);
        if round % 4 == 3 {
            arena.wait(&runtime);
        }
        if round % 10 == 9 {
            arena.fsck(true);
            eprintln!("{} kills", arena.kills);
        }
        round += 1;
    }
    arena.check(round, arena.promises.keys());
    arena.fsck(false);
    let (kills, cut_off, again) = (arena.kills, arena.cut_off, arena.again);
    println!(
        "{kills} kills of the hub and {cut_off} of clients in {round} rounds; {again} commands were run again; {} files are as they were acknowledged",
        arena.promises.len()
    );
}

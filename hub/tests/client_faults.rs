//! The client against networks, hubs and folders that misbehave.

mod support;

use rand::{RngCore, SeedableRng, rngs::SmallRng};
use sinew_hub::client::xet::{Progress, UploadOptions};
use sinew_hub::client::{
    ClientError, HttpOptions, HubClient, Kind, PushOptions, RepoId, by_path, push, scan,
};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::{Server, pull_all};

fn options() -> HttpOptions {
    HttpOptions {
        backoff: Duration::from_millis(10),
        retries: 2,
        ..HttpOptions::default()
    }
}

fn repo(name: &str) -> RepoId {
    RepoId {
        kind: Kind::Model,
        name: format!("admin/{name}"),
    }
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Answers every request with what `answer` says to its first line.
fn impostor(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::Builder::new()
        .name("impostor".into())
        .spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n")
                    && stream.read(&mut byte).is_ok_and(|read| read == 1)
                {
                    head.push(byte[0]);
                }
                let line = String::from_utf8_lossy(&head);
                let _ =
                    stream.write_all(answer(line.lines().next().unwrap_or_default()).as_bytes());
            }
        })
        .unwrap();
    address
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_hub_that_is_not_there_is_named() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let hub = HubClient::new(&format!("http://{free}"), None, options()).unwrap();
    let error = hub.whoami().unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert!(
        error.to_string().contains(&free.to_string()) && !error.is_usage(),
        "{error}"
    );
}

#[test]
fn what_is_no_hub_is_told_apart() {
    let page = impostor(|_| reply("200 OK", "", "<html>hello</html>"));
    let hub = HubClient::new(&page, None, options()).unwrap();
    let error = hub.whoami().unwrap_err();
    assert!(error.to_string().contains("is this a hub?"), "{error}");
}

#[test]
fn paths_that_lead_out_of_the_folder_are_not_written() {
    let oid = "0".repeat(40);
    let sha = "a".repeat(40);
    let tree = format!(r#"[{{"type":"file","path":"../outside","oid":"{oid}","size":3}}]"#);
    let hub = impostor(move |line| match line.contains("/tree/") {
        true => reply("200 OK", "", &tree),
        false => reply("200 OK", "", &format!(r#"{{"sha":"{sha}"}}"#)),
    });
    let hub = HubClient::new(&hub, None, options()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    let error = pull_all(&hub, &repo("x"), "main", &inside).unwrap_err();
    assert!(error.to_string().contains("is not written"), "{error}");
    assert!(!folder.path().join("outside").exists() && !inside.exists());
}

#[test]
fn a_file_of_another_content_than_stated_is_refused_and_leaves_nothing() {
    // Git's name of "abc" is another.
    let tree = format!(
        r#"[{{"type":"file","path":"a.txt","oid":"{}","size":3}}]"#,
        "0".repeat(40)
    );
    let hub = impostor(
        move |line| match (line.contains("/tree/"), line.contains("/resolve/")) {
            (true, _) => reply("200 OK", "", &tree),
            (_, true) => reply(
                "206 Partial Content",
                "content-range: bytes 0-2/3\r\n",
                "abc",
            ),
            _ => reply("200 OK", "", &format!(r#"{{"sha":"{}"}}"#, "a".repeat(40))),
        },
    );
    let hub = HubClient::new(&hub, None, options()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = pull_all(&hub, &repo("x"), "main", folder.path()).unwrap_err();
    assert!(matches!(error, ClientError::Differs { .. }), "{error}");
    assert!(!folder.path().join("a.txt").exists());
}

#[test]
fn the_token_does_not_follow_a_redirect_elsewhere() {
    let seen = Arc::new(AtomicUsize::new(0));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("http://{}", other.local_addr().unwrap());
    let counted = seen.clone();
    std::thread::Builder::new()
        .name("other".into())
        .spawn(move || {
            let (mut stream, _) = other.accept().unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap();
            let text = String::from_utf8_lossy(&head[..read]).to_lowercase();
            counted.store(
                1 + usize::from(text.contains("authorization")),
                Ordering::SeqCst,
            );
            let _ = stream.write_all(reply("200 OK", "", r#"{"name":"eve"}"#).as_bytes());
        })
        .unwrap();
    let hub = impostor(move |_| {
        reply(
            "302 Found",
            &format!("location: {target}/api/whoami-v2\r\n"),
            "",
        )
    });
    let hub = HubClient::new(&hub, Some("hf_secret".into()), options()).unwrap();
    assert_eq!(hub.whoami().unwrap().name, "eve");
    assert_eq!(seen.load(Ordering::SeqCst), 1, "the token went along");
}

#[test]
fn a_file_that_changes_while_it_is_pushed_is_named_and_nothing_is_committed() {
    let server = Server::start();
    let hub = HubClient::new(&server.endpoint(), Some(server.token.clone()), options()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    fs::write(folder.path().join("growing.bin"), noise(8 << 20, 1)).unwrap();
    hub.create_repo(&repo("moving"), false).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let (place, stop) = (folder.path().join("growing.bin"), over.clone());
    let writer = std::thread::Builder::new().name("writer".into());
    let writer = writer
        .spawn(move || {
            let mut file = fs::OpenOptions::new().append(true).open(place).unwrap();
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"more").unwrap();
                // Not asleep: on a busy machine a sleeper may miss a whole reading.
                std::thread::yield_now();
            }
        })
        .unwrap();
    let before = hub.head(&repo("moving"), "main").unwrap();
    let local = scan(folder.path()).unwrap();
    let done = |local: &[sinew_hub::client::LocalFile]| {
        let remote = by_path(hub.tree(&repo("moving"), "main", "", true).unwrap());
        push(
            &hub,
            &repo("moving"),
            local,
            &remote,
            &PushOptions::default(),
            &Arc::default(),
        )
    };
    let error = done(&local).unwrap_err();
    assert!(
        matches!(&error, ClientError::Changed { paths } if paths == &["growing.bin"]),
        "{error}"
    );
    assert_eq!(hub.head(&repo("moving"), "main").unwrap(), before);
    over.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    // Run again when nobody writes, it passes.
    let report = done(&scan(folder.path()).unwrap()).unwrap();
    assert_eq!(report.changed, 2);
}

/// Passes bytes on to the hub. `up` sees what goes there, may change it, and says whether the connection lives on.
fn relay(target: &str, up: impl Fn(&mut [u8]) -> bool + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let target = target.trim_start_matches("http://").to_owned();
    std::thread::Builder::new()
        .name("relay".into())
        .spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&target).unwrap());
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let up = up.clone();
                let thread = || std::thread::Builder::new().name("relay-pass".into());
                thread().spawn(move || pass(client, server, up)).unwrap();
                thread()
                    .spawn(move || pass(back.0, back.1, |_| true))
                    .unwrap();
            }
        })
        .unwrap();
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream, look: impl Fn(&mut [u8]) -> bool) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(read) = from.read(&mut piece) {
        if read == 0 || !look(&mut piece[..read]) || to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Cuts every connection off when `budget` bytes have gone up.
fn cutting(target: &str, budget: usize) -> (String, Arc<AtomicUsize>) {
    let left = Arc::new(AtomicUsize::new(budget));
    let shared = left.clone();
    let address = relay(target, move |bytes| {
        let take = |left: usize| left.checked_sub(bytes.len());
        shared
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .is_ok()
    });
    (address, left)
}

/// The same hub, without the routes that open its chunk store.
fn without_chunk_store(target: &str) -> String {
    relay(target, |bytes| {
        for route in [&b"/xet-write-token/"[..], b"/xet-read-token/"] {
            if let Some(at) = bytes
                .windows(route.len())
                .position(|window| window == route)
            {
                bytes[at + 1] = b'n';
            }
        }
        true
    })
}

#[test]
fn a_hub_without_a_chunk_store_gets_and_gives_large_files_whole() {
    let server = Server::start();
    let hub = HubClient::new(
        &without_chunk_store(&server.endpoint()),
        Some(server.token.clone()),
        options(),
    )
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (here, copy) = (folder.path().join("here"), folder.path().join("copy"));
    fs::create_dir(&here).unwrap();
    fs::write(here.join("a.bin"), noise(3 << 20, 1)).unwrap();
    fs::write(here.join("b.txt"), "small").unwrap();
    hub.create_repo(&repo("plain"), true).unwrap();
    let go = || {
        let local = scan(&here).unwrap();
        let remote = by_path(hub.tree(&repo("plain"), "main", "", true).unwrap());
        push(
            &hub,
            &repo("plain"),
            &local,
            &remote,
            &PushOptions::default(),
            &Arc::default(),
        )
        .unwrap()
    };
    let report = go();
    assert_eq!(
        (report.changed, report.sent_bytes),
        (2, 3 << 20),
        "{report:?}"
    );
    // The same content under another name is with the hub already.
    fs::copy(here.join("a.bin"), here.join("c.bin")).unwrap();
    let report = go();
    assert_eq!((report.changed, report.sent_bytes), (1, 0), "{report:?}");
    pull_all(&hub, &repo("plain"), "main", &copy).unwrap();
    for name in ["a.bin", "b.txt", "c.bin"] {
        assert!(
            fs::read(here.join(name)).unwrap() == fs::read(copy.join(name)).unwrap(),
            "{name}"
        );
    }
    // What came over the chunk store can be had without it.
    let other = HubClient::new(&server.endpoint(), Some(server.token.clone()), options()).unwrap();
    fs::write(here.join("d.bin"), noise(1 << 20, 2)).unwrap();
    let local = scan(&here).unwrap();
    let remote = by_path(other.tree(&repo("plain"), "main", "", true).unwrap());
    push(
        &other,
        &repo("plain"),
        &local,
        &remote,
        &PushOptions::default(),
        &Arc::default(),
    )
    .unwrap();
    let head = hub.head(&repo("plain"), "main").unwrap();
    let entries = hub.tree(&head.repo, &head.commit, "", true).unwrap();
    assert!(
        entries
            .iter()
            .any(|entry| entry.path == "d.bin" && entry.xet.is_some())
    );
    pull_all(&hub, &repo("plain"), "main", &copy).unwrap();
    assert!(fs::read(here.join("d.bin")).unwrap() == fs::read(copy.join("d.bin")).unwrap());
}

#[test]
fn a_push_that_was_cut_off_sends_the_rest_when_it_is_run_again() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    for number in 0..2 {
        fs::write(
            folder.path().join(format!("{number}.bin")),
            noise(70 << 20, number),
        )
        .unwrap();
    }
    let (endpoint, left) = cutting(&server.endpoint(), 100 << 20);
    let local = scan(folder.path()).unwrap();
    let hub = HubClient::new(&endpoint, Some(server.token.clone()), options()).unwrap();
    hub.create_repo(&repo("cut"), false).unwrap();
    // One after the other, so that the first xorb is there when the second is cut off.
    let options = PushOptions {
        upload: UploadOptions {
            connections: 1,
            ..UploadOptions::default()
        },
        ..PushOptions::default()
    };
    let go = || {
        let progress = Arc::new(Progress::default());
        let remote = by_path(hub.tree(&repo("cut"), "main", "", true)?);
        let report = push(&hub, &repo("cut"), &local, &remote, &options, &progress)?;
        Ok::<_, ClientError>((report, progress.wire_bytes.load(Ordering::Relaxed)))
    };
    let error = go().unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    left.store(usize::MAX, Ordering::SeqCst);
    let (report, _) = go().unwrap();
    assert_eq!(report.changed, 2);
    let sent = usize::MAX - left.load(Ordering::SeqCst);
    // Of 147 MB, of which the first xorb (67 MB) and perhaps more had arrived.
    assert!(sent < 90 << 20, "{sent} bytes went up the second time");
}

//! What operators do: check, collect, back up, restore.

mod support;

use rand::{RngCore, SeedableRng, rngs::SmallRng};
use sinew_hub::accounts::{Role, TokenRole};
use sinew_hub::client::HttpOptions;
use sinew_hub::client::xet::{Cas, Repository, UploadOptions, UploadedFile, Uploader, read_range};
use sinew_hub::operate::{
    self, FsckOptions, FsckReport, GcOptions, GcReport, TokenGrant, TokenRequest,
};
use sinew_hub::server::{Hub, Options};
use sqlx::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use support::{Server, get, post};

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

fn store(server: &Server, may_write: bool) -> Arc<Cas> {
    let repository = Repository {
        endpoint: server.endpoint(),
        token: Some(server.token.clone()),
        kind: "models".into(),
        id: "admin/one".into(),
        revision: "main".into(),
    };
    Arc::new(Cas::of_repository(
        repository,
        may_write,
        &HttpOptions::default(),
    ))
}

fn lines(values: &[String]) -> String {
    let head = r#"{"key":"header","value":{"summary":"change","description":""}}"#;
    values
        .iter()
        .fold(format!("{head}\n"), |text, value| text + value + "\n")
}

fn small(path: &str, base64: &str) -> String {
    format!(
        r#"{{"key":"file","value":{{"path":"{path}","content":"{base64}","encoding":"base64"}}}}"#
    )
}

/// A hub with a small and a large file, and the large one.
fn filled() -> (Server, UploadedFile) {
    let server = Server::start();
    post(
        &server,
        "/api/repos/create",
        r#"{"name":"one","private":true}"#,
    );
    let mut uploader = Uploader::new(
        store(&server, true),
        UploadOptions::default(),
        Arc::default(),
    )
    .unwrap();
    let file = uploader.add("large", &noise(5_000_000, 3)[..]).unwrap();
    uploader.finish().unwrap();
    let oid: String = file
        .sha256
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let large = format!(
        r#"{{"key":"lfsFile","value":{{"path":"large.bin","algo":"sha256","oid":"{oid}","size":{}}}}}"#,
        file.size
    );
    let body = lines(&[small("a/hi.txt", "aGk="), large]);
    post(&server, "/api/models/admin/one/commit/main", &body);
    (server, file)
}

fn fsck(server: &Server) -> FsckReport {
    server
        .run(operate::fsck(
            &server.hub,
            &FsckOptions::default(),
            &mut |_| {},
        ))
        .unwrap()
}

/// The only object of a kind that is larger than `least`.
fn object(objects: &Path, kind: &str, least: u64) -> PathBuf {
    let mut found = Vec::new();
    for head in std::fs::read_dir(objects.join(kind)).unwrap() {
        let files = std::fs::read_dir(head.unwrap().path()).unwrap();
        found.extend(
            files
                .map(|file| file.unwrap().path())
                .filter(|path| path.metadata().unwrap().len() > least),
        );
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn fsck_finds_every_kind_of_damage() {
    let (server, _) = filled();
    let clean = fsck(&server);
    assert!(clean.problems.is_empty(), "{clean:?}");
    assert_eq!(
        (clean.refs, clean.commits, clean.xorbs, clean.files),
        (1, 2, 1, 1),
        "{clean:?}"
    );
    assert!(
        clean.bytes > 10_000_000,
        "xorbs and files are read: {clean:?}"
    );
    let damage = |path: &Path, what: &str| {
        let sound = std::fs::read(path).unwrap();
        let mut broken = sound.clone();
        let middle = broken.len() / 2;
        broken[middle] ^= 1;
        std::fs::write(path, &broken).unwrap();
        let report = fsck(&server);
        assert!(
            report
                .problems
                .iter()
                .any(|problem| problem.what.starts_with(what)),
            "{report:?}"
        );
        std::fs::write(path, &sound[..sound.len() - 1]).unwrap();
        let options = FsckOptions {
            reads_contents: false,
        };
        let report = server
            .run(operate::fsck(&server.hub, &options, &mut |_| {}))
            .unwrap();
        assert!(
            report
                .problems
                .iter()
                .any(|problem| problem.what.starts_with(what)),
            "{report:?}"
        );
        std::fs::write(path, sound).unwrap();
    };
    damage(&object(server.objects(), "xorbs", 0), "xorb ");
    let pointers = 100;
    let pack = std::fs::read_dir(server.objects().join("packs")).unwrap();
    let packs = pack.flat_map(|head| std::fs::read_dir(head.unwrap().path()).unwrap());
    let pack = packs
        .map(|file| file.unwrap().path())
        .find(|path| path.metadata().unwrap().len() < 2 * pointers);
    damage(&pack.unwrap(), "blob ");
    assert!(fsck(&server).problems.is_empty());
}

fn gc(server: &Server) -> GcReport {
    server
        .run(operate::gc(&server.hub, &GcOptions::default()))
        .unwrap()
}

/// Thirty-one days pass.
fn wait(server: &Server) {
    const DAYS: Duration = Duration::from_secs(31 * 24 * 3600);
    server.run(server.hub.shift_marks(DAYS)).unwrap();
    let mut open = vec![server.objects().to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let file = std::fs::File::options().write(true).open(&path).unwrap();
                file.set_modified(SystemTime::now() - DAYS).unwrap();
            }
        }
    }
}

#[test]
fn gc_removes_only_what_was_unused_for_thirty_days() {
    let (server, file) = filled();
    let early = GcOptions {
        older_than: Duration::from_secs(3600),
        is_dry_run: false,
    };
    assert!(server.run(operate::gc(&server.hub, &early)).is_err());
    wait(&server);
    assert_eq!(gc(&server), GcReport::default(), "everything is in use");
    post(&server, "/api/models/admin/one/branch/side", "{}");
    let deleted = r#"{"key":"deletedFile","value":{"path":"large.bin"}}"#.to_owned();
    post(
        &server,
        "/api/models/admin/one/commit/main",
        &lines(&[deleted]),
    );
    post(&server, "/api/models/admin/one/super-squash/main", "{}");
    wait(&server);
    assert_eq!(
        gc(&server).unused,
        1,
        "the commit before the squash; the side branch keeps the file"
    );
    let gone = ureq::delete(format!(
        "{}/api/models/admin/one/branch/side",
        server.endpoint()
    ))
    .header("authorization", format!("Bearer {}", server.token))
    .call();
    assert!(gone.is_ok());
    let first = gc(&server);
    assert!(
        first.unused > 5 && first.xorbs == 0,
        "only marked: {first:?}"
    );
    assert!(read_range(&store(&server, false), &file.hash, 0..10).is_ok());
    // Somebody uploads the same contents: they are in use again, and are told so.
    wait(&server);
    let mut uploader = Uploader::new(
        store(&server, true),
        UploadOptions::default(),
        Arc::default(),
    )
    .unwrap();
    uploader.add("large", &noise(5_000_000, 3)[..]).unwrap();
    uploader.finish().unwrap();
    let second = gc(&server);
    assert!(second.commits > 0 && second.xorbs == 0, "{second:?}");
    assert!(fsck(&server).problems.is_empty());
    wait(&server);
    let third = gc(&server);
    assert_eq!((third.xorbs, third.files), (1, 3), "{third:?}");
    assert!(third.bytes > 5_000_000, "{third:?}");
    let after = fsck(&server);
    assert_eq!(
        (after.problems.len(), after.xorbs, after.files),
        (0, 0, 0),
        "{after:?}"
    );
    assert_eq!(gc(&server), GcReport::default());
    assert!(get(&server, "/admin/one/resolve/main/a/hi.txt") == "hi");
}

fn delete(server: &Server, path: &str) {
    let gone = ureq::delete(format!("{}{path}", server.endpoint()))
        .header("authorization", format!("Bearer {}", server.token))
        .call();
    assert!(gone.is_ok(), "{path}");
}

/// A commit on a branch of its own, which is deleted again; its id.
fn dropped(server: &Server, branch: &str) -> String {
    let repo = "/api/models/admin/one";
    post(server, &format!("{repo}/branch/{branch}"), "{}");
    let body = lines(&[small("side.txt", "aGk=")]).replace("change", branch);
    post(server, &format!("{repo}/commit/{branch}"), &body);
    let log = get(server, &format!("{repo}/commits/{branch}"));
    let log: serde_json::Value = serde_json::from_str(&log).unwrap();
    delete(server, &format!("{repo}/branch/{branch}"));
    log[0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn gc_leaves_what_a_commit_that_stays_leads_to() {
    let (server, _) = filled();
    dropped(&server, "first");
    assert!(gc(&server).unused > 1);
    wait(&server);
    // The same files again, and dropped again before the next run: what they were marked by is old.
    let second = dropped(&server, "second");
    let report = gc(&server);
    assert_eq!((report.commits, report.git_objects), (1, 0), "{report:?}");
    assert!(fsck(&server).problems.is_empty());
    let start = format!(r#"{{"startingPoint":"{second}"}}"#);
    post(&server, "/api/models/admin/one/branch/third", &start);
    assert_eq!(get(&server, "/admin/one/resolve/third/side.txt"), "hi");
}

#[test]
fn gc_removes_what_crashes_left() {
    let (server, _) = filled();
    let (old, new) = (
        server.spool().join(".upload-old"),
        server.spool().join(".upload-new"),
    );
    std::fs::write(&old, "x").unwrap();
    std::fs::write(&new, "x").unwrap();
    let file = std::fs::File::options().write(true).open(&old).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(2 * 24 * 3600))
        .unwrap();
    gc(&server);
    assert!(
        !old.exists() && new.exists(),
        "what is being uploaded stays"
    );
}

#[test]
fn whoever_is_about_to_refer_to_something_waits_while_gc_removes() {
    let mut database = String::new();
    let server = Server::start_with(|options| database.clone_from(&options.database));
    post(&server, "/api/repos/create", r#"{"name":"one"}"#);
    // As `gc` does it.
    let lock = if database.starts_with("sqlite") {
        "BEGIN IMMEDIATE"
    } else {
        "BEGIN; SELECT pg_advisory_xact_lock(5350411)"
    };
    sqlx::any::install_default_drivers();
    let mut gc = server.run(sqlx::AnyConnection::connect(&database)).unwrap();
    server.run(sqlx::raw_sql(lock).execute(&mut gc)).unwrap();
    let object = format!(r#"{{"oid":"{}","size":1}}"#, "0".repeat(64));
    let batch = format!(r#"{{"operation":"upload","transfers":["basic"],"objects":[{object}]}}"#);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| post(&server, "/admin/one.git/info/lfs/objects/batch", &batch));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!asking.is_finished(), "it was told what is there");
        server
            .run(sqlx::raw_sql("ROLLBACK").execute(&mut gc))
            .unwrap();
        asking.join().unwrap();
    });
}

#[test]
fn a_backup_fills_another_hub() {
    let (server, file) = filled();
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let first = server.run(operate::backup(&server.hub, &backup)).unwrap();
    assert!(first.copied_bytes > 5_000_000, "{first:?}");
    let second = server.run(operate::backup(&server.hub, &backup)).unwrap();
    assert_eq!(second.copied_bytes, 0, "{second:?}");
    let target = Options::in_folder(&folder.path().join("new"));
    let restored = server.run(operate::restore(&backup, &target)).unwrap();
    assert_eq!(restored.rows, second.rows);
    let error = server
        .run(operate::restore(&backup, &target))
        .unwrap_err()
        .to_string();
    assert!(error.contains("has accounts already"), "{error}");
    let hub = server.run(Hub::open(&target)).unwrap();
    let report = server
        .run(operate::fsck(&hub, &FsckOptions::default(), &mut |_| {}))
        .unwrap();
    assert_eq!(report, fsck(&server));
    // The same token reads the same file at the new place.
    let copy = Server::serve(hub, server.token.clone());
    assert!(
        read_range(&store(&copy, false), &file.hash, 0..5_000_000).unwrap() == noise(5_000_000, 3)
    );
    std::fs::write(backup.join("database.jsonl"), "[\"accounts\"]\n").unwrap();
    let third = Options::in_folder(&folder.path().join("third"));
    let error = server
        .run(operate::restore(&backup, &third))
        .unwrap_err()
        .to_string();
    assert!(error.contains("not the file that was written"), "{error}");
    std::fs::remove_file(backup.join("backup.json")).unwrap();
    let error = server
        .run(operate::restore(&backup, &third))
        .unwrap_err()
        .to_string();
    assert!(error.contains("was not completed"), "{error}");
}

#[test]
fn people_and_tokens_are_managed_by_name() {
    let server = Server::start();
    let hub = &server.hub;
    server.run(async {
        operate::create_user(hub, "ada", None, false).await.unwrap();
        operate::create_org(hub, "acme", "ada").await.unwrap();
        assert!(
            operate::set_member(hub, "acme", "ada", None).await.is_err(),
            "the last administrator"
        );
        operate::set_member(hub, "acme", "admin", Some(Role::Admin))
            .await
            .unwrap();
        operate::set_member(hub, "acme", "ada", Some(Role::Read))
            .await
            .unwrap();
        let members = operate::members(hub, "acme").await.unwrap();
        assert_eq!(
            members,
            [
                ("ada".to_owned(), Role::Read),
                ("admin".to_owned(), Role::Admin)
            ]
        );
        let names: Vec<String> = operate::list_users(hub)
            .await
            .unwrap()
            .into_iter()
            .map(|user| user.name)
            .collect();
        assert_eq!(names, ["ada", "admin"]);
        let grant = |target: &str| TokenRequest {
            name: "robot".to_owned(),
            role: TokenRole::FineGrained,
            expires_ms: None,
            grants: vec![TokenGrant {
                target: target.to_owned(),
                may_write: true,
            }],
        };
        assert!(
            operate::create_token(hub, "ada", &grant("acme/none"))
                .await
                .is_err()
        );
        let token = operate::create_token(hub, "ada", &grant("acme"))
            .await
            .unwrap();
        let listed = operate::list_tokens(hub, Some("ada")).await.unwrap();
        assert_eq!((listed.len(), listed[0].role.as_str()), (1, "fineGrained"));
        operate::revoke_token(hub, &token).await.unwrap();
        assert!(operate::revoke_token(hub, &listed[0].id).await.is_err());
        operate::set_disabled(hub, "ada", true).await.unwrap();
        assert!(operate::find_account(hub, "ada").await.is_err());
        operate::set_disabled(hub, "ada", false).await.unwrap();
        let stats = operate::stats(hub).await.unwrap();
        assert_eq!((stats.users, stats.orgs), (2, 1));
    });
}

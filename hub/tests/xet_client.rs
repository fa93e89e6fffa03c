//! Our client against our server: up, commit, down; again; after an interruption; with bad intentions.

mod support;

use rand::{RngCore, SeedableRng, rngs::SmallRng};
use sinew_hub::client::xet::{
    Cas, DownloadOptions, Progress, Repository, UploadOptions, UploadReport, UploadedFile,
    Uploader, download, read_range,
};
use sinew_hub::client::{ClientError, HttpOptions};
use std::sync::Arc;
use std::time::Duration;
use support::Server;

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

fn post(server: &Server, path: &str, body: &str) {
    let mut response = ureq::post(format!("{}{path}", server.endpoint()))
        .header("authorization", format!("Bearer {}", server.token))
        .header("content-type", "application/json")
        .send(body)
        .unwrap();
    assert!(
        response.status().is_success(),
        "{:?}",
        response.body_mut().read_to_string()
    );
}

/// The store of `admin/name`.
fn store(server: &Server, name: &str, may_write: bool, token: Option<&str>) -> Arc<Cas> {
    let repository = Repository {
        endpoint: server.endpoint(),
        token: token.map(str::to_owned),
        kind: "models".into(),
        id: format!("admin/{name}"),
        revision: "main".into(),
    };
    let options = HttpOptions {
        backoff: Duration::from_millis(10),
        ..HttpOptions::default()
    };
    Arc::new(Cas::of_repository(repository, may_write, &options))
}

fn upload(cas: &Arc<Cas>, files: &[&[u8]]) -> (Vec<UploadedFile>, UploadReport) {
    let mut uploader =
        Uploader::new(cas.clone(), UploadOptions::default(), Arc::default()).unwrap();
    let files = files
        .iter()
        .map(|data| uploader.add("file", *data).unwrap())
        .collect();
    (files, uploader.finish().unwrap())
}

fn commit(server: &Server, name: &str, path: &str, file: &UploadedFile) {
    let oid: String = file
        .sha256
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let lines = format!(
        "{}\n{}\n",
        r#"{"key":"header","value":{"summary":"add","description":""}}"#,
        format_args!(
            r#"{{"key":"lfsFile","value":{{"path":"{path}","algo":"sha256","oid":"{oid}","size":{}}}}}"#,
            file.size
        )
    );
    post(
        server,
        &format!("/api/models/admin/{name}/commit/main"),
        &lines,
    );
}

#[test]
fn what_goes_up_comes_down() {
    let server = Server::start();
    post(
        &server,
        "/api/repos/create",
        r#"{"name":"policy","private":true}"#,
    );
    let writer = store(&server, "policy", true, Some(&server.token));
    let data = [
        noise(70 << 20, 1),
        b"0123456789".repeat(300_000),
        noise(5, 2),
    ];
    let (files, report) = upload(&writer, &data.each_ref().map(Vec::as_slice));
    assert_eq!((report.files, report.xorbs), (3, 2), "{report:?}");
    let folder = tempfile::tempdir().unwrap();
    let reader = store(&server, "policy", false, Some(&server.token));
    for (number, (file, data)) in files.iter().zip(&data).enumerate() {
        commit(&server, "policy", &format!("{number}.bin"), file);
        let path = folder.path().join("file");
        let (options, progress) = (DownloadOptions::default(), Progress::default());
        download(&reader, &file.hash, file.size, &path, &options, &progress).unwrap();
        assert!(std::fs::read(&path).unwrap() == *data, "file {number}");
    }
    let part = read_range(&reader, &files[0].hash, 30_000_001..60_000_000).unwrap();
    assert!(part == data[0][30_000_001..60_000_000]);
}

#[test]
fn what_is_known_is_not_sent_again() {
    let server = Server::start();
    post(&server, "/api/repos/create", r#"{"name":"data"}"#);
    let cas = store(&server, "data", true, Some(&server.token));
    let mut data = noise(40 << 20, 5);
    let (first, _) = upload(&cas, &[&data]);
    commit(&server, "data", "a.bin", &first[0]);
    let (again, report) = upload(&cas, &[&data]);
    assert_eq!((first, report.xorbs), (again, 0), "{report:?}");
    data.splice(20_000_000..20_000_000, noise(1000, 6));
    let (_, report) = upload(&cas, &[&data]);
    assert!(report.packed_bytes < 1 << 20, "{report:?}");
}

#[test]
fn strangers_are_refused() {
    let server = Server::start();
    post(
        &server,
        "/api/repos/create",
        r#"{"name":"secret","private":true}"#,
    );
    let writer = store(&server, "secret", true, Some(&server.token));
    let (files, _) = upload(&writer, &[&noise(100_000, 1)]);
    commit(&server, "secret", "a.bin", &files[0]);
    let refused = |error: ClientError| {
        matches!(
            error,
            ClientError::Refused {
                status: 401..=404,
                ..
            }
        )
    };
    for token in [None, Some("hf_wrong")] {
        let stranger = store(&server, "secret", false, token);
        let error = read_range(&stranger, &files[0].hash, 0..10).unwrap_err();
        assert!(refused(error));
        let mut uploader = Uploader::new(
            store(&server, "secret", true, token),
            UploadOptions::default(),
            Arc::default(),
        )
        .unwrap();
        uploader.add("file", &noise(1000, 2)[..]).unwrap();
        assert!(refused(uploader.finish().unwrap_err()));
    }
    // Who may only read cannot upload.
    let mut uploader = Uploader::new(
        store(&server, "secret", false, Some(&server.token)),
        UploadOptions::default(),
        Arc::default(),
    )
    .unwrap();
    uploader.add("file", &noise(1000, 3)[..]).unwrap();
    assert!(refused(uploader.finish().unwrap_err()));
}

//! Our client, their client and their test server: what one uploads, the other downloads.

mod common;

use common::mixed;
use rand::{RngCore, SeedableRng, rngs::SmallRng};
use sinew_hub::client::xet::{
    Cas, CasToken, DownloadOptions, Progress, UploadOptions, UploadReport, UploadedFile, Uploader,
    download, read_range,
};
use sinew_hub::client::{ClientError, Http, HttpOptions};
use sinew_hub::xet::Hash;
use std::path::Path;
use std::sync::Arc;
use xet_data::processing::test_utils::TestEnvironment;
use xet_data::processing::{FileDownloadSession, FileUploadSession, Sha256Policy, XetFileInfo};

async fn environment() -> TestEnvironment {
    let _ = rustls::crypto::ring::default_provider().install_default();
    TestEnvironment::new().await
}

fn store(env: &TestEnvironment) -> Arc<Cas> {
    let token = CasToken {
        url: env.config.session.endpoint.clone(),
        token: "any".into(),
        expires: u64::MAX,
    };
    Arc::new(Cas::new(Http::new(HttpOptions::default()), move || {
        Ok(token.clone())
    }))
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Uploads by our client, as if from a new machine.
fn upload(cas: &Arc<Cas>, files: &[&[u8]]) -> (Vec<UploadedFile>, UploadReport) {
    let mut uploader =
        Uploader::new(cas.clone(), UploadOptions::default(), Arc::default()).unwrap();
    let files = files
        .iter()
        .map(|data| uploader.add("file", *data).unwrap())
        .collect();
    (files, uploader.finish().unwrap())
}

fn fetch(cas: &Cas, file: &UploadedFile, to: &Path) -> Result<Vec<u8>, ClientError> {
    download(
        cas,
        &file.hash,
        file.size,
        to,
        &DownloadOptions::default(),
        &Progress::default(),
    )?;
    Ok(std::fs::read(to).unwrap())
}

async fn their_upload(env: &TestEnvironment, data: &[u8]) -> XetFileInfo {
    let session = FileUploadSession::new(env.config.clone()).await.unwrap();
    let size = Some(data.len() as u64);
    let (_, mut cleaner) = session
        .start_clean(Some("f".into()), size, Sha256Policy::Compute)
        .unwrap();
    cleaner.add_data(data).await.unwrap();
    let (info, _) = cleaner.finish().await.unwrap();
    session.finalize().await.unwrap();
    info
}

/// Runs our client, which blocks, beside their server.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn files() -> Vec<Vec<u8>> {
    let around = [1, 100, 8191, 65_536, 131_072, 131_073]
        .into_iter()
        .map(|len| mixed(len, len as u64));
    around
        .chain([noise(70 << 20, 1), mixed(30 << 20, 2)])
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_we_upload_both_download() {
    let env = environment().await;
    let (cas, folder) = (store(&env), env.base_dir.clone());
    let uploaded = blocking(move || {
        let data = files();
        let (uploaded, report) = upload(&cas, &data.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert!(report.xorbs >= 2 && report.known_bytes < report.file_bytes);
        for (file, data) in uploaded.iter().zip(&data) {
            assert_eq!(file.size, data.len() as u64);
            assert!(
                fetch(&cas, file, &folder.join("ours")).unwrap() == *data,
                "{} bytes",
                data.len()
            );
        }
        uploaded
    })
    .await;
    let session = FileDownloadSession::new(env.config.clone(), None)
        .await
        .unwrap();
    for (file, data) in uploaded.iter().zip(files()) {
        let info = XetFileInfo::new(file.hash.to_string(), file.size);
        let path = env.base_dir.join("theirs");
        session.download_file(&info, &path).await.unwrap();
        assert!(
            std::fs::read(&path).unwrap() == data,
            "{} bytes",
            data.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_they_upload_we_download() {
    let env = environment().await;
    for (number, data) in files().into_iter().enumerate() {
        let info = their_upload(&env, &data).await;
        let (cas, path) = (store(&env), env.base_dir.join(number.to_string()));
        let file = UploadedFile {
            hash: info.hash().parse().unwrap(),
            size: data.len() as u64,
            sha256: [0; 32],
        };
        blocking(move || {
            assert!(
                fetch(&cas, &file, &path).unwrap() == data,
                "{} bytes",
                data.len()
            )
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_is_not_sent_again() {
    let env = environment().await;
    let cas = store(&env);
    blocking(move || {
        let mut data = noise(40 << 20, 5);
        let (first, _) = upload(&cas, &[&data]);
        let (again, report) = upload(&cas, &[&data]);
        assert_eq!((first, report.xorbs), (again, 0), "{report:?}");
        data.splice(20_000_000..20_000_000, noise(1000, 6));
        let (_, report) = upload(&cas, &[&data]);
        assert!(report.packed_bytes < 1 << 20, "{report:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_download_goes_on_and_a_spoilt_one_begins_anew() {
    let env = environment().await;
    let (cas, folder) = (store(&env), env.base_dir.clone());
    blocking(move || {
        let data = noise(50 << 20, 7);
        let (files, _) = upload(&cas, &[&data]);
        let (path, part) = (folder.join("f"), folder.join("f.part"));
        let progress = Progress::default();
        std::fs::write(&part, &data[..30_000_000]).unwrap();
        download(
            &cas,
            &files[0].hash,
            files[0].size,
            &path,
            &DownloadOptions::default(),
            &progress,
        )
        .unwrap();
        assert!(std::fs::read(&path).unwrap() == data);
        assert!(progress.wire_bytes.into_inner() < 23_000_000);
        std::fs::write(&part, vec![9; 30_000_000]).unwrap();
        assert!(fetch(&cas, &files[0], &path).unwrap() == data);
        std::fs::write(&part, [&data[..], b"more"].concat()).unwrap();
        assert!(fetch(&cas, &files[0], &path).unwrap() == data);
        assert!(!part.exists());
        let range = read_range(&cas, &files[0].hash, 10_000_001..40_000_003).unwrap();
        assert!(range == data[10_000_001..40_000_003]);
        let wrong = UploadedFile {
            size: files[0].size - 1,
            ..files[0]
        };
        assert!(matches!(
            fetch(&cas, &wrong, &path),
            Err(ClientError::Protocol { .. })
        ));
        let nobodys = UploadedFile {
            hash: Hash::from_bytes([1; 32]),
            ..files[0]
        };
        let refused = fetch(&cas, &nobodys, &path);
        assert!(
            matches!(refused, Err(ClientError::Refused { .. })),
            "{refused:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_give_a_file_the_same_name() {
    let env = environment().await;
    let data = mixed(9_000_000, 11);
    let info = their_upload(&env, &data).await;
    let cas = store(&env);
    blocking(move || {
        let (files, report) = upload(&cas, &[&data]);
        assert_eq!(files[0].hash.to_string(), info.hash());
        assert_eq!(report.xorbs, 0, "their upload is known to us");
    })
    .await;
}

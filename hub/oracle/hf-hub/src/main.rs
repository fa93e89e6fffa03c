//! The flows of hf-hub, Hugging Face's client in Rust, against `HF_ENDPOINT` as the user `admin`. Prints what passed;
//! whatever goes wrong ends it with the error.

use hf_hub::repository::diff::GitStatus;
use hf_hub::repository::{AddSource, CommitOperation, RepoTreeEntry};
use hf_hub::{HFClientSync, HFError, RepoTypeDataset, RepoTypeModel};
use rand::{RngCore, SeedableRng, rngs::SmallRng};
use std::error::Error;
use std::path::Path;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let client = HFClientSync::new()?;
    let work = tempfile::tempdir()?;
    let flows: [(&str, fn(&HFClientSync, &Path) -> Outcome); 5] = [
        ("identity", identity),
        ("lifecycle", lifecycle),
        ("small_files", small_files),
        ("large_files", large_files),
        ("compare", compare),
    ];
    println!("hf-hub 1.0.0");
    for (name, flow) in flows {
        flow(&client, work.path()).map_err(|error| format!("{name}: {error}"))?;
        println!("passed {name}");
    }
    Ok(())
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

fn identity(client: &HFClientSync, _: &Path) -> Outcome {
    let me = client.whoami().send()?;
    assert_eq!(me.username, "admin");
    Ok(())
}

fn lifecycle(client: &HFClientSync, _: &Path) -> Outcome {
    let make = || {
        let ask = client.create_repository().repo_id("admin/rust-life");
        ask.repo_type(RepoTypeModel)
    };
    let url = make().private(true).send()?;
    assert!(url.url.ends_with("/admin/rust-life"), "{url:?}");
    make().exist_ok(true).send()?;
    assert!(make().send().is_err(), "it exists");
    let repo = client.model("admin", "rust-life");
    let info = repo.info().send()?;
    assert_eq!(
        (info.id.as_str(), info.private),
        ("admin/rust-life", Some(true))
    );
    repo.create_branch().branch("side").send()?;
    repo.create_tag().tag("v1").message("one").send()?;
    let refs = repo.list_refs().send()?;
    let names: Vec<&str> = refs
        .branches
        .iter()
        .map(|branch| branch.name.as_str())
        .collect();
    assert_eq!(
        (names.as_slice(), refs.tags.len()),
        (["main", "side"].as_slice(), 1)
    );
    repo.delete_tag().tag("v1").send()?;
    repo.delete_branch().branch("side").send()?;
    let moved = client
        .move_repository()
        .from_id("admin/rust-life")
        .to_id("admin/rust-lived");
    moved.repo_type(RepoTypeModel).send()?;
    assert!(client.model("admin", "rust-lived").exists().send()?);
    let gone = client.delete_repository().repo_id("admin/rust-lived");
    gone.repo_type(RepoTypeModel).send()?;
    let missing = client.model("admin", "rust-lived").info().send();
    assert!(
        matches!(missing, Err(HFError::RepoNotFound { .. })),
        "{missing:?}"
    );
    Ok(())
}

fn small_files(client: &HFClientSync, work: &Path) -> Outcome {
    client
        .create_repository()
        .repo_id("admin/rust-small")
        .repo_type(RepoTypeModel)
        .send()?;
    let repo = client.model("admin", "rust-small");
    let operations = vec![
        CommitOperation::add_bytes("README.md", b"---\nlicense: mit\n---\n# Hi\n".as_slice()),
        CommitOperation::add_bytes("a/b/c.txt", b"deep".as_slice()),
        CommitOperation::add_bytes("empty.txt", b"".as_slice()),
    ];
    let commit = repo
        .create_commit()
        .operations(operations)
        .commit_message("first")
        .send()?;
    let oid = commit.commit_oid.ok_or("the commit has no id")?;
    let tree = repo.list_tree().recursive(true).send()?;
    let files = tree.iter().filter_map(|entry| match entry {
        RepoTreeEntry::File { path, size, .. } if path != ".gitattributes" => {
            Some((path.as_str(), *size))
        }
        _ => None,
    });
    let mut files: Vec<_> = files.collect();
    files.sort_unstable();
    assert_eq!(
        files,
        [("README.md", 26), ("a/b/c.txt", 4), ("empty.txt", 0)]
    );
    let cached = repo.download_file().filename("a/b/c.txt").send()?;
    assert_eq!(std::fs::read(cached)?, b"deep");
    let folder = work.join("small");
    repo.snapshot_download().local_dir(folder.clone()).send()?;
    assert_eq!(std::fs::read(folder.join("empty.txt"))?, b"");
    let missing = repo.download_file().filename("none.txt").send();
    assert!(
        matches!(missing, Err(HFError::EntryNotFound { .. })),
        "{missing:?}"
    );
    let commits = repo.list_commits().send()?;
    assert_eq!(
        (commits[0].id.as_str(), commits[0].title.as_str()),
        (oid.as_str(), "first")
    );
    repo.delete_file().path_in_repo("empty.txt").send()?;
    assert!(!repo.file_exists().filename("empty.txt").send()?);
    let ask = repo
        .upload_file()
        .source(AddSource::bytes(b"offered".as_slice()));
    let offer = ask.path_in_repo("offer.txt").create_pr(true).send()?;
    assert!(offer.commit_oid.is_some(), "{offer:?}");
    assert!(
        repo.file_exists()
            .filename("offer.txt")
            .revision("refs/pr/1")
            .send()?
    );
    assert!(!repo.file_exists().filename("offer.txt").send()?);
    Ok(())
}

fn large_files(client: &HFClientSync, work: &Path) -> Outcome {
    client
        .create_repository()
        .repo_id("admin/rust-large")
        .repo_type(RepoTypeDataset)
        .send()?;
    let repo = client.dataset("admin", "rust-large");
    let source = work.join("source");
    std::fs::create_dir_all(source.join("data"))?;
    let mut big = noise(12_000_000, 1);
    std::fs::write(source.join("big.bin"), &big)?;
    std::fs::write(source.join("data/small.bin"), noise(1000, 2))?;
    std::fs::write(source.join("data/text.txt"), "hello\n")?;
    let first = repo
        .upload_folder()
        .folder_path(source.clone())
        .commit_message("all")
        .send()?;
    check_download(client, work, "copy", &source)?;
    let info = repo.get_file_metadata().filepath("big.bin").send()?;
    assert_eq!(info.file_size, big.len() as u64);
    assert!(
        info.xet_hash.is_some(),
        "large files come over the chunk store"
    );
    // A little in the middle.
    big.splice(5_000_000..5_000_000, noise(1000, 3));
    std::fs::write(source.join("big.bin"), &big)?;
    repo.upload_folder()
        .folder_path(source.clone())
        .commit_message("more")
        .send()?;
    check_download(client, work, "copy2", &source)?;
    let old = first.commit_oid.ok_or("the commit has no id")?;
    let part = repo
        .download_file_to_bytes()
        .filename("big.bin")
        .revision(old);
    let part = part.range(4_999_990..6_000_010).send()?;
    assert!(
        part == noise(12_000_000, 1)[4_999_990..6_000_010],
        "a part of the older one"
    );
    Ok(())
}

fn check_download(client: &HFClientSync, work: &Path, name: &str, source: &Path) -> Outcome {
    let folder = work.join(name);
    let repo = client.dataset("admin", "rust-large");
    repo.snapshot_download().local_dir(folder.clone()).send()?;
    for file in ["big.bin", "data/small.bin", "data/text.txt"] {
        let same = std::fs::read(source.join(file))? == std::fs::read(folder.join(file))?;
        assert!(same, "{file} in {name}");
    }
    Ok(())
}

fn compare(client: &HFClientSync, _: &Path) -> Outcome {
    let repo = client.dataset("admin", "rust-large");
    let operations = vec![
        CommitOperation::add_bytes("data/text.txt", b"other\n".as_slice()),
        CommitOperation::add_bytes("new file.txt", b"new\n".as_slice()),
        CommitOperation::delete("data/small.bin"),
    ];
    repo.create_commit()
        .operations(operations)
        .commit_message("three")
        .send()?;
    let commits = repo.list_commits().send()?;
    for spec in [format!("{}..main", commits[1].id), "main".to_owned()] {
        let mut found = repo.get_raw_diff_stream().compare(spec).send()?;
        found.sort_by(|one, other| one.file_path.cmp(&other.file_path));
        let seen: Vec<_> = found
            .iter()
            .map(|one| {
                (
                    &one.status,
                    one.file_path.as_str(),
                    one.is_binary,
                    one.new_file_size,
                )
            })
            .collect();
        let expected = [
            (&GitStatus::Deletion, "data/small.bin", true, 0),
            (&GitStatus::Modification, "data/text.txt", false, 6),
            (&GitStatus::Addition, "new file.txt", false, 4),
        ];
        assert_eq!(seen, expected);
        assert!(found[0].new_blob_id.bytes().all(|digit| digit == b'0'));
        assert_eq!(
            found[2].new_blob_id,
            "3e757656cf36eca53338e520d134963a44f793f8"
        );
    }
    Ok(())
}

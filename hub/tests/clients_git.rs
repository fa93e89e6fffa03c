//! The real git and git-lfs against the server: clone, push, and what a push must not do. Run by `make interop`.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Server, get, post, python};

/// A home of its own, so that no setting of this machine has a say.
struct Git {
    server: Server,
    home: PathBuf,
    path: String,
}

impl Git {
    fn start() -> Self {
        let server = Server::start();
        let home = server.folder().join("git");
        std::fs::create_dir_all(&home).unwrap();
        // git finds git-lfs on the path; the environment is made by scripts/setup.
        let lfs = python("hub-git").with_file_name("");
        assert!(
            lfs.join("git-lfs").exists(),
            "{} has no git-lfs: run scripts/setup interop",
            lfs.display()
        );
        let path = format!("{}:{}", std::env::var("PATH").unwrap(), lfs.display());
        let git = Self { server, home, path };
        for (name, value) in [
            ("user.name", "A Tester"),
            ("user.email", "a@b"),
            ("init.defaultBranch", "main"),
        ] {
            git.ok(Path::new("."), &["config", "--global", name, value]);
        }
        git
    }

    fn run(&self, folder: impl AsRef<Path>, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(self.home.join(folder))
            .env("HOME", &self.home)
            .env("PATH", &self.path)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        let output = command.output().expect("git is not installed");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    fn ok(&self, folder: impl AsRef<Path>, arguments: &[&str]) -> String {
        let (is_fine, said) = self.run(folder, arguments);
        assert!(is_fine, "git {arguments:?}: {said}");
        said
    }

    /// Fails, and says why.
    fn refused(&self, folder: &str, arguments: &[&str], why: &str) {
        let (is_fine, said) = self.run(folder, arguments);
        assert!(!is_fine && said.contains(why), "git {arguments:?}: {said}");
    }

    fn create(&self, name: &str) -> String {
        post(
            &self.server,
            "/api/repos/create",
            &format!(r#"{{"name":"{name}","private":true}}"#),
        );
        let endpoint = self.server.endpoint().replace("http://", "");
        format!("http://admin:{}@{endpoint}/admin/{name}", self.server.token)
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.home.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.home.join(path)).unwrap()
    }

    fn commit(&self, folder: &str, message: &str) {
        self.ok(folder, &["add", "-A"]);
        self.ok(folder, &["commit", "-q", "-m", message]);
    }
}

#[test]
fn pushes_come_back_in_a_clone() {
    let git = Git::start();
    let url = git.create("round");
    git.ok(".", &["clone", "-q", &url, "one"]);
    git.ok("one", &["lfs", "install", "--local"]);
    let large: Vec<u8> = (0..3_000_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let lines: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    git.write("one/large.bin", &large);
    git.write("one/deep/er/lines.txt", lines.as_bytes());
    git.write("one/README.md", b"---\ntags: [so101]\n---\n");
    git.commit("one", "First");
    git.ok("one", &["push", "origin", "main"]);
    // The same file, a little different: git sends a delta.
    git.write("one/deep/er/lines.txt", (lines + "more\n").as_bytes());
    git.commit("one", "Second");
    git.ok("one", &["push", "origin", "main"]);
    git.ok(".", &["clone", "-q", &url, "two"]);
    git.ok("two", &["lfs", "install", "--local"]);
    git.ok("two", &["lfs", "pull"]);
    assert!(git.read("two/large.bin") == large);
    assert!(
        git.read("two/deep/er/lines.txt")
            .ends_with(b"19999\nmore\n")
    );
    git.ok("two", &["fsck", "--full", "--strict"]);
    let info = support::get(&git.server, "/api/models/admin/round");
    assert!(
        info.contains("so101") && info.contains("large.bin"),
        "{info}"
    );
}

#[test]
fn branches_tags_and_merges_move_as_gits_do() {
    let git = Git::start();
    let url = git.create("refs");
    git.ok(".", &["clone", "-q", &url, "one"]);
    git.ok("one", &["checkout", "-q", "-b", "side"]);
    git.write("one/side.txt", b"side");
    git.commit("one", "Side");
    git.ok("one", &["checkout", "-q", "main"]);
    git.write("one/main.txt", b"main");
    git.commit("one", "Main");
    git.ok("one", &["merge", "-q", "--no-ff", "-m", "Merge", "side"]);
    git.ok("one", &["tag", "v1"]);
    git.ok("one", &["push", "--atomic", "origin", "main", "side", "v1"]);
    git.ok(".", &["clone", "-q", &url, "two"]);
    let log = git.ok("two", &["log", "--format=%s %p", "origin/main"]);
    assert!(log.starts_with("Merge ") && log.contains("Side"), "{log}");
    // Somebody else was faster.
    git.write("two/two.txt", b"two");
    git.commit("two", "Two");
    git.ok("two", &["push", "-q", "origin", "main"]);
    git.write("one/late.txt", b"late");
    git.commit("one", "Late");
    git.refused("one", &["push", "origin", "main"], "fetch first");
    git.ok("one", &["pull", "-q", "--rebase", "origin", "main"]);
    git.ok("one", &["push", "-q", "origin", "main"]);
    // Back to what an old commit had, whose objects git need not send again.
    git.ok("one", &["checkout", "-q", "-b", "old", "v1"]);
    git.ok("one", &["push", "-q", "origin", "old"]);
    git.ok("one", &["push", "-q", "--delete", "origin", "old", "v1"]);
    git.refused(
        "one",
        &["push", "--delete", "origin", "main"],
        "cannot be deleted",
    );
    git.ok("one", &["checkout", "-q", "main"]);
    git.ok("one", &["reset", "-q", "--hard", "HEAD~1"]);
    git.ok("one", &["push", "-q", "--force", "origin", "main"]);
    git.ok(".", &["clone", "-q", &url, "three"]);
    let heads = git.ok("three", &["ls-remote", "origin"]);
    assert!(
        heads.contains("refs/heads/side") && !heads.contains("refs/tags/v1"),
        "{heads}"
    );
}

#[test]
fn annotated_tags_come_back_as_they_were_pushed() {
    let git = Git::start();
    let url = git.create("tagged");
    git.ok(".", &["clone", "-q", &url, "one"]);
    git.ok(".", &["clone", "-q", &url, "early"]);
    git.write("one/a.txt", b"a");
    git.commit("one", "A release");
    git.ok("one", &["tag", "-a", "-m", "What is new", "v1"]);
    git.ok("one", &["push", "-q", "--follow-tags", "origin", "main"]);
    let tag = git.ok("one", &["rev-parse", "v1"]);
    let commit = git.ok("one", &["rev-parse", "main"]);
    let listed = git.ok("one", &["ls-remote", "origin"]);
    let (tag, commit) = (tag.trim(), commit.trim());
    assert!(
        listed.contains(&format!("{tag}\trefs/tags/v1\n")),
        "{listed}"
    );
    assert!(
        listed.contains(&format!("{commit}\trefs/tags/v1^{{}}")),
        "{listed}"
    );
    // By a clone, by a fetch that follows tags, by name alone, and at a depth.
    git.ok(".", &["clone", "-q", &url, "two"]);
    git.ok("early", &["fetch", "-q"]);
    git.ok(".", &["init", "-q", "three"]);
    git.ok("three", &["fetch", "-q", &url, "refs/tags/v1:refs/tags/v1"]);
    git.ok(
        ".",
        &[
            "clone", "-q", "--depth", "1", "--branch", "v1", &url, "four",
        ],
    );
    for place in ["two", "early", "three", "four"] {
        let words = git.ok(
            place,
            &[
                "for-each-ref",
                "--format=%(objectname) %(contents)",
                "refs/tags/v1",
            ],
        );
        assert!(
            words.starts_with(tag) && words.contains("What is new"),
            "{place}: {words}"
        );
        git.ok(place, &["fsck", "--strict"]);
    }
    // The hub's own interface knows the commit by the tag's name.
    assert_eq!(get(&git.server, "/admin/tagged/resolve/v1/a.txt"), "a");
    // The same tag by another name, which git need not send again; then one moved, and one removed.
    git.ok("two", &["push", "-q", "origin", "v1:refs/tags/also"]);
    git.ok(
        "one",
        &["tag", "-f", "-a", "-m", "Once more", "v1", "main~1"],
    );
    git.refused("one", &["push", "origin", "v1"], "already exists");
    git.ok("one", &["push", "-q", "--force", "origin", "v1"]);
    git.refused(
        "two",
        &[
            "push",
            "--force-with-lease=v1:v1",
            "origin",
            "main:refs/tags/v1",
        ],
        "stale info",
    );
    git.refused(
        "one",
        &["push", "origin", "+refs/tags/v1:refs/heads/odd"],
        "branches go to commits",
    );
    git.ok("one", &["push", "-q", "--delete", "origin", "also"]);
    git.ok(
        "one",
        &["push", "-q", "--force", "origin", "main:refs/tags/v1"],
    );
    let listed = git.ok("one", &["ls-remote", "--tags", "origin"]);
    assert_eq!(listed, format!("{commit}\trefs/tags/v1\n"));
}

#[test]
fn what_the_hub_does_not_keep_is_refused() {
    let git = Git::start();
    let url = git.create("rules");
    git.ok(".", &["clone", "-q", &url, "one"]);
    let start = git.ok("one", &["rev-parse", "HEAD"]);
    let again = |what: &str, why: &str| {
        git.commit("one", what);
        git.refused("one", &["push", "origin", "main"], why);
        git.ok("one", &["reset", "-q", "--hard", start.trim()]);
    };
    std::os::unix::fs::symlink("/etc/passwd", git.home.join("one/link")).unwrap();
    again("A link", "symbolic link");
    git.write("one/nul.txt", b"x");
    again("A device", "device");
    git.write("one/a.txt", b"x");
    git.write("one/A.txt", b"y");
    again("Case", "case aside");
    git.write("one/large.txt", &vec![b'x'; 17 << 20]);
    again("A large file without git-lfs", "git-lfs");
    let pointer = format!(
        "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 5\n",
        "0".repeat(64)
    );
    git.write("one/pointer.txt", pointer.as_bytes());
    again("A pointer to nothing", "git lfs push");
    git.ok("one", &["tag", "-a", "-m", "words", "v2"]);
    git.ok("one", &["tag", "-a", "-m", "a tag on it", "v3", "v2"]);
    git.refused("one", &["push", "origin", "v3"], "tags on commits");
    git.ok(
        "one",
        &["tag", "-a", "-m", "a file", "v4", "main:.gitattributes"],
    );
    git.refused("one", &["push", "origin", "v4"], "tags on commits");
    git.refused(
        "one",
        &["push", "origin", "main:refs/odd/name"],
        "no branch, tag or pull request",
    );
    // Nothing of it is to be seen.
    let refs = git.ok("one", &["ls-remote", "origin"]);
    assert_eq!(
        refs.matches(start.trim()).count(),
        refs.lines().count(),
        "{refs}"
    );
    // A stranger, and a token that may only read.
    let public = format!("{}/admin/rules", git.server.endpoint());
    git.refused("one", &["push", &public, "main"], "could not read Username");
}

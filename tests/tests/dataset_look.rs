//! `sinew dataset stats | diff | view`: what they print, their JSON, their exit codes, and that Rerun
//! itself loads what Sinew records.

#[path = "support/recorded.rs"]
mod support;

use sinew_tests::{Outcome, Running, peer_python};
use std::path::Path;
use std::process::Command;
use support::{CAMERAS, ROWS, recorded};

fn dataset(verb: &str, arguments: &[&str]) -> Outcome {
    let mut all = vec!["dataset", verb];
    all.extend(arguments);
    Running::to_end(&all)
}

#[test]
fn stats_prints_compares_and_mends() {
    let (_folder, root) = recorded();
    let path = root.to_str().unwrap();
    let stored = dataset("stats", &[path]);
    stored.succeeded();
    stored.prints(&[
        "observation.state, 98 values each",
        "shoulder_pan.pos",
        "green",
        "q99",
    ]);
    let json = dataset("stats", &[path, "--json"]).json();
    assert_eq!(json["action"]["count"], 98);
    assert_eq!(
        json["observation.images.front"]["mean"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let checked = dataset("stats", &[path, "--check"]);
    checked.succeeded();
    checked.prints(&["compared: 0 wrong, 0 approximate"]);
    dataset("stats", &[path, "--write"]).succeeded();
    let checked = dataset("stats", &[path, "--check", "--json"]);
    checked.succeeded();
    assert_eq!(checked.json()["discrepancies"], serde_json::json!([]));
    let file = root.join("meta/stats.json");
    let bytes = std::fs::read(&file).unwrap();
    let mut stored: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    stored["observation.state"]["count"] = serde_json::json!([99]);
    std::fs::write(&file, stored.to_string()).unwrap();
    let wrong = dataset("stats", &[path, "--check"]);
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    wrong.prints(&[
        "wrong",
        "dataset · observation.state",
        "count is 99, but the data give 98",
        "--write",
    ]);
    let both = dataset("stats", &[path, "--check", "--write"]);
    assert_eq!(both.code, Some(2), "{both:?}");
    std::fs::remove_file(&file).unwrap();
    dataset("stats", &[path]).failed(2, &["stats.json", "sinew dataset doctor"]);
}

#[test]
fn diff_ends_with_a_code_and_names_what_differs() {
    let (folder, root) = recorded();
    let path = root.to_str().unwrap();
    let same = dataset("diff", &[path, path]);
    same.succeeded();
    same.prints(&[
        "3 episodes are the same",
        "6 with the same bytes",
        "the datasets are the same",
    ]);
    let other = folder.path().join("other");
    let other = other.to_str().unwrap();
    dataset("edit", &["trim", path, "--cut", "1:5-", "--out", other]).succeeded();
    let found = dataset("diff", &[path, other]);
    assert_eq!(found.code, Some(1), "{found:?}");
    found.prints(&[
        "25 rows in a, 20 in b",
        "from row 5 of a and 0 of b",
        "different",
    ]);
    let json = dataset("diff", &[path, other, "--json"]).json();
    assert_eq!(
        (&json["same_episodes"], &json["episodes"][0]["from_a"]),
        (&2.into(), &5.into())
    );
    let third = folder.path().join("third");
    let third = third.to_str().unwrap();
    dataset("edit", &["delete", path, "--episodes", "0", "--out", third]).succeeded();
    dataset("diff", &[path, third]).prints(&["only in a: 0", "2 episodes are the same"]);
    let nowhere = folder.path().join("nowhere");
    dataset("diff", &[path, nowhere.to_str().unwrap()]).failed(2, &["nowhere", "does not exist"]);
    std::fs::write(Path::new(third).join("meta/tasks.parquet"), "PAR1").unwrap();
    dataset("diff", &[path, third]).failed(2, &["tasks.parquet", "sinew dataset doctor"]);
}

#[test]
fn view_writes_a_page_and_refuses_what_makes_no_sense() {
    let (folder, root) = recorded();
    let path = root.to_str().unwrap();
    let out = folder.path().join("page.html");
    let page = out.to_str().unwrap();
    let made = dataset("view", &[path, "--out", page]);
    made.succeeded();
    made.prints(&["page.html", "with 3 episodes"]);
    let html = std::fs::read_to_string(&out).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains("so_follower"));
    let json = dataset("view", &[path, "--out", page, "--episode", "0,2", "--json"]).json();
    assert_eq!(
        (&json["episodes"], &json["left_out"]),
        (&2.into(), &serde_json::json!([]))
    );
    dataset("view", &[path, "--out", page, "--episode", "7"])
        .failed(2, &["episode 7", "episodes 0 to 2"]);
    dataset("view", &[path, "--out", page, "--episode", "x"]).failed(2, &["no list of episodes"]);
    dataset("view", &[path, "--out", path]).failed(2, &["is a folder"]);
    let nowhere = folder.path().join("no/where/page.html");
    let made = dataset("view", &[path, "--out", nowhere.to_str().unwrap()]);
    made.succeeded();
}

/// Runs Rerun's own command.
fn rerun(arguments: &[&str]) -> String {
    let output = Command::new(peer_python("light").with_file_name("rerun"))
        .args(arguments)
        .output()
        .expect("rerun starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "rerun {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Rows of the chunks of an entity with a component, as `rerun rrd print` lists them, in order of size.
fn rows_of(listing: &str, entity: &str, component: &str) -> Vec<u32> {
    let ending = format!(" - {entity} - data columns: [{component}]");
    let rows = |line: &str| {
        let (_, rest) = line.split_once(" with ")?;
        rest.split_once(" rows")?.0.parse().ok()
    };
    let chunks = listing.lines().filter(|line| line.ends_with(&ending));
    let mut found: Vec<u32> = chunks.filter_map(rows).collect();
    found.sort_unstable();
    found
}

/// Rerun's importer of LeRobot datasets is its own code: it sees every row and every frame of each
/// episode that Sinew recorded.
#[test]
fn rerun_loads_every_row_and_frame_of_a_recorded_dataset() {
    let (folder, root) = recorded();
    let loaded = folder.path().join("loaded.rrd");
    let (root, loaded) = (root.to_str().unwrap(), loaded.to_str().unwrap());
    rerun(&[root, "--save", loaded, "--bind", "127.0.0.1", "--port", "0"]);
    rerun(&["rrd", "verify", loaded]);
    let listing = rerun(&["rrd", "print", loaded]);
    let mut expected = ROWS;
    expected.sort_unstable();
    for numbers in ["/observation.state", "/action", "/timing"] {
        let rows = rows_of(&listing, numbers, "Scalars:scalars");
        assert_eq!(rows, expected, "{numbers} in:\n{listing}");
        let named = rows_of(&listing, numbers, "SeriesLines:names");
        assert_eq!(named, [1; 3], "names of {numbers}");
    }
    for camera in CAMERAS {
        let entity = format!("/observation.images.{camera}");
        let frames = rows_of(&listing, &entity, "VideoStream:sample");
        assert_eq!(frames, expected, "{entity} in:\n{listing}");
    }
    for episode in 0..ROWS.len() {
        assert!(
            listing.contains(&format!("\"episode_{episode}\"")),
            "{listing}"
        );
    }
}

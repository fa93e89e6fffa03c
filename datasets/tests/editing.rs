//! Edits of recorded datasets, checked row by row and frame by frame.
#![cfg(feature = "gstreamer")]

#[path = "support/edits.rs"]
mod edits;
#[path = "support/mod.rs"]
mod support;

use edits::{BOTH, EPISODES, FRONT, WRIST, check, copied, files, recorded, to, untouched, whole};
use sinew_datasets::edit::{self, Cut, Part, Reencode, Relabel, Share, Target};
use sinew_datasets::{Codec, Dataset, Error, Feature, Info};
use std::collections::BTreeMap;
use support::state;

#[test]
fn episodes_are_deleted_and_the_source_stays() {
    let (dir, source) = recorded(Codec::H264);
    let before = files(&source);
    let report = edit::delete(&source, &[1, 3], &to(&dir)).unwrap();
    check(&report.root, &[whole(0), whole(2)], &BOTH);
    assert_eq!((report.episodes, report.frames, report.tasks), (2, 23, 1));
    assert_eq!(
        report.videos,
        copied(&report),
        "one file an episode: no frame is touched"
    );
    assert_eq!(report.videos.copied_files, 4);
    assert_eq!(
        std::fs::read(report.root.join("README.md")).unwrap(),
        b"a card"
    );
    untouched(&source, &before);
}

#[test]
fn an_edit_in_place_replaces_the_dataset() {
    let (dir, source) = recorded(Codec::H264);
    let report = edit::keep(&source, &[3, 1], &Target::InPlace).unwrap();
    assert_eq!(report.root, source.canonicalize().unwrap());
    check(&source, &[whole(1), whole(3)], &BOTH);
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn fractions_split_and_merging_joins_again() {
    let (dir, source) = recorded(Codec::H264);
    let parts = [("train", 0.75), ("val", 0.25)].map(|(name, fraction)| Part {
        name: name.into(),
        share: Share::Fraction(fraction),
    });
    let out = dir.path().join("parts");
    let reports = edit::split(&source, &parts, &out).unwrap();
    check(&out.join("train"), &[whole(0), whole(1), whole(2)], &BOTH);
    check(&out.join("val"), &[whole(3)], &BOTH);
    assert_eq!((reports[0].tasks, reports[1].tasks), (2, 1));
    let order = [out.join("val"), out.join("train"), out.join("val")];
    let merged = edit::merge(&order, &dir.path().join("merged"), None).unwrap();
    check(
        &merged.root,
        &[whole(3), whole(0), whole(1), whole(2), whole(3)],
        &BOTH,
    );
    let dataset = Dataset::open(&merged.root).unwrap();
    assert_eq!(dataset.tasks(), ["wave", "pick the cube", "place the cube"]);
    assert_eq!(merged.videos, copied(&merged));
}

#[test]
fn datasets_that_do_not_fit_are_not_merged() {
    let (dir, source) = recorded(Codec::H264);
    let (_other_dir, other) = recorded(Codec::Av1);
    let out = dir.path().join("merged");
    let refused = |error: Error, word: &str| {
        assert!(
            matches!(error, Error::Edit { .. }) && error.to_string().contains(word),
            "{error}"
        );
        assert!(!out.exists());
    };
    refused(
        edit::merge(&[source.clone(), other.clone()], &out, None).unwrap_err(),
        "video.codec",
    );
    let dropped = edit::drop_features(&source, &[WRIST.into()], &to(&dir))
        .unwrap()
        .root;
    refused(
        edit::merge(&[source.clone(), dropped], &out, None).unwrap_err(),
        WRIST,
    );
    let text = std::fs::read_to_string(Info::path(&other)).unwrap();
    let text = text
        .replace("so101_follower", "so100_follower")
        .replace("\"av1\"", "\"h264\"");
    std::fs::write(Info::path(&other), text).unwrap();
    refused(
        edit::merge(&[source.clone(), other.clone()], &out, None).unwrap_err(),
        "so100_follower",
    );
    edit::merge(&[source, other], &out, Some("so10x")).unwrap();
    assert_eq!(
        Info::read(&out).unwrap().robot_type.as_deref(),
        Some("so10x")
    );
}

#[test]
fn tasks_are_relabelled() {
    let (dir, source) = recorded(Codec::H264);
    let labels = Relabel {
        episodes: BTreeMap::from([(2, "pick it gently".into())]),
        replace: BTreeMap::from([("wave".into(), "greet".into())]),
        all: None,
    };
    let report = edit::relabel(&source, &labels, &to(&dir)).unwrap();
    let named = |episode: usize, task| (episode as u32, 0..EPISODES[episode].1, task);
    let expected = [
        whole(0),
        whole(1),
        named(2, "pick it gently"),
        named(3, "greet"),
    ];
    check(&report.root, &expected, &BOTH);
    let one = Relabel {
        all: Some("work".into()),
        ..Relabel::default()
    };
    let report = edit::relabel(&source, &one, &Target::InPlace).unwrap();
    assert_eq!(report.tasks, 1);
    let expected: Vec<_> = (0..4).map(|e| named(e, "work")).collect();
    check(&source, &expected, &BOTH);
}

#[test]
fn features_are_renamed_and_dropped() {
    let (dir, source) = recorded(Codec::H264);
    let names = [
        (FRONT, "observation.images.top"),
        ("timing.camera_age_s", "timing.age_s"),
    ]
    .map(|(a, b)| (a.to_owned(), b.to_owned()));
    let renamed = edit::rename(&source, &names, &to(&dir)).unwrap().root;
    let all: Vec<_> = (0..4).map(whole).collect();
    check(&renamed, &all, &[("observation.images.top", 0), (WRIST, 1)]);
    let age = Dataset::open(&renamed)
        .unwrap()
        .series(1, "timing.age_s")
        .unwrap();
    assert_eq!((age.row(0), age.len()), (Some(&[0.01, 0.02][..]), 8));
    let dropped = ["observation.images.top", WRIST, "timing.age_s"].map(str::to_owned);
    let report = edit::drop_features(&renamed, &dropped, &Target::InPlace).unwrap();
    check(&renamed, &all, &[]);
    let info = Info::read(&report.root).unwrap();
    assert_eq!(
        (info.video_path, renamed.join("videos").exists()),
        (None, false)
    );
}

#[test]
fn features_are_added_from_a_function_and_a_column() {
    let (dir, source) = recorded(Codec::H264);
    let sum = |row: &edit::AddedRow<'_>| {
        let state = row.numbers("observation.state")?;
        Ok(vec![state[0] + state[1], row.frame as f64])
    };
    let feature = Feature::vector("float32", &["sum".into(), "frame".into()]);
    let added = edit::add(&source, "next.sum", feature, sum, &to(&dir))
        .unwrap()
        .root;
    let reward: Vec<f64> = (0..37).map(f64::from).collect();
    edit::add_column(
        &added,
        "next.reward",
        Feature::scalar("int64"),
        &reward,
        &Target::InPlace,
    )
    .unwrap();
    let all: Vec<_> = (0..4).map(whole).collect();
    check(&added, &all, &BOTH);
    let dataset = Dataset::open(&added).unwrap();
    let names: Vec<&str> = dataset.info().features.iter().map(|(n, _)| n).collect();
    assert_eq!(
        names[names.len() - 7..names.len() - 5],
        ["next.sum", "next.reward"]
    );
    let expected = state(2, 4).map(f64::from);
    let sums = dataset.series(2, "next.sum").unwrap();
    assert_eq!(
        sums.row(4).unwrap(),
        [f64::from((expected[0] + expected[1]) as f32), 4.0]
    );
    assert_eq!(
        dataset.series(1, "next.reward").unwrap().values,
        (13..21).map(f64::from).collect::<Vec<_>>()
    );
    let short = edit::add_column(
        &added,
        "x",
        Feature::scalar("bool"),
        &reward[1..],
        &to(&dir),
    );
    assert!(matches!(short, Err(Error::Edit { .. })));
}

#[test]
fn wrong_requests_say_what_is_wrong_and_do_nothing() {
    let (dir, source) = recorded(Codec::H264);
    let before = files(dir.path());
    let label = |episode| Relabel {
        episodes: BTreeMap::from([(episode, String::new())]),
        ..Relabel::default()
    };
    let cut = |episode, from, end| {
        edit::trim(
            &source,
            &[Cut {
                episode,
                from,
                to: end,
            }],
            &to(&dir),
        )
    };
    let rename = |a: &str, b: &str| edit::rename(&source, &[(a.into(), b.into())], &to(&dir));
    let results = [
        edit::delete(&source, &[4], &to(&dir)),
        edit::delete(&source, &[0, 1, 2, 3], &to(&dir)),
        edit::delete(&source, &[], &to(&dir)),
        edit::keep(&source, &[], &to(&dir)),
        edit::merge(&[], &dir.path().join("x"), None),
        edit::relabel(&source, &label(0), &to(&dir)),
        edit::relabel(&source, &label(9), &to(&dir)),
        edit::relabel(&source, &Relabel::default(), &to(&dir)),
        rename("index", "number"),
        rename("nothing", "something"),
        rename(FRONT, WRIST),
        rename(FRONT, "a/b"),
        edit::drop_features(&source, &["timestamp".into()], &to(&dir)),
        cut(0, 5, Some(5)),
        cut(0, 0, Some(14)),
        cut(7, 0, None),
        edit::reencode(
            &source,
            &Reencode {
                gop: 0,
                ..Reencode::default()
            },
            &to(&dir),
        ),
        edit::reencode(
            &source,
            &Reencode {
                cameras: vec!["action".into()],
                ..Reencode::default()
            },
            &to(&dir),
        ),
        edit::delete(&source, &[0], &Target::Folder(source.clone())),
        edit::delete(&source, &[0], &Target::Folder(source.join("inside"))),
    ];
    for (i, result) in results.into_iter().enumerate() {
        assert!(matches!(result, Err(Error::Edit { .. })), "{i}: {result:?}");
    }
    assert!(files(dir.path()) == before);
}

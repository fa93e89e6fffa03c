//! Edits that cut or encode videos, and edits that fail halfway.
#![cfg(feature = "gstreamer")]

#[path = "support/edits.rs"]
mod edits;
#[path = "support/packed.rs"]
mod packed;
#[path = "support/mod.rs"]
mod support;

use edits::{BOTH, FRONT, WRIST, check, files, recorded, to, whole};
use packed::pack;
use sinew_datasets::edit::{self, Cut, Reencode, Target, VideoWork};
use sinew_datasets::video::remux::Track;
use sinew_datasets::{Codec, Dataset, Error, mp4};
use std::path::Path;

fn trimming(codec: Codec) {
    let (dir, source) = recorded(codec);
    // Key frames are the even ones: episode 0 moves as it is, 1 does not.
    let cuts = [
        Cut {
            episode: 0,
            from: 4,
            to: Some(9),
        },
        Cut {
            episode: 1,
            from: 3,
            to: None,
        },
        Cut {
            episode: 3,
            from: 0,
            to: Some(5),
        },
    ];
    let report = edit::trim(&source, &cuts, &to(&dir)).unwrap();
    let expected = [
        (0, 4..9, "pick the cube"),
        (1, 3..8, "place the cube"),
        whole(2),
        (3, 0..5, "wave"),
    ];
    check(&report.root, &expected, &BOTH);
    let wanted = VideoWork {
        copied_files: 2,
        remuxed_files: 4,
        reencoded_files: 2,
        reencoded_frames: 10,
    };
    assert_eq!(report.videos, wanted);
    assert_eq!(report.notes, Vec::<String>::new());
}

#[test]
fn episodes_are_trimmed_in_h264() {
    trimming(Codec::H264);
}

#[test]
fn episodes_are_trimmed_in_av1() {
    trimming(Codec::Av1);
}

#[test]
fn frames_that_move_keep_their_bytes() {
    let (dir, source) = recorded(Codec::H264);
    let cuts = [Cut {
        episode: 0,
        from: 4,
        to: Some(9),
    }];
    let result = edit::trim(&source, &cuts, &to(&dir)).unwrap().root;
    let name = format!("videos/{FRONT}/chunk-000/file-000.mp4");
    let (old, new) = (source.join(&name), result.join(&name));
    assert_eq!(Track::read(&new, 30).unwrap().frames(), 5);
    let (old, new) = (std::fs::read(old).unwrap(), std::fs::read(new).unwrap());
    let pictures = &new[new.windows(4).position(|w| w == b"mdat").unwrap() + 12..];
    assert!(old.windows(pictures.len()).any(|w| w == pictures));
}

#[test]
fn cameras_are_encoded_anew() {
    let (dir, source) = recorded(Codec::H264);
    let how = Reencode {
        cameras: vec![WRIST.into()],
        codec: Codec::Av1,
        gop: 5,
        crf: 25,
    };
    let report = edit::reencode(&source, &how, &to(&dir)).unwrap();
    let all: Vec<_> = (0..4).map(whole).collect();
    check(&report.root, &all, &BOTH);
    let wanted = VideoWork {
        copied_files: 4,
        remuxed_files: 0,
        reencoded_files: 4,
        reencoded_frames: 37,
    };
    assert_eq!(report.videos, wanted);
    let dataset = Dataset::open(&report.root).unwrap();
    let codecs: Vec<_> = dataset
        .video_files(0)
        .unwrap()
        .iter()
        .map(|(_, p)| mp4::probe(p).unwrap().codec)
        .collect();
    assert_eq!(codecs, ["avc1", "av01"]);
    let facts = dataset
        .info()
        .features
        .get(WRIST)
        .unwrap()
        .info
        .clone()
        .unwrap();
    assert_eq!(
        (&facts["video.codec"], &facts["video.g"]),
        (&"av1".into(), &5.into())
    );
}

/// Damages one file and expects every target to be refused without a trace.
fn damaged(change: impl Fn(&Path)) {
    let (dir, source) = recorded(Codec::H264);
    change(&source);
    let before = files(dir.path());
    for target in [to(&dir), Target::InPlace] {
        // Episode 3 is damaged: by then the others have been written.
        let result = edit::delete(&source, &[0], &target);
        assert!(
            matches!(result, Err(Error::Corrupt { .. } | Error::Io { .. })),
            "{result:?}"
        );
        assert!(
            files(dir.path()) == before,
            "the source is as it was and nothing is beside it"
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_damaged_source_leaves_no_half_result() {
    let cut_off = |name: String| {
        move |source: &Path| {
            let path = source.join(&name);
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }
    };
    damaged(cut_off("data/chunk-000/file-003.parquet".into()));
    damaged(|source| std::fs::remove_file(source.join("data/chunk-000/file-003.parquet")).unwrap());
    damaged(|source| {
        let path = source.join(format!("videos/{WRIST}/chunk-000/file-003.mp4"));
        std::fs::write(path, [0; 100]).unwrap();
    });
}

#[test]
fn a_target_that_cannot_be_written_leaves_the_source() {
    let (dir, source) = recorded(Codec::H264);
    let before = files(dir.path());
    // A file where the result's parent should be: refused whoever runs the test, root included.
    let target = Target::Folder(source.parent().unwrap().join("source/README.md/result"));
    assert!(edit::delete(&source, &[0], &target).is_err());
    let left = dir.path().join("source.before-edit");
    std::fs::create_dir(&left).unwrap();
    let result = edit::delete(&source, &[0], &Target::InPlace);
    assert!(
        matches!(result, Err(Error::Edit { .. })),
        "an interrupted edit's dataset is not overwritten"
    );
    std::fs::remove_dir(left).unwrap();
    assert!(files(dir.path()) == before);
}

#[test]
fn a_file_with_many_episodes_is_cut_without_encoding() {
    // A merged camera file as LeRobot packs it: all episodes in one MP4, one data file.
    let (dir, source) = recorded(Codec::H264);
    let packed = pack(&dir, &source);
    let all: Vec<_> = (0..4).map(whole).collect();
    check(&packed, &all, &BOTH);
    let report = edit::delete(&packed, &[1], &to(&dir)).unwrap();
    check(&report.root, &[whole(0), whole(2), whole(3)], &BOTH);
    // Episode 0 has 13 frames: the moved runs begin at key frames all the same, and stay together.
    assert_eq!(
        report.videos,
        VideoWork {
            remuxed_files: 2,
            ..VideoWork::default()
        }
    );
    let cuts = [Cut {
        episode: 2,
        from: 1,
        to: None,
    }];
    let trimmed = edit::trim(&packed, &cuts, &Target::Folder(dir.path().join("trimmed"))).unwrap();
    check(
        &trimmed.root,
        &[whole(0), whole(1), (2, 1..10, "pick the cube"), whole(3)],
        &BOTH,
    );
    let wanted = VideoWork {
        remuxed_files: 4,
        reencoded_files: 2,
        reencoded_frames: 18,
        ..VideoWork::default()
    };
    assert_eq!(trimmed.videos, wanted);
}

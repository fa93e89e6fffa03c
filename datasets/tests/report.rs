//! The page about a dataset: whole, bounded, and safe whatever the dataset says.
#![cfg(feature = "gstreamer")]

#[path = "support/damage.rs"]
mod damage;
#[path = "support/mod.rs"]
mod support;

use sinew_datasets::report::{Made, Options, write};
use sinew_datasets::{
    Codec, DatasetSpec, EpisodeMark, EpisodeMarks, Error, ExtraSpec, ExtraType, ExtraValue,
    Recorder, Row,
};
use std::path::Path;
use support::{record, spec};
use tempfile::TempDir;

fn page(root: &Path, options: &Options) -> (Made, String) {
    let out = TempDir::new().unwrap();
    let path = out.path().join("page.html");
    let made = write(root, &path, options, &mut |_, _| ()).unwrap();
    let html = std::fs::read_to_string(&path).unwrap();
    assert_eq!(made.bytes, html.len() as u64);
    assert_eq!(
        std::fs::read_dir(out.path()).unwrap().count(),
        1,
        "nothing else is left"
    );
    (made, html)
}

/// Nothing that a browser would run or fetch, and every element closed.
#[track_caller]
fn is_safe(html: &str) {
    let lower = html.to_lowercase();
    for word in [
        "<script",
        "javascript:",
        "http://",
        "https://",
        "<iframe",
        "<object",
        "@import",
    ] {
        assert!(!lower.contains(word), "{word} in the page");
    }
    for handler in [" onload=", " onerror=", " onclick=", " ontoggle="] {
        assert!(!lower.contains(handler), "{handler} in the page");
    }
    assert!(lower.contains("default-src 'none'"));
    let mut open: Vec<&str> = Vec::new();
    for part in html.split('<').skip(1) {
        let tag = part.split(['>', ' ']).next().unwrap();
        let empty = ["!doctype", "meta", "img", "br"].contains(&tag);
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed));
        } else if !empty && !part.split('>').next().unwrap().ends_with('/') {
            open.push(tag);
        }
    }
    assert_eq!(open, [""; 0]);
}

#[test]
fn the_page_shows_pictures_joints_timing_findings_and_statistics() {
    let (made, html) = page(damage::sound(), &Options::default());
    is_safe(&html);
    assert_eq!((made.episodes, made.left_out), (3, vec![]));
    for words in [
        "so101_follower",
        "<dd>135</dd>",
        "id=\"findings\"",
        "pick",
        "place",
        "front, frame 0",
        "wrist, frame 39",
        "shoulder_pan.pos",
        "30 fps",
        "320×240 h264",
        "median",
        "40 frames · 1.3 s",
    ] {
        assert!(html.contains(words), "no {words}");
    }
    // Eight frames of two cameras and an icon, three times.
    assert_eq!(html.matches("data:image/jpeg;base64,").count(), 3 * 17);
    assert!(
        html.matches("<path class=\"c1\"").count() >= 3 * 6,
        "actions beside states"
    );
}

#[test]
fn text_of_the_dataset_cannot_break_out() {
    let attacks = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onload='alert(1)",
        "</title></style><svg onload=alert(1)>",
        "\u{202e}gnp.exe &lt;b&gt; &#x3c;script&#x3e;",
    ];
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("<b onclick=alert(1)>");
    let names: Vec<String> = attacks.iter().map(|a| (*a).to_owned()).collect();
    let spec = DatasetSpec {
        robot_type: attacks[1].into(),
        fps: 30,
        state_names: names.clone(),
        action_names: names,
        cameras: vec![],
        extras: vec![
            ExtraSpec::vector(
                "timing",
                ExtraType::Float64,
                &["tick_s", "<i onclick=alert(1)>_age_s"],
            ),
            ExtraSpec::vector("<u onload=alert(1)>", ExtraType::Float64, &["<s>"]),
        ],
        codec: Codec::Auto,
    };
    let mut recorder = Recorder::create(&root, &spec).unwrap();
    for attack in attacks {
        recorder.start_episode(attack).unwrap();
        for row in 0..20 {
            let state = [row as f32; 5];
            let extra = [
                ExtraValue::F64(&[f64::from(row) / 30.0, 0.001]),
                ExtraValue::F64(&[1.0]),
            ];
            let row = Row {
                state: &state,
                action: &state,
                extra: &extra,
                frames: &[],
            };
            recorder.add(row).unwrap();
        }
        recorder.save_episode().unwrap();
    }
    recorder.finalize().unwrap();
    let mark = EpisodeMark {
        ended_early: Some(attacks[0].into()),
        ..EpisodeMark::default()
    };
    let marks = EpisodeMarks {
        episodes: [(0, mark)].into(),
    };
    std::fs::write(
        EpisodeMarks::path(&root),
        serde_json::to_string(&marks).unwrap(),
    )
    .unwrap();
    let (made, html) = page(&root, &Options::default());
    assert_eq!(made.episodes, 5);
    // What the attacks say is there as text.
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(html.contains("Timing") && html.contains("&lt;i onclick=alert(1)&gt;"));
    assert!(!html.contains('\u{202e}'));
    let escaped = html
        .replace("onerror=alert(1)&gt;", "")
        .replace("&#39; onload=&#39;alert(1)", "")
        .replace("onload=alert(1)&gt;", "")
        .replace("onclick=alert(1)&gt;", "");
    is_safe(&escaped);
}

#[test]
fn the_page_stays_within_its_size_and_says_what_is_left_out() {
    let dir = TempDir::new().unwrap();
    let mut recorder = Recorder::create(dir.path(), &spec(Codec::H264)).unwrap();
    for episode in 0..12 {
        record(&mut recorder, "pick", episode, 20);
    }
    recorder.finalize().unwrap();
    let (whole, html) = page(dir.path(), &Options::default());
    assert_eq!((whole.episodes, whole.left_out.len()), (12, 0));
    is_safe(&html);
    let limit_bytes = whole.bytes / 2;
    let options = Options {
        limit_bytes,
        ..Options::default()
    };
    let (made, html) = page(dir.path(), &options);
    assert!(made.bytes <= limit_bytes && made.episodes > 0 && made.episodes < 12);
    let text = format!("Details of episodes {}–11", made.episodes);
    assert!(made.left_out[0].starts_with(&text), "{:?}", made.left_out);
    assert!(
        html.contains("Left out") && html.contains("id=\"e11\""),
        "it is listed"
    );
    is_safe(&html);
    let options = Options {
        episodes: vec![11, 3, 3],
        ..Options::default()
    };
    let (made, html) = page(dir.path(), &options);
    assert_eq!(
        (
            made.episodes,
            html.matches("<details class=\"episode\"").count()
        ),
        (2, 2)
    );
}

#[test]
fn episodes_that_are_not_there_are_refused() {
    let out = TempDir::new().unwrap();
    let options = Options {
        episodes: vec![1, 99],
        ..Options::default()
    };
    let path = out.path().join("page.html");
    let error = write(damage::sound(), &path, &options, &mut |_, _| ()).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_damaged_episode_says_so_and_the_others_are_shown() {
    let copy = damage::copy(damage::sound());
    let file = |name: &str| copy.path().join(name);
    std::fs::write(file("data/chunk-000/file-001.parquet"), b"PAR1 no table").unwrap();
    let video = "videos/observation.images.front/chunk-000/file-002.mp4";
    std::fs::write(file(video), b"no film").unwrap();
    let (made, html) = page(copy.path(), &Options::default());
    assert_eq!(made.episodes, 3);
    is_safe(&html);
    assert!(html.matches("class=\"problem\"").count() >= 2);
    assert!(html.contains("verdict error"));
    assert!(
        html.contains("front, frame 0"),
        "episode 0 has its pictures"
    );
}

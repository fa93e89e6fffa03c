//! Recordings that are sound files with bad contents: what the doctor says of joints, cameras and
//! times.
#![cfg(feature = "gstreamer")]

#[path = "support/mod.rs"]
mod support;

use sinew_datasets::doctor::{Code, Finding, Options, Severity, examine};
use sinew_datasets::{CameraSpec, Codec, ExtraSpec, ExtraType, ExtraValue, Recorder, Row};
use sinew_runtime::frame::Frame;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const ROWS: u32 = 90;

/// What a row holds.
struct Sample {
    state: [f32; 6],
    action: [f32; 6],
    extra: Vec<f64>,
    picture: Option<Frame>,
}

/// Joints that swing, each at its own pace, and other ones in each episode.
fn swing(episode: u32, row: u32) -> Sample {
    let state = std::array::from_fn(|joint| {
        let pace = 0.05 + joint as f32 * 0.01;
        50.0 * (pace * row as f32 + episode as f32 + joint as f32).sin()
    });
    Sample {
        state,
        action: state.map(|v| v * 1.1),
        extra: Vec::new(),
        picture: None,
    }
}

/// Records three episodes of these rows.
fn recorded(extras: &[&str], rows: impl Fn(u32, u32) -> Sample) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = support::spec(Codec::H264);
    spec.cameras.clear();
    if rows(0, 0).picture.is_some() {
        spec.cameras.push(CameraSpec::rgb("front", 320, 240));
    }
    spec.extras.clear();
    if !extras.is_empty() {
        let timing = ExtraSpec::vector("timing", ExtraType::Float64, extras);
        spec.extras.push(timing);
    }
    let mut recorder = Recorder::create(dir.path(), &spec).unwrap();
    for episode in 0..3 {
        recorder.start_episode("swing").unwrap();
        for row in 0..ROWS {
            let sample = rows(episode, row);
            let frames: Vec<Arc<Frame>> = sample.picture.into_iter().map(Arc::new).collect();
            recorder
                .add(Row {
                    state: &sample.state,
                    action: &sample.action,
                    extra: &[ExtraValue::F64(&sample.extra)][..usize::from(!extras.is_empty())],
                    frames: &frames,
                })
                .unwrap();
        }
        recorder.save_episode().unwrap();
    }
    recorder.finalize().unwrap();
    dir
}

fn findings(root: &Path) -> Vec<Finding> {
    examine(root, &Options::thorough()).findings
}

/// The only finding, and its code, severity and place.
#[track_caller]
fn only(
    dir: &TempDir,
    code: Code,
    severity: Severity,
    (episode, frame, feature): (Option<u64>, Option<u64>, &str),
) -> Finding {
    let found = findings(dir.path());
    assert_eq!(found.len(), 1, "{found:#?}");
    let at = &found[0].place;
    assert_eq!(
        (found[0].code, found[0].severity),
        (code, severity),
        "{found:#?}"
    );
    assert_eq!(
        (at.episode, at.frame, at.feature.as_deref()),
        (episode, frame, Some(feature)),
        "{found:#?}"
    );
    assert!(!found[0].remedy.is_empty());
    found[0].clone()
}

#[test]
fn swinging_joints_are_sound() {
    assert_eq!(findings(recorded(&[], swing).path()), []);
}

#[test]
fn a_joint_that_never_moves() {
    let dir = recorded(&[], |episode, row| {
        let mut sample = swing(episode, row);
        sample.state[4] = 12.5;
        sample
    });
    let place = (None, None, "observation.state/wrist_roll.pos");
    let found = only(&dir, Code::JointConstant, Severity::Warning, place);
    assert_eq!(found.message, "12.5 in all 270 rows of the dataset");
}

#[test]
fn a_joint_that_stands_still_in_one_episode() {
    let dir = recorded(&[], |episode, row| {
        let mut sample = swing(episode, row);
        if episode == 1 {
            sample.state[4] = 12.5;
        }
        sample
    });
    let place = (Some(1), None, "observation.state/wrist_roll.pos");
    only(&dir, Code::JointStill, Severity::Note, place);
}

#[test]
fn a_joint_that_jumps() {
    let dir = recorded(&[], |episode, row| {
        let mut sample = swing(episode, row);
        if (episode, row) == (1, 20) {
            sample.state[2] += 200.0;
        }
        sample
    });
    let place = (Some(1), Some(20), "observation.state/elbow_flex.pos");
    let found = only(&dir, Code::JointJump, Severity::Warning, place);
    assert!(found.message.ends_with("2 here"), "{}", found.message);
}

#[test]
fn actions_cut_off_at_the_end_of_the_range() {
    let cut = |joint: usize| {
        recorded(&[], move |episode, row| {
            let mut sample = swing(episode, row);
            sample.action[joint] = sample.action[joint].min(30.0);
            sample
        })
    };
    let found = findings(cut(0).path());
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (found[0].code, found[0].severity),
        (Code::ActionClipped, Severity::Warning)
    );
    assert_eq!(
        found[0].place.feature.as_deref(),
        Some("action/shoulder_pan.pos")
    );
    assert!(
        found[0].message.starts_with("runs into 30 "),
        "{}",
        found[0].message
    );
    // A gripper that is commanded to its stop is no fault.
    let found = findings(cut(5).path());
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (found[0].code, found[0].severity),
        (Code::GripperAtEnd, Severity::Note)
    );
}

#[test]
fn an_episode_that_is_there_twice() {
    let twin = |states_too: bool| {
        recorded(&[], move |episode, row| {
            let first = swing(0, row);
            let mut sample = swing(episode, row);
            if episode == 2 {
                sample.action = first.action;
                if states_too {
                    sample.state = first.state;
                }
            }
            sample
        })
    };
    let place = (Some(2), None, "action");
    let found = only(
        &twin(true),
        Code::EpisodeDuplicate,
        Severity::Warning,
        place,
    );
    assert!(
        found
            .message
            .contains("of episode 0; its states are the same"),
        "{}",
        found.message
    );
    let found = only(
        &twin(false),
        Code::EpisodeDuplicate,
        Severity::Warning,
        place,
    );
    assert!(
        found.message.contains("its states differ"),
        "{}",
        found.message
    );
}

/// A picture that changes with the row, unless it is told not to.
fn picture(number: u32) -> Option<Frame> {
    Some(support::counter_frame(320, 240, number))
}

#[test]
fn cameras_that_froze_or_went_dark() {
    let feature = "observation.images.front";
    let filmed = |show: fn(u32, u32) -> Option<Frame>| {
        recorded(&[], move |episode, row| Sample {
            picture: show(episode, row),
            ..swing(episode, row)
        })
    };
    assert_eq!(findings(filmed(|e, row| picture(e << 14 | row)).path()), []);
    let frozen = filmed(|e, row| picture(if e == 1 { row.min(40) } else { row }));
    let found = findings(frozen.path());
    assert_eq!(found.len(), 1, "{found:#?}");
    let (kind, at) = ((found[0].code, found[0].severity), &found[0].place);
    assert_eq!(kind, (Code::CameraFrozen, Severity::Warning));
    assert_eq!(
        (at.episode, at.feature.as_deref()),
        (Some(1), Some(feature))
    );
    // The encoder needs some frames until a picture that stands still does so to the bit.
    assert!((40..60).contains(&at.frame.unwrap()), "{at:?}");
    let black = filmed(|e, row| {
        if (e, row / 45) == (2, 0) {
            Some(Frame::new(320, 240, vec![0; 320 * 240 * 3]))
        } else {
            picture(row)
        }
    });
    let place = (Some(2), Some(0), feature);
    let found = only(&black, Code::CameraBlack, Severity::Warning, place);
    assert!(found.message.starts_with("45 frames"), "{}", found.message);
}

#[test]
fn a_picture_that_stands_still_with_the_robot_is_no_fault() {
    let dir = recorded(&[], |episode, row| Sample {
        picture: picture(row.min(50)),
        ..swing(episode, row.min(50))
    });
    let found = findings(dir.path());
    assert!(
        found.iter().all(|f| f.severity == Severity::Note),
        "{found:#?}"
    );
}

const TIMES: [&str; 3] = ["tick_s", "state_capture_s", "front_capture_s"];

/// Swinging joints with these times: tick, state, picture; s.
fn timed(times: fn(u32) -> [f64; 3]) -> TempDir {
    recorded(&TIMES, move |episode, row| Sample {
        extra: times(row).to_vec(),
        ..swing(episode, row)
    })
}

#[test]
fn even_times_are_told_in_notes() {
    let dir = timed(|row| {
        let tick = f64::from(row) / 30.0;
        [tick, tick - 0.002, tick - 0.012]
    });
    let found = findings(dir.path());
    assert!(found.iter().all(|f| f.code == Code::Timing), "{found:#?}");
    let messages: Vec<&str> = found.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(found.len(), 3, "{messages:?}");
    assert!(
        messages[0].starts_with("tick periods of 33.3 ms are off by 0.0 ms"),
        "{messages:?}"
    );
    assert!(
        messages[1].starts_with("joint values are 2.0 ms to 2.0 ms old at the tick"),
        "{messages:?}"
    );
    assert!(
        messages[2].starts_with("pictures are 10.0 ms to 10.0 ms older than")
            && messages[2].contains("a new one came every 33.3 ms"),
        "{messages:?}"
    );
}

#[test]
fn send_times_and_cameras_that_are_apart_are_told() {
    const TIMES: [&str; 4] = [
        "tick_s",
        "action_sent_s",
        "front_capture_s",
        "wrist_capture_s",
    ];
    let dir = recorded(&TIMES, |episode, row| {
        let tick = f64::from(row) / 30.0;
        let sent = if row == 7 { -1.0 } else { tick + 0.003 };
        Sample {
            extra: vec![tick, sent, tick - 0.01, tick - 0.09],
            ..swing(episode, row)
        }
    });
    let found = findings(dir.path());
    let notes: Vec<&Finding> = found.iter().filter(|f| f.code == Code::Timing).collect();
    let sent = "actions were sent 3.0 ms to 3.0 ms after their tick";
    let sent = notes.iter().find(|f| f.message.starts_with(sent)).unwrap();
    assert!(
        sent.message.ends_with("3 of 270 were never sent"),
        "{sent:?}"
    );
    let apart: Vec<&Finding> = found
        .iter()
        .filter(|f| f.message.contains("of a row are 80.0 ms"))
        .collect();
    let codes: Vec<Code> = apart.iter().map(|f| f.code).collect();
    let skew = Code::CameraSkew;
    assert_eq!(codes, [skew, skew, skew, Code::Timing], "{apart:?}");
}

#[test]
fn uneven_loops_late_pictures_and_slow_cameras_are_warnings() {
    let warned = |times: fn(u32) -> [f64; 3]| {
        let found = findings(timed(times).path());
        let serious = found.iter().filter(|f| f.severity > Severity::Note);
        let kinds: Vec<(Code, Option<u64>, Option<&str>)> = serious
            .map(|f| (f.code, f.place.episode, f.place.feature.as_deref()))
            .collect();
        kinds
            .iter()
            .map(|k| (k.0, k.1.unwrap(), k.2.unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    let each = |code, entry: &str| -> Vec<(Code, u64, String)> {
        (0..3)
            .map(|e| (code, e, format!("timing/{entry}")))
            .collect()
    };
    let jitter = warned(|row| {
        let tick = (f64::from(row) + 0.4 * f64::from(row % 2)) / 30.0;
        [tick, tick, tick]
    });
    assert_eq!(jitter, each(Code::Jitter, "tick_s"));
    let skew = warned(|row| {
        let tick = f64::from(row) / 30.0;
        [tick, tick, tick - 0.08]
    });
    assert_eq!(skew, each(Code::CameraSkew, "front_capture_s"));
    let reused = warned(|row| {
        let tick = f64::from(row) / 30.0;
        [tick, tick, f64::from(row / 2 * 2) / 30.0]
    });
    assert_eq!(reused, each(Code::FramesReused, "front_capture_s"));
}

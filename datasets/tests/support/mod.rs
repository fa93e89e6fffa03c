//! Pictures that carry a number, so that every decoded frame can be told from every other.
#![allow(dead_code, reason = "each test program uses its own part")]

use sinew_datasets::{
    CameraSpec, Codec, DatasetSpec, EpisodeSummary, ExtraSpec, ExtraType, ExtraValue, Recorder, Row,
};
use sinew_runtime::frame::Frame;
use std::sync::Arc;

/// Bits of the counter, drawn as two rows of ten blocks.
const BITS: u32 = 20;
/// Side of a block, pixels: two macroblocks, so that no codec blurs it away.
const BLOCK: u32 = 32;

/// A number unique to an episode, a camera and a frame.
pub(crate) fn counter(episode: u32, camera: u32, frame: u32) -> u32 {
    (episode << 14) | (camera << 12) | frame
}

/// A picture with `number` in black and white blocks at the top, and a gradient below.
pub(crate) fn counter_frame(width: u32, height: u32, number: u32) -> Frame {
    let mut rgb = Vec::with_capacity(3 * (width * height) as usize);
    for y in 0..height {
        for x in 0..width {
            let (column, row) = (x / BLOCK, y / BLOCK);
            if column < 10 && row < 2 {
                let bit = number >> (row * 10 + column) & 1;
                rgb.extend([bit as u8 * 255; 3]);
            } else {
                rgb.extend([
                    (x * 255 / width) as u8,
                    (y * 255 / height) as u8,
                    number as u8,
                ]);
            }
        }
    }
    Frame::new(width, height, rgb)
}

/// The number in a picture, from the middle of each block.
pub(crate) fn read_counter(rgb: &[u8], width: u32) -> u32 {
    (0..BITS).fold(0, |number, bit| {
        let (x, y) = (bit % 10 * BLOCK + BLOCK / 2, bit / 10 * BLOCK + BLOCK / 2);
        let green = rgb[(3 * (y * width + x) + 1) as usize];
        number | (u32::from(green > 127) << bit)
    })
}

/// An SO-101 with two cameras and true capture times.
pub(crate) fn spec(codec: Codec) -> DatasetSpec {
    let joints = [
        "shoulder_pan",
        "shoulder_lift",
        "elbow_flex",
        "wrist_flex",
        "wrist_roll",
        "gripper",
    ];
    let names: Vec<String> = joints.iter().map(|j| format!("{j}.pos")).collect();
    let camera = |name: &str| CameraSpec::rgb(name, 320, 240);
    DatasetSpec {
        robot_type: "so101_follower".into(),
        fps: 30,
        state_names: names.clone(),
        action_names: names,
        cameras: vec![camera("front"), camera("wrist")],
        extras: vec![
            ExtraSpec::vector("timing.state_capture_s", ExtraType::Float64, &["t_s"]),
            ExtraSpec::vector(
                "timing.camera_age_s",
                ExtraType::Float64,
                &["front_s", "wrist_s"],
            ),
        ],
        codec,
    }
}

/// Values of the extra columns.
pub(crate) fn times<'a>(captured_s: &'a [f64; 1], ages_s: &'a [f64; 2]) -> [ExtraValue<'a>; 2] {
    [ExtraValue::F64(captured_s), ExtraValue::F64(ages_s)]
}

/// State values of a test row.
pub(crate) fn state(episode: u32, frame: u32) -> [f32; 6] {
    std::array::from_fn(|joint| episode as f32 * 1000.0 + frame as f32 + joint as f32 / 10.0)
}

/// Records an episode of counter pictures and saves it.
pub(crate) fn record(
    recorder: &mut Recorder,
    task: &str,
    episode: u32,
    rows: u32,
) -> EpisodeSummary {
    record_with(recorder, task, episode, rows, |_, frame| frame)
}

/// The same; `shown` says which frame's picture a camera gives in a frame.
pub(crate) fn record_with(
    recorder: &mut Recorder,
    task: &str,
    episode: u32,
    rows: u32,
    shown: impl Fn(u32, u32) -> u32,
) -> EpisodeSummary {
    recorder.start_episode(task).unwrap();
    let cameras = recorder.spec().cameras.clone();
    for frame in 0..rows {
        let picture = |(c, camera): (usize, &CameraSpec)| {
            let number = counter(episode, c as u32, shown(c as u32, frame));
            Arc::new(counter_frame(camera.width, camera.height, number))
        };
        let frames: Vec<Arc<Frame>> = cameras.iter().enumerate().map(picture).collect();
        let state = state(episode, frame);
        let action = state.map(|v| -v);
        let captured_s = f64::from(frame) / 30.0 + 0.001;
        recorder
            .add(Row {
                state: &state,
                action: &action,
                extra: &times(&[captured_s], &[0.01, 0.02]),
                frames: &frames,
            })
            .unwrap();
    }
    recorder.save_episode().unwrap()
}

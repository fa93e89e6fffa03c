//! A recording with every kind of column and camera, whose every value can be told from every other.
#![allow(dead_code, reason = "each test program uses its own part")]

use crate::support::{counter, counter_frame};
use sinew_datasets::{
    CameraSpec, Codec, DatasetSpec, ExtraSpec, ExtraType, ExtraValue, Recorder, Row, Storage,
};
use sinew_runtime::frame::Frame;
use std::sync::Arc;

/// Rows a second.
pub(crate) const FPS: u32 = 20;
/// Size of all cameras but the colour video's.
pub(crate) const SMALL: (u32, u32) = (48, 34);
/// The row from which an episode has its second task.
pub(crate) const TASK_CHANGE: u32 = 7;

/// A colour and a depth camera as video, another two as images, and columns of all types.
pub(crate) fn spec() -> DatasetSpec {
    let images = |camera: CameraSpec| CameraSpec {
        storage: Storage::Images,
        ..camera
    };
    let (width, height) = SMALL;
    DatasetSpec {
        robot_type: "so101_follower".into(),
        fps: FPS,
        state_names: vec!["a.pos".into(), "b.pos".into()],
        action_names: vec!["a.pos".into()],
        cameras: vec![
            CameraSpec::rgb("front", 320, 240),
            CameraSpec::depth("front_depth", width, height),
            images(CameraSpec::rgb("wrist", width, height)),
            images(CameraSpec::depth("wrist_depth", width, height)),
        ],
        extras: vec![
            ExtraSpec::scalar("next.reward", ExtraType::Float32),
            ExtraSpec::scalar("next.done", ExtraType::Bool),
            ExtraSpec::tensor("observation.environment_state", ExtraType::Float32, &[2, 3])
                .for_policies(),
            ExtraSpec::scalar("complementary_info.step", ExtraType::Int64),
            ExtraSpec::vector("contacts", ExtraType::Bool, &["left", "right"]),
            ExtraSpec::scalar("remark", ExtraType::Text),
            ExtraSpec::vector("timing", ExtraType::Float64, &["tick_s", "front_age_s"]),
        ],
        codec: Codec::H264,
    }
}

/// The task of a row.
pub(crate) fn task(episode: u32, row: u32) -> &'static str {
    ["pick the cube", "place the cube", "wipe"][((episode + row / TASK_CHANGE) % 3) as usize]
}

/// The values of the extra columns, by column.
pub(crate) struct Extras {
    pub(crate) reward: [f32; 1],
    pub(crate) done: [bool; 1],
    pub(crate) environment: [f32; 6],
    pub(crate) step: [i64; 1],
    pub(crate) contacts: [bool; 2],
    pub(crate) remark: String,
    pub(crate) times: [f64; 2],
}

/// The extra columns of a row.
pub(crate) fn extras(episode: u32, row: u32) -> Extras {
    let number = counter(episode, 0, row);
    Extras {
        reward: [number as f32 / 3.0],
        done: [row % 5 == 4],
        environment: std::array::from_fn(|i| number as f32 + i as f32 / 7.0),
        // More than a float can hold.
        step: [(1 << 53) + 1 + i64::from(number)],
        contacts: [row.is_multiple_of(2), row.is_multiple_of(3)],
        remark: if row == 3 {
            String::new()
        } else {
            format!("Zeile {row} \"{number}\" – ü")
        },
        times: [f64::from(row) / f64::from(FPS) + 1e-9, 0.012],
    }
}

/// Distances of a row, mm: from nothing measured to beyond what the code can hold.
pub(crate) fn distances(episode: u32, camera: u32, row: u32) -> Vec<u16> {
    let (width, height) = SMALL;
    (0..width * height)
        .map(|i| match i % 50 {
            0 => 0,
            1 => u16::MAX,
            _ => ((i * 5 + row * 131 + episode * 977 + camera * 389) % 11_000) as u16,
        })
        .collect()
}

/// Colours of a row of the camera that is kept as images.
pub(crate) fn colours(episode: u32, row: u32) -> Vec<u8> {
    let (width, height) = SMALL;
    (0..3 * width * height)
        .map(|i| (i * 7 + row * 31 + episode * 11) as u8)
        .collect()
}

/// The frames of a row, in the spec's order.
pub(crate) fn frames(episode: u32, row: u32) -> [Arc<Frame>; 4] {
    let (width, height) = SMALL;
    [
        counter_frame(320, 240, counter(episode, 0, row)),
        Frame::depth(width, height, &distances(episode, 1, row)),
        Frame::new(width, height, colours(episode, row)),
        Frame::depth(width, height, &distances(episode, 3, row)),
    ]
    .map(Arc::new)
}

/// Adds a row.
pub(crate) fn add(recorder: &mut Recorder, episode: u32, row: u32) -> sinew_datasets::Result<()> {
    recorder.set_task(task(episode, row))?;
    let extras = extras(episode, row);
    let number = counter(episode, 0, row) as f32;
    recorder.add(Row {
        state: &[number, -number],
        action: &[number / 2.0],
        extra: &[
            ExtraValue::F32(&extras.reward),
            ExtraValue::Bool(&extras.done),
            ExtraValue::F32(&extras.environment),
            ExtraValue::I64(&extras.step),
            ExtraValue::Bool(&extras.contacts),
            ExtraValue::Text(&extras.remark),
            ExtraValue::F64(&extras.times),
        ],
        frames: &frames(episode, row),
    })
}

/// Half the width of a depth code at a distance, mm, and what rounding to whole mm adds.
pub(crate) fn depth_tolerance(mm: f32) -> f32 {
    (mm + 3500.0) * (13.5_f32 / 3.51).ln() / 4095.0 / 2.0 + 0.51
}

/// The distance that a depth video gives back for one that was recorded, at most this far off.
pub(crate) fn depth_in_video(mm: u16) -> (f32, f32) {
    let held = f32::from(mm).clamp(10.0, 10_000.0);
    (held, depth_tolerance(held))
}

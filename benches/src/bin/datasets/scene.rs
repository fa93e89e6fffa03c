//! The scene and the features that both sides record (in Python: benches/datasets/scene.py).

use sinew_datasets::{CameraSpec, Codec, DatasetSpec};
use sinew_runtime::frame::Frame;
use std::sync::Arc;

pub(crate) const FPS: u32 = 30;
pub(crate) const CAMERAS: usize = 2;
pub(crate) const JOINTS: usize = 6;
const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
const PICTURES: usize = 60;

/// Six joints and two cameras, H.264.
pub(crate) fn spec() -> DatasetSpec {
    let names: Vec<String> = (0..JOINTS).map(|i| format!("joint_{i}.pos")).collect();
    let camera = |name: &str| CameraSpec::rgb(name, WIDTH, HEIGHT);
    DatasetSpec {
        robot_type: "none".into(),
        fps: FPS,
        state_names: names.clone(),
        action_names: names,
        cameras: vec![camera("front"), camera("wrist")],
        extras: Vec::new(),
        codec: Codec::H264,
    }
}

/// A moving gradient with noise, which is harder than a real scene at rest.
pub(crate) fn pictures() -> Vec<Arc<Frame>> {
    (0..PICTURES)
        .map(|number| Arc::new(picture(number)))
        .collect()
}

fn picture(number: usize) -> Frame {
    let mut noise = number as u32 ^ 0x9e37_79b9;
    let mut rgb = Vec::with_capacity((WIDTH * HEIGHT * 3) as usize);
    for y in 0..HEIGHT as usize {
        for x in 0..WIDTH as usize {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let grain = (noise >> 29) as usize;
            rgb.extend([
                (x / 2 + 2 * number + grain) as u8,
                (y / 2 + number + grain) as u8,
                (x / 4 + y / 4 + grain) as u8,
            ]);
        }
    }
    Frame::new(WIDTH, HEIGHT, rgb)
}

//! A small recorded dataset with pictures.

use sinew_datasets::{
    CameraSpec, Codec, DatasetSpec, ExtraSpec, ExtraType, ExtraValue, Recorder, Row,
};
use sinew_runtime::frame::Frame;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// Rows of the recorded episodes.
pub(crate) const ROWS: [u32; 3] = [40, 25, 33];
/// Its cameras.
pub(crate) const CAMERAS: [&str; 2] = ["front", "wrist"];

/// A dataset of an SO-101 with two cameras; joints swing, pictures change their colour.
pub(crate) fn recorded() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("set");
    let names: Vec<String> = sinew_tests::JOINTS
        .iter()
        .map(|joint| format!("{joint}.pos"))
        .collect();
    let spec = DatasetSpec {
        robot_type: "so_follower".to_owned(),
        fps: 30,
        state_names: names.clone(),
        action_names: names,
        cameras: CAMERAS.map(|name| CameraSpec::rgb(name, 64, 48)).to_vec(),
        extras: vec![ExtraSpec::vector(
            "timing",
            ExtraType::Float64,
            &["tick_s", "state_age_s"],
        )],
        codec: Codec::Auto,
    };
    let mut recorder = Recorder::create(&root, &spec).unwrap();
    for (episode, rows) in ROWS.into_iter().enumerate() {
        recorder
            .start_episode(["pick", "place"][episode % 2])
            .unwrap();
        for row in 0..rows {
            let state: [f32; 6] = std::array::from_fn(|joint| {
                10.0 * (0.1 * row as f32 + joint as f32 + episode as f32).sin()
            });
            let colour = [5 * row as u8, 40 * episode as u8, 90];
            let frame = Arc::new(Frame::new(64, 48, colour.repeat(64 * 48)));
            recorder
                .add(Row {
                    state: &state,
                    action: &state.map(|v| v + 1.0),
                    extra: &[ExtraValue::F64(&[f64::from(row) / 30.0, 0.004])],
                    frames: &[frame.clone(), frame],
                })
                .unwrap();
        }
        recorder.save_episode().unwrap();
    }
    recorder.finalize().unwrap();
    (folder, root)
}

//! How fast two 320×240 cameras are recorded, for each codec.
//!
//! `cargo run -p sinew-datasets --features gstreamer --example encode_speed [frames]`
//!
//! The pictures are a moving gradient with noise, which is harder than a real scene at rest. The
//! recorder is fed as fast as it takes rows, so the figure is its limit and the CPU time its cost.

use sinew_datasets::{CameraSpec, Codec, DatasetSpec, Recorder, Row};
use sinew_runtime::frame::Frame;
use std::sync::Arc;
use std::time::Instant;

fn picture(number: usize) -> Frame {
    let mut noise = number as u32 ^ 0x9e37_79b9;
    let mut rgb = Vec::with_capacity(320 * 240 * 3);
    for y in 0..240 {
        for x in 0..320 {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let grain = (noise >> 29) as usize;
            rgb.extend([
                (x + 2 * number + grain) as u8,
                (y + number + grain) as u8,
                (x / 2 + y / 2 + grain) as u8,
            ]);
        }
    }
    Frame::new(320, 240, rgb)
}

fn cpu_s() -> f64 {
    // User and system ticks of this process, 100 a second on Linux.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default().to_owned();
    after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let frames: usize = std::env::args().nth(1).map_or(Ok(300), |n| n.parse())?;
    let pictures: Vec<Arc<Frame>> = (0..60).map(|i| Arc::new(picture(i))).collect();
    for codec in [Codec::H264, Codec::Av1] {
        let root =
            std::env::temp_dir().join(format!("sinew-encode-{}-{codec:?}", std::process::id()));
        let camera = |name: &str| CameraSpec::rgb(name, 320, 240);
        let spec = DatasetSpec {
            robot_type: "none".into(),
            fps: 30,
            state_names: vec!["a.pos".into()],
            action_names: vec!["a.pos".into()],
            cameras: vec![camera("front"), camera("wrist")],
            extras: vec![],
            codec,
        };
        let mut recorder = Recorder::create(&root, &spec)?;
        recorder.start_episode("measure")?;
        let (start, cpu) = (Instant::now(), cpu_s());
        for i in 0..frames {
            let shared = pictures[i % pictures.len()].clone();
            recorder.add(Row {
                state: &[0.0],
                action: &[0.0],
                extra: &[],
                frames: &[shared.clone(), shared],
            })?;
        }
        let saving = Instant::now();
        let summary = recorder.save_episode()?;
        println!(
            "{codec:?}: {frames} rows of two cameras: {:.0} rows/s, {:.2} ms CPU a row, save {:.0} ms, {:.0} kB a camera-second",
            frames as f64 / start.elapsed().as_secs_f64(),
            (cpu_s() - cpu) * 1e3 / frames as f64,
            saving.elapsed().as_secs_f64() * 1e3,
            summary.video_bytes as f64 / 2e3 / (frames as f64 / 30.0),
        );
        recorder.finalize()?;
        std::fs::remove_dir_all(&root)?;
    }
    Ok(())
}

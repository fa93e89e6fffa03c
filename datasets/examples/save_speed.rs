//! How long an episode takes to save after its last frame, and whether encoding keeps up.
//!
//! `cargo run -p sinew-datasets --features gstreamer --example save_speed [seconds ...]`
//!
//! Two 640×480 cameras at 30 fps in real time, as a control loop offers them: a moving gradient
//! with noise, which is harder than a real scene at rest. `--rows-only` records without cameras as
//! fast as rows are taken, to see what the length alone costs.

use sinew_datasets::{
    CameraSpec, Codec, DatasetSpec, ExtraSpec, ExtraType, LoopRow, Recorder, RecorderThread,
};
use sinew_runtime::frame::Frame;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FPS: u32 = 30;

fn picture(number: usize) -> Frame {
    let mut noise = number as u32 ^ 0x9e37_79b9;
    let mut rgb = Vec::with_capacity(640 * 480 * 3);
    for y in 0..480 {
        for x in 0..640 {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let grain = (noise >> 29) as usize;
            rgb.extend([
                (x / 2 + 2 * number + grain) as u8,
                (y / 2 + number + grain) as u8,
                (x / 4 + y / 4 + grain) as u8,
            ]);
        }
    }
    Frame::new(640, 480, rgb)
}

fn spec(cameras: &[&str]) -> DatasetSpec {
    let names: Vec<String> = (0..6).map(|i| format!("joint_{i}.pos")).collect();
    let camera = |name: &&str| CameraSpec::rgb(name, 640, 480);
    DatasetSpec {
        robot_type: "none".into(),
        fps: FPS,
        state_names: names.clone(),
        action_names: names,
        cameras: cameras.iter().map(camera).collect(),
        extras: vec![ExtraSpec::tensor("timing", ExtraType::Float64, &[8])],
        codec: Codec::H264,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rows_only = arguments.iter().any(|a| a == "--rows-only");
    let mut lengths = Vec::new();
    for argument in arguments.iter().filter(|a| *a != "--rows-only") {
        lengths.push(argument.parse::<u32>()?);
    }
    if lengths.is_empty() {
        lengths = vec![5, 60];
    }
    let pictures: Vec<Arc<Frame>> = (0..60).map(|i| Arc::new(picture(i))).collect();
    let cameras: &[&str] = if rows_only { &[] } else { &["front", "wrist"] };
    let root = std::env::temp_dir().join(format!("sinew-save-{}", std::process::id()));
    let recorder = Recorder::create(&root, &spec(cameras))?;
    // Without a clock to wait for, all rows come at once.
    let ring = if rows_only { 200_000 } else { 300 };
    let (control, mut rows) = RecorderThread::spawn(recorder, ring)?;
    for seconds in lengths {
        let starting = Instant::now();
        control.start_episode("measure")?;
        let (started_ms, start) = (starting.elapsed().as_secs_f64() * 1e3, Instant::now());
        for i in 0..seconds * FPS {
            if !rows_only {
                let due = Duration::from_secs(1) * i / FPS;
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
            let mut row = LoopRow::default();
            row.state[0] = i as f32;
            row.extra[0] = f64::from(i) / f64::from(FPS);
            for frame in &mut row.frames[..cameras.len()] {
                *frame = Some(pictures[i as usize % pictures.len()].clone());
            }
            rows.offer(row);
        }
        // Until the last row has left the ring: on a robot it does so within milliseconds.
        if rows_only {
            std::thread::sleep(Duration::from_millis(u64::from(seconds) + 500));
        }
        let saving = Instant::now();
        let saved = control.save_episode()?;
        println!(
            "{seconds} s, {} cameras: saved in {:.0} ms, started in {started_ms:.0} ms, {} rows, {} dropped, {:.1} MB of video",
            cameras.len(),
            saving.elapsed().as_secs_f64() * 1e3,
            saved.summary.rows,
            saved.dropped_rows,
            saved.summary.video_bytes as f64 / 1e6,
        );
    }
    control.finish()?;
    std::fs::remove_dir_all(&root)?;
    Ok(())
}

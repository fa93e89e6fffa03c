//! Recording with Sinew: a dataset to read, or an episode in real time.

use crate::Outcome;
use crate::scene::{CAMERAS, FPS, JOINTS, pictures, spec};
use sinew_datasets::{LoopRow, Recorder, RecorderThread, Row, mp4};
use std::path::Path;
use std::time::{Duration, Instant};

/// Rows that may wait for the recorder, as in the command `sinew record`.
const RING_ROWS: usize = 300;

/// Records `episodes` of `frames` rows, as fast as it goes.
pub(crate) fn make(root: &Path, episodes: u32, frames: u32) -> Outcome<()> {
    let shown = pictures();
    let mut recorder = Recorder::create(root, &spec())?;
    for episode in 0..episodes {
        recorder.start_episode("measure")?;
        for frame in 0..frames {
            let number = (episode * frames + frame) as usize;
            let state = [number as f32; JOINTS];
            let cameras: Vec<_> = (0..CAMERAS)
                .map(|i| shown[(number + i) % shown.len()].clone())
                .collect();
            recorder.add(Row {
                state: &state,
                action: &state,
                extra: &[],
                frames: &cameras,
            })?;
        }
        recorder.save_episode()?;
    }
    recorder.finalize()?;
    Ok(())
}

/// Records one episode in real time, with absolute deadlines; a period that is over before its row
/// is offered is missed. Then it is saved.
pub(crate) fn paced(root: &Path, seconds: u32) -> Outcome<()> {
    let shown = pictures();
    let recorder = Recorder::create(root, &spec())?;
    let (control, mut rows) = RecorderThread::spawn(recorder, RING_ROWS)?;
    control.start_episode("measure")?;
    let (start, period) = (Instant::now(), Duration::from_secs(1) / FPS);
    let mut missed = 0;
    for tick in 0..seconds * FPS {
        let (due, now) = (period * tick, start.elapsed());
        if now >= due + period {
            missed += 1;
            continue;
        }
        std::thread::sleep(due - now.min(due));
        let mut row = LoopRow::default();
        row.state[..JOINTS].fill(tick as f32);
        for (i, frame) in row.frames[..CAMERAS].iter_mut().enumerate() {
            *frame = Some(shown[(tick as usize + i) % shown.len()].clone());
        }
        rows.offer(row);
    }
    let saving = Instant::now();
    let saved = control.save_episode()?;
    let save_seconds = saving.elapsed().as_secs_f64();
    control.finish()?;
    let mut lost = 0;
    for video in &saved.summary.videos {
        lost += saved.summary.rows.abs_diff(mp4::probe(video)?.frames);
    }
    let answer = serde_json::json!({
        "rows": saved.summary.rows,
        "missed_rows": missed + saved.dropped_rows,
        "lost_frames": lost,
        "save_seconds": save_seconds,
    });
    println!("{answer}");
    Ok(())
}

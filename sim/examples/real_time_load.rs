//! What does simulating in real time cost? Physics at 500 Hz beside two 320×240 cameras at 30 fps,
//! for a few seconds of wall time, then the CPU time per part.
//!
//! ```text
//! cargo run -p sinew-sim --example real_time_load -- [model.xml | go2 | go2-shapes] [seconds]
//! ```
//!
//! Without a model it loads `so101-pick`. `go2-shapes` draws the Go2's collision shapes in place of
//! its meshes. `LP_NUM_THREADS=0` makes Mesa render on the calling thread alone.

use sinew_runtime::{Clock, MonotonicClock};
use sinew_sim::pick::Scene;
use sinew_sim::{RenderOptions, Renderer, Viewpoint, World};
use std::error::Error;
use std::path::Path;
use std::time::Duration;

const SIZE: (u32, u32) = (320, 240);
const FRAME_NS: u64 = 1_000_000_000 / 30;
const STEP_NS: u64 = 2_000_000;

fn world(model: Option<&str>) -> Result<(World, Vec<Viewpoint>), Box<dyn Error>> {
    let world = match model {
        Some("go2" | "go2-shapes") => {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../third_party/models/go2");
            let walk = sinew_sim::go2::walk(&dir, 0)?;
            return Ok((walk.world().fork()?, vec![walk.view(), walk.view()]));
        }
        Some(path) => World::from_path(path, Path::new(path))?,
        None => World::new(Scene::load()?.0)?,
    };
    let model = world.model().clone();
    let mut views = Vec::new();
    for name in model.camera_names().iter().take(2) {
        views.push(Viewpoint::Camera(model.camera(name)?));
    }
    if views.is_empty() {
        return Err("the model has no camera".into());
    }
    Ok((world, views))
}

/// CPU time of this process, s; of this thread alone if `thread`.
fn cpu_seconds(thread: bool) -> f64 {
    let clock = if thread {
        libc::CLOCK_THREAD_CPUTIME_ID
    } else {
        libc::CLOCK_PROCESS_CPUTIME_ID
    };
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the kernel to fill.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next();
    let (mut world, views) = world(model.as_deref())?;
    let seconds: f64 = arguments.next().map_or(Ok(5.0), |s| s.parse())?;
    let mut options = RenderOptions::default();
    if model.as_deref() == Some("go2-shapes") {
        options.geom_groups = [true, true, false, true, false, false];
    }
    let mut renderer = Renderer::new(world.model(), options)?;
    let mut pixels = vec![0; 3 * (SIZE.0 * SIZE.1) as usize];
    for view in &views {
        renderer.render(&world, *view, SIZE.0, SIZE.1, &mut pixels)?;
    }

    let clock = MonotonicClock;
    let (start, cpu_start) = (clock.now(), cpu_seconds(false));
    let end = start + Duration::from_secs_f64(seconds).as_nanos() as u64;
    let (mut steps, mut frames, mut late) = (0u64, 0u64, 0u64);
    let (mut physics, mut wall) = (0.0, Vec::new());
    loop {
        let due = start + steps * STEP_NS;
        if due >= end || clock.now() >= end {
            break;
        }
        clock.sleep_until(due);
        late += u64::from(clock.now() > due + STEP_NS);
        let before = cpu_seconds(true);
        world.step(1)?;
        physics += cpu_seconds(true) - before;
        steps += 1;
        if clock.now() >= start + frames * FRAME_NS {
            for view in &views {
                let before = clock.now();
                renderer.render(&world, *view, SIZE.0, SIZE.1, &mut pixels)?;
                wall.push((clock.now() - before) as f64 / 1e6);
            }
            // A machine that cannot keep up drops frames, as a camera would.
            frames = (clock.now() - start) / FRAME_NS + 1;
        }
    }
    let total = cpu_seconds(false) - cpu_start;
    let elapsed = (clock.now() - start) as f64 / 1e9;
    wall.sort_by(f64::total_cmp);
    println!("device:    {}", renderer.device());
    println!(
        "physics:   {steps} steps, {:.1} µs CPU each",
        physics / steps as f64 * 1e6
    );
    println!(
        "rendering: {} images {}x{}, wall ms median {:.2}, max {:.2}; CPU ms mean {:.2} (all threads)",
        wall.len(),
        SIZE.0,
        SIZE.1,
        wall[wall.len() / 2],
        wall[wall.len() - 1],
        (total - physics) / wall.len() as f64 * 1e3
    );
    println!(
        "load:      {:.0} % of one core over {elapsed:.1} s; {late} steps began over a period late",
        100.0 * total / elapsed
    );
    Ok(())
}

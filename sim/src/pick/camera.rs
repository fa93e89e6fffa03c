//! The render thread: pictures of the newest snapshot, at a fixed rate.

use super::error::PickError;
use super::feed::CameraFeed;
use super::realtime::Shared;
use crate::{Model, RenderOptions, Renderer, State, Viewpoint, World};
use sinew_runtime::{Clock, FramePool, MonotonicClock, Nanos};
use std::sync::Arc;

const FRAMES_PER_POOL: usize = 8;
const SHADOW_SIZE: u32 = 512;
/// Images up to this wide are drawn with several samples a pixel: so few pixels must say where an
/// edge is by how much of each it covers.
const SMALL_WIDTH: u32 = 160;
const SMALL_SAMPLES: u32 = 4;
const RENDER_NICENESS: libc::c_int = 10;

/// How pictures of this world are drawn, at most `size` pixels wide and high.
pub(super) fn render_options(size: (u32, u32)) -> RenderOptions {
    RenderOptions {
        max_width: size.0,
        max_height: size.1,
        shadow_size: SHADOW_SIZE,
        samples: if size.0 <= SMALL_WIDTH {
            SMALL_SAMPLES
        } else {
            0
        },
        ..RenderOptions::default()
    }
}

/// Lowers the priority of this thread and of those that it starts: a software renderer takes all
/// cores for some milliseconds a frame, and the servo bus must answer meanwhile.
pub(super) fn yield_to_the_bus() {
    // SAFETY: on Linux, id 0 is the calling thread; no memory is involved.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, RENDER_NICENESS) } != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "cannot lower the renderer's priority");
    }
}

/// The render thread's own copy of the world.
pub(super) struct Cameras {
    world: World,
    renderer: Renderer,
    views: Vec<(CameraFeed, Viewpoint, FramePool)>,
    state: State,
}

impl Cameras {
    /// A renderer for the cameras of `shared`, on this thread.
    pub(super) fn new(
        model: Arc<Model>,
        shared: &Shared,
        size: (u32, u32),
    ) -> Result<Self, PickError> {
        let (width, height) = size;
        let renderer = Renderer::new(&model, render_options(size))?;
        let mut views = Vec::new();
        for feed in &shared.feeds {
            let view = Viewpoint::Camera(model.camera(&feed.info().name)?);
            views.push((
                feed.clone(),
                view,
                FramePool::new(width, height, FRAMES_PER_POOL),
            ));
        }
        Ok(Self {
            world: World::new(model)?,
            renderer,
            views,
            state: State::default(),
        })
    }

    /// Renders `fps` times a second until the simulator stops.
    pub(super) fn run(mut self, shared: &Shared, fps: u32) -> Result<(), PickError> {
        let clock = MonotonicClock;
        let period = 1_000_000_000 / Nanos::from(fps);
        let mut due = clock.now();
        let mut seq = 0;
        while !shared.stopping() {
            seq += 1;
            self.render(shared, seq)?;
            due = (due + period).max(clock.now());
            clock.sleep_until(due);
        }
        Ok(())
    }

    /// One picture of each camera, all of the same instant.
    fn render(&mut self, shared: &Shared, seq: u64) -> Result<(), PickError> {
        let captured_ns = {
            let snapshot = shared.snapshot();
            self.state.clone_from(&snapshot.state);
            snapshot.captured_ns
        };
        self.world.restore(&self.state)?;
        for (feed, view, pool) in &self.views {
            let mut frame = pool.take(seq, captured_ns);
            self.renderer.render_frame(&self.world, *view, &mut frame)?;
            feed.publish(frame);
        }
        Ok(())
    }
}

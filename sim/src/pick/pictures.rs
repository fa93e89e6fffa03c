//! Pictures in lockstep: rendered when they are asked for, of the world as it is then.

use super::camera::render_options;
use super::error::PickError;
use super::scene::CAMERAS;
use super::task::PickTask;
use crate::{Renderer, Viewpoint};
use sinew_runtime::control::{Frames, MAX_CAMERAS};
use sinew_runtime::{FramePool, Nanos};
use std::sync::Arc;

/// Frames of each camera that may be in use at a time.
const FRAMES_PER_POOL: usize = 4;

/// Width and height of each camera's pictures, pixels, in the order of [`CAMERAS`]; `None` for a camera
/// that is not wanted.
pub type PictureSizes = [Option<(u32, u32)>; CAMERAS.len()];

/// The cameras of one [`PickTask`], on the thread that made them. The same state gives the same pixels,
/// and those that the render thread of [`super::SimServer`] would give at that size.
#[derive(Debug)]
pub struct LockstepCameras {
    renderer: Renderer,
    /// Place among [`CAMERAS`], viewpoint, frames.
    views: Vec<(usize, Viewpoint, FramePool)>,
    rounds: u64,
}

impl LockstepCameras {
    /// A renderer for the wanted cameras; `None` when none is.
    ///
    /// # Errors
    /// [`PickError::Sim`] when there is no way to render, or a size is out of range.
    pub fn new(task: &PickTask, sizes: &PictureSizes) -> Result<Option<Self>, PickError> {
        let model = task.world().model();
        let Some(largest) = sizes
            .iter()
            .flatten()
            .copied()
            .reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
        else {
            return Ok(None);
        };
        let renderer = Renderer::new(model, render_options(largest))?;
        let mut views = Vec::new();
        for (place, (name, size)) in CAMERAS.iter().zip(sizes).enumerate() {
            if let Some((width, height)) = *size {
                let view = Viewpoint::Camera(model.camera(name)?);
                let pool = FramePool::new(width, height, FRAMES_PER_POOL);
                views.push((place, view, pool));
            }
        }
        Ok(Some(Self {
            renderer,
            views,
            rounds: 0,
        }))
    }

    /// One picture of each wanted camera, stamped `captured_ns`, at its place among [`CAMERAS`].
    pub fn render(
        &mut self,
        task: &PickTask,
        captured_ns: Nanos,
        frames: &mut Frames,
    ) -> Result<(), PickError> {
        const { assert!(CAMERAS.len() <= MAX_CAMERAS) };
        self.rounds += 1;
        for (place, view, pool) in &self.views {
            let mut frame = pool.take(self.rounds, captured_ns);
            self.renderer
                .render_frame(task.world(), *view, &mut frame)?;
            frames[*place] = Some(Arc::new(frame));
        }
        Ok(())
    }
}

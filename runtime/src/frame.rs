//! Camera frames from a pool, shared without copies.

use crate::clock::Nanos;
use std::sync::{Arc, Mutex};

/// What a frame's bytes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PixelFormat {
    /// Red, green, blue, 8 bits each.
    #[default]
    Rgb8,
    /// Distance in mm, 16 bits, little-endian; 0 where nothing was measured.
    DepthMm,
}

impl PixelFormat {
    /// Bytes of one pixel.
    pub fn bytes(self) -> usize {
        match self {
            Self::Rgb8 => 3,
            Self::DepthMm => 2,
        }
    }
}

/// One image: colours or distances, rows top to bottom, no padding.
#[derive(Debug)]
pub struct Frame {
    /// Counts frames of one camera, from 1.
    pub seq: u64,
    /// When the image was exposed (or, in simulation, the time of the rendered state).
    pub captured_ns: Nanos,
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// What the bytes mean.
    pub format: PixelFormat,
    /// `width * height` pixels of `format`.
    pub data: Vec<u8>,
    home: Option<Arc<Mutex<Vec<Vec<u8>>>>>,
}

impl Frame {
    /// An RGB frame of its own, outside any pool.
    pub fn new(width: u32, height: u32, data: Vec<u8>) -> Self {
        Self::alone(width, height, PixelFormat::Rgb8, data)
    }

    /// A depth frame of its own, outside any pool, from distances in mm.
    pub fn depth(width: u32, height: u32, mm: &[u16]) -> Self {
        let data = mm.iter().flat_map(|d| d.to_le_bytes()).collect();
        Self::alone(width, height, PixelFormat::DepthMm, data)
    }

    fn alone(width: u32, height: u32, format: PixelFormat, data: Vec<u8>) -> Self {
        Self {
            seq: 0,
            captured_ns: 0,
            width,
            height,
            format,
            data,
            home: None,
        }
    }

    /// The distances of a depth frame, mm, row by row.
    pub fn distances(&self) -> impl Iterator<Item = u16> + '_ {
        self.data
            .chunks_exact(2)
            .map(|d| u16::from_le_bytes([d[0], d[1]]))
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if let Some(home) = self.home.take()
            && let Ok(mut free) = home.lock()
        {
            // Capacity was reserved when the pool was made, so this never allocates.
            if free.len() < free.capacity() {
                free.push(std::mem::take(&mut self.data));
            }
        }
    }
}

/// Recycles the pixel buffers of one camera.
#[derive(Debug, Clone)]
pub struct FramePool {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
    width: u32,
    height: u32,
}

impl FramePool {
    /// A pool of `frames` buffers for `width`×`height` RGB images.
    pub fn new(width: u32, height: u32, frames: usize) -> Self {
        let bytes = 3 * width as usize * height as usize;
        let mut free = Vec::with_capacity(frames);
        free.resize_with(frames, || vec![0; bytes]);
        Self {
            free: Arc::new(Mutex::new(free)),
            width,
            height,
        }
    }

    /// A buffer to fill. When all are in use a new one is made (and kept from then on if there is
    /// room), so that a slow reader costs memory, not frames.
    pub fn take(&self, seq: u64, captured_ns: Nanos) -> Frame {
        let recycled = self.free.lock().ok().and_then(|mut free| free.pop());
        let bytes = 3 * self.width as usize * self.height as usize;
        Frame {
            seq,
            captured_ns,
            width: self.width,
            height: self.height,
            format: PixelFormat::Rgb8,
            data: recycled.unwrap_or_else(|| vec![0; bytes]),
            home: Some(self.free.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_return_to_the_pool() {
        let pool = FramePool::new(4, 2, 1);
        let address = pool.take(1, 0).data.as_ptr();
        assert_eq!(pool.take(2, 0).data.as_ptr(), address);
    }
}

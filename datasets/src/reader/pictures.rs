//! Pictures that are stored in the parquet file: PNG and JPEG, and TIFF for depth.

use super::value::{DepthUnit, Image, Pixels};
use crate::error::{Error, Result};
use crate::features::Feature;
use image::{ImageReader, Limits};
use serde_json::Value;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use tiff::decoder::{Decoder, DecodingResult, Limits as TiffLimits};

/// Larger pictures are refused, pixels on a side.
const SIDE_LIMIT: u32 = 8192;
/// Most memory for one picture, bytes.
const BYTES_LIMIT: usize = 512 << 20;

/// How a camera's stored pictures are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Stored {
    /// As colours.
    Colour,
    /// As distances, multiplied by this.
    Depth(f32),
}

impl Stored {
    /// How pictures of `feature` are read: distances become `unit` if the feature names its own.
    pub(crate) fn of(feature: &Feature, unit: DepthUnit) -> Self {
        if !crate::video::depth::is_depth(feature) {
            return Self::Colour;
        }
        let own = feature
            .info
            .as_ref()
            .and_then(|info| info.get("depth_unit"));
        Self::Depth(match (own.and_then(Value::as_str), unit) {
            (Some("m"), DepthUnit::Millimetres) => 1000.0,
            (Some("mm"), DepthUnit::Metres) => 0.001,
            _ => 1.0,
        })
    }

    /// Decodes one picture. `path` is for messages.
    pub(crate) fn decode(self, path: &Path, bytes: &[u8]) -> Result<Image> {
        // Foreign code over foreign bytes: a panic inside must not become ours.
        let decoded = catch_unwind(AssertUnwindSafe(|| match self {
            Self::Colour => colour(bytes),
            Self::Depth(factor) => depth(bytes, factor),
        }));
        let decoded = decoded.unwrap_or_else(|_| Err("the decoder gave up on it".into()));
        decoded.map_err(|problem| Error::corrupt(path, format!("a stored picture: {problem}")))
    }
}

fn colour(bytes: &[u8]) -> std::result::Result<Image, String> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_LIMIT);
    limits.max_image_height = Some(SIDE_LIMIT);
    limits.max_alloc = Some(BYTES_LIMIT as u64);
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| e.to_string())?;
    reader.limits(limits);
    let rgb = reader.decode().map_err(|e| e.to_string())?.into_rgb8();
    Ok(Image {
        width: rgb.width() as usize,
        height: rgb.height() as usize,
        pixels: Pixels::Rgb(rgb.into_raw()),
    })
}

fn depth(bytes: &[u8], factor: f32) -> std::result::Result<Image, String> {
    let (width, height, stored) = if bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*") {
        tiff_depth(bytes)?
    } else {
        png_depth(bytes)?
    };
    let expected = width as usize * height as usize;
    if stored.len() != expected {
        return Err(format!("{} distances for {width}×{height}", stored.len()));
    }
    // Division, as LeRobot does, differs from multiplication by 0.001 in the last bit.
    let convert = |v: f32| if factor < 1.0 { v / 1000.0 } else { v * factor };
    Ok(Image {
        width: width as usize,
        height: height as usize,
        pixels: Pixels::Depth(stored.into_iter().map(convert).collect()),
    })
}

fn tiff_depth(bytes: &[u8]) -> std::result::Result<(u32, u32, Vec<f32>), String> {
    let mut limits = TiffLimits::default();
    limits.decoding_buffer_size = BYTES_LIMIT;
    limits.intermediate_buffer_size = BYTES_LIMIT;
    let decoder = Decoder::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let mut decoder = decoder.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(|e| e.to_string())?;
    if width > SIDE_LIMIT || height > SIDE_LIMIT {
        return Err(format!("{width}×{height} is too large"));
    }
    let values = match decoder.read_image().map_err(|e| e.to_string())? {
        DecodingResult::U16(v) => v.into_iter().map(f32::from).collect(),
        DecodingResult::F32(v) => v,
        _ => return Err("depth is neither 16-bit whole nor 32-bit real numbers".into()),
    };
    Ok((width, height, values))
}

fn png_depth(bytes: &[u8]) -> std::result::Result<(u32, u32, Vec<f32>), String> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_LIMIT);
    limits.max_image_height = Some(SIDE_LIMIT);
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| e.to_string())?;
    reader.limits(limits);
    match reader.decode().map_err(|e| e.to_string())? {
        image::DynamicImage::ImageLuma16(gray) => {
            let (width, height) = gray.dimensions();
            Ok((
                width,
                height,
                gray.into_raw().into_iter().map(f32::from).collect(),
            ))
        }
        _ => Err("depth is not 16-bit".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An uncompressed 2×2 TIFF of 16-bit values, as Pillow writes.
    fn tiff_file() -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        let entries: [(u16, u16, u32); 9] = [
            (256, 4, 2),
            (257, 4, 2),
            (258, 3, 16),
            (259, 3, 1),
            (262, 3, 1),
            (273, 4, 8 + 2 + 9 * 12 + 4),
            (277, 3, 1),
            (278, 4, 2),
            (279, 4, 8),
        ];
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend([0; 4]);
        bytes.extend([0_u16, 1, 1000, 65535].iter().flat_map(|v| v.to_le_bytes()));
        bytes
    }

    #[test]
    fn tiff_depth_keeps_every_value() {
        let path = Path::new("x");
        let image = Stored::Depth(1.0).decode(path, &tiff_file()).unwrap();
        assert_eq!(image.pixels, Pixels::Depth(vec![0.0, 1.0, 1000.0, 65535.0]));
        let image = Stored::Depth(0.001).decode(path, &tiff_file()).unwrap();
        assert_eq!(image.pixels, Pixels::Depth(vec![0.0, 0.001, 1.0, 65.535]));
    }

    proptest! {
        #[test]
        fn damaged_pictures_never_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            junk in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut bytes = tiff_file();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let _ = Stored::Depth(1.0).decode(Path::new("x"), &bytes);
            let _ = Stored::Depth(1.0).decode(Path::new("x"), &junk);
            let _ = Stored::Colour.decode(Path::new("x"), &junk);
        }
    }
}

//! Decoded planes → RGB, by FFmpeg's arithmetic.
//!
//! This is what libswscale's vector code computes for 4:2:0 → RGB24 (the path that PyAV and
//! torchcodec take): 16-bit products cut to their upper half, one chroma value for each 2×2 pixels.
//! Pictures therefore equal theirs to the last bit. The factors follow from ITU-R BT.601/709 as in
//! libswscale's `ff_yuv2rgb_c_init_tables`.

use super::rows::RowConverter;
use crate::error::{Error, Result};
use crate::reader::value::{Image, Pixels};
use std::path::Path;

/// How the three colours follow from luma and chroma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub(super) luma_offset: i16,
    pub(super) luma: i16,
    pub(super) red_v: i16,
    pub(super) green_u: i16,
    pub(super) green_v: i16,
    pub(super) blue_u: i16,
}

impl Matrix {
    /// The factors for BT.709 or BT.601, and for full or studio range.
    pub(crate) fn new(bt709: bool, full_range: bool) -> Self {
        // 16.16 fixed point: V to red, U to blue, U and V to green (subtracted).
        let table: [i64; 4] = if bt709 {
            [117_489, 138_438, 13_975, 34_925]
        } else {
            [104_597, 132_201, 25_675, 53_279]
        };
        let chroma = table.map(|c| if full_range { c * 224 / 255 } else { c });
        let luma: i64 = if full_range {
            65_536
        } else {
            65_536 * 255 / 219
        };
        // Below 2¹⁵, all of them.
        let rounded = |c: i64| ((c * (1 << 13) + (1 << 15)) >> 16) as i16;
        Self {
            luma_offset: if full_range { 0 } else { 16 << 3 },
            luma: rounded(luma),
            red_v: rounded(chroma[0]),
            blue_u: rounded(chroma[1]),
            green_u: rounded(-chroma[2]),
            green_v: rounded(-chroma[3]),
        }
    }
}

/// One plane of a decoded picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane<'a> {
    /// Its bytes, `stride` for each row but perhaps fewer for the last.
    pub(crate) data: &'a [u8],
    /// Bytes from one row to the next.
    pub(crate) stride: usize,
}

impl<'a> Plane<'a> {
    /// A plane that is not there.
    pub(crate) const EMPTY: Self = Self {
        data: &[],
        stride: 0,
    };

    fn row(&self, row: usize, bytes: usize) -> Option<&'a [u8]> {
        let start = row.checked_mul(self.stride)?;
        self.data.get(start..start.checked_add(bytes)?)
    }
}

/// Decoded planes before conversion.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planes<'a> {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// FFmpeg's name of the pixel format.
    pub(crate) format: &'a str,
    pub(crate) planes: [Plane<'a>; 3],
    pub(crate) matrix: Matrix,
}

impl Planes<'_> {
    /// The RGB picture.
    pub(crate) fn to_rgb(self, path: &Path) -> Result<Image> {
        let (shift_x, shift_y) = match self.format {
            "yuv420p" | "yuvj420p" => (1, 1),
            "yuv422p" | "yuvj422p" => (1, 0),
            "yuv444p" | "yuvj444p" => (0, 0),
            "gray" => return self.gray_to_rgb(path),
            other => {
                return Err(Error::video(
                    path,
                    format!("pictures of format {other} are not read; re-encode as yuv420p"),
                ));
            }
        };
        let (width, height) = (self.width, self.height);
        let chroma_width = (width + shift_x) >> shift_x;
        let mut rgb = vec![0; 3 * width * height];
        let mut converter = RowConverter::new(self.matrix, width);
        let [y, u, v] = self.planes;
        for (row, out) in rgb.chunks_exact_mut(3 * width).enumerate() {
            if row & ((1 << shift_y) - 1) == 0 {
                let chroma = row >> shift_y;
                let u = u.row(chroma, chroma_width).ok_or_else(|| short(path))?;
                let v = v.row(chroma, chroma_width).ok_or_else(|| short(path))?;
                if shift_x == 1 {
                    converter.set_chroma::<2>(u, v);
                } else {
                    converter.set_chroma::<1>(u, v);
                }
            }
            let luma = y.row(row, width).ok_or_else(|| short(path))?;
            converter.write_rgb(luma, out);
        }
        Ok(Image {
            width,
            height,
            pixels: Pixels::Rgb(rgb),
        })
    }

    fn gray_to_rgb(self, path: &Path) -> Result<Image> {
        let mut rgb = Vec::with_capacity(3 * self.width * self.height);
        for row in 0..self.height {
            let row = self.planes[0]
                .row(row, self.width)
                .ok_or_else(|| short(path))?;
            rgb.extend(row.iter().flat_map(|v| [*v; 3]));
        }
        Ok(Image {
            width: self.width,
            height: self.height,
            pixels: Pixels::Rgb(rgb),
        })
    }

    /// The luma plane as 12-bit codes, for depth videos.
    pub(crate) fn to_codes(self, path: &Path) -> Result<Vec<u16>> {
        if !matches!(self.format, "gray12le" | "yuv420p12le") {
            return Err(Error::video(
                path,
                format!(
                    "a depth video has format {} instead of gray12le",
                    self.format
                ),
            ));
        }
        let mut codes = Vec::with_capacity(self.width * self.height);
        for row in 0..self.height {
            let row = self.planes[0]
                .row(row, 2 * self.width)
                .ok_or_else(|| short(path))?;
            codes.extend(
                row.chunks_exact(2)
                    .map(|b| u16::from_le_bytes([b[0], b[1]])),
            );
        }
        Ok(codes)
    }
}

fn short(path: &Path) -> Error {
    Error::video(path, "the decoder gave a short picture")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_planes_are_errors() {
        let plane = Plane {
            data: &[0; 10],
            stride: 4,
        };
        let planes = Planes {
            width: 4,
            height: 4,
            format: "yuv420p",
            planes: [plane; 3],
            matrix: Matrix::new(false, false),
        };
        assert!(planes.to_rgb(Path::new("x")).is_err());
        assert!(
            Planes {
                format: "gray12le",
                ..planes
            }
            .to_codes(Path::new("x"))
            .is_err()
        );
    }
}

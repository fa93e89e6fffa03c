//! Decoded planes → RGB, by FFmpeg's arithmetic.
//!
//! This is what libswscale's vector code computes for 4:2:0 → RGB24 (the path that PyAV and
//! torchcodec take): 16-bit products cut to their upper half, one chroma value for each 2×2 pixels.
//! Pictures therefore equal theirs to the last bit. The factors follow from ITU-R BT.601/709 as in
//! libswscale's `ff_yuv2rgb_c_init_tables`.

use crate::error::{Error, Result};
use crate::reader::value::{Image, Pixels};
use std::path::Path;

/// How the three colours follow from luma and chroma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matrix {
    luma_offset: i32,
    luma: i32,
    red_v: i32,
    green_u: i32,
    green_v: i32,
    blue_u: i32,
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
        let rounded = |c: i64| ((c * (1 << 13) + (1 << 15)) >> 16) as i32;
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
        for (row, out) in rgb.chunks_exact_mut(3 * width).enumerate() {
            let [y, u, v] = self.planes;
            let rows = (
                y.row(row, width),
                u.row(row >> shift_y, chroma_width),
                v.row(row >> shift_y, chroma_width),
            );
            let (Some(y), Some(u), Some(v)) = rows else {
                return Err(short(path));
            };
            if shift_x == 1 {
                convert_row::<2>(self.matrix, y, u, v, out);
            } else {
                convert_row::<1>(self.matrix, y, u, v, out);
            }
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

/// `STEP` pixels share a chroma value.
fn convert_row<const STEP: usize>(m: Matrix, y: &[u8], u: &[u8], v: &[u8], out: &mut [u8]) {
    let high = |a: i32, b: i32| (a * b) >> 16;
    let clamp = |v: i32| v.clamp(0, 255) as u8;
    let pixels = y.chunks(STEP).zip(out.chunks_mut(3 * STEP));
    for ((y, out), (u, v)) in pixels.zip(u.iter().zip(v)) {
        let (u, v) = ((i32::from(*u) - 128) << 3, (i32::from(*v) - 128) << 3);
        let red = high(v, m.red_v);
        let green = high(u, m.green_u) + high(v, m.green_v);
        let blue = high(u, m.blue_u);
        for (y, out) in y.iter().zip(out.chunks_exact_mut(3)) {
            let luma = high((i32::from(*y) << 3) - m.luma_offset, m.luma);
            out[0] = clamp(luma + red);
            out[1] = clamp(luma + green);
            out[2] = clamp(luma + blue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(y: u8, u: u8, v: u8, matrix: Matrix) -> Vec<u8> {
        let mut out = vec![0; 3];
        convert_row::<1>(matrix, &[y], &[u], &[v], &mut out);
        out
    }

    #[test]
    fn ends_of_the_ranges_are_black_and_white() {
        for bt709 in [false, true] {
            let studio = Matrix::new(bt709, false);
            assert_eq!(one(16, 128, 128, studio), [0, 0, 0]);
            assert_eq!(one(235, 128, 128, studio), [255, 255, 255]);
            let full = Matrix::new(bt709, true);
            assert_eq!(one(0, 128, 128, full), [0, 0, 0]);
            assert_eq!(one(255, 128, 128, full), [255, 255, 255]);
        }
    }

    #[test]
    fn rows_of_odd_width_share_the_last_chroma_value() {
        let matrix = Matrix::new(false, false);
        let mut out = vec![0; 9];
        convert_row::<2>(matrix, &[50, 60, 70], &[90, 200], &[100, 30], &mut out);
        assert_eq!(out[6..], one(70, 200, 30, matrix));
    }

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

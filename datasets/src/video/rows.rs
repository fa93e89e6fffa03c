//! One row of luma and chroma → red, green and blue, in steps that a compiler turns into vector code.
//!
//! No step can overflow; arithmetic is `wrapping_` because checks would keep it from vectors. A build
//! for any x86-64 may use 16 bytes at once; where the processor has AVX2, the same code is compiled
//! for it.
#![allow(
    unsafe_code,
    reason = "code for AVX2 runs only where the processor has it"
)]

use super::colors::Matrix;

/// The upper half of a 16-bit product, as vector units give it.
fn high(a: i16, b: i16) -> i16 {
    (i32::from(a).wrapping_mul(i32::from(b)) >> 16) as i16
}

/// Converts rows of one width. A picture's rows are given in order, each chroma row before the luma
/// rows that share it.
#[derive(Debug)]
pub(super) struct RowConverter {
    matrix: Matrix,
    luma: Vec<i16>,
    /// One colour's share of chroma, a value for each chroma sample.
    narrow: Vec<i16>,
    /// What chroma adds to red, green and blue, a value for each pixel.
    chroma: [Vec<i16>; 3],
    /// The row's colours.
    colours: [Vec<u8>; 3],
}

impl RowConverter {
    /// For rows of `width` pixels.
    pub(super) fn new(matrix: Matrix, width: usize) -> Self {
        Self {
            matrix,
            luma: vec![0; width],
            narrow: Vec::with_capacity(width),
            chroma: std::array::from_fn(|_| vec![0; width]),
            colours: std::array::from_fn(|_| vec![0; width]),
        }
    }

    /// Takes a chroma row, in which each value is for `STEP` pixels, the last perhaps for fewer.
    pub(super) fn set_chroma<const STEP: usize>(&mut self, u: &[u8], v: &[u8]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor was asked.
            return unsafe { self.set_chroma_avx2::<STEP>(u, v) };
        }
        self.set_chroma_plain::<STEP>(u, v);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn set_chroma_avx2<const STEP: usize>(&mut self, u: &[u8], v: &[u8]) {
        self.set_chroma_plain::<STEP>(u, v);
    }

    #[inline(always)]
    fn set_chroma_plain<const STEP: usize>(&mut self, u: &[u8], v: &[u8]) {
        let m = self.matrix;
        let centred = |value: &u8| i16::from(*value).wrapping_sub(128) << 3;
        let green = |(u, v)| high(centred(u), m.green_u).wrapping_add(high(centred(v), m.green_v));
        let [to_red, to_green, to_blue] = &mut self.chroma;
        self.narrow.clear();
        self.narrow
            .extend(v.iter().map(|v| high(centred(v), m.red_v)));
        spread::<STEP>(&self.narrow, to_red);
        self.narrow.clear();
        self.narrow.extend(u.iter().zip(v).map(green));
        spread::<STEP>(&self.narrow, to_green);
        self.narrow.clear();
        self.narrow
            .extend(u.iter().map(|u| high(centred(u), m.blue_u)));
        spread::<STEP>(&self.narrow, to_blue);
    }

    /// Takes a luma row and writes its colours, three bytes a pixel.
    pub(super) fn write_rgb(&mut self, luma: &[u8], out: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor was asked.
            return unsafe { self.write_rgb_avx2(luma, out) };
        }
        self.write_rgb_plain(luma, out);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn write_rgb_avx2(&mut self, luma: &[u8], out: &mut [u8]) {
        self.write_rgb_plain(luma, out);
    }

    #[inline(always)]
    fn write_rgb_plain(&mut self, luma: &[u8], out: &mut [u8]) {
        let m = self.matrix;
        for (scaled, luma) in self.luma.iter_mut().zip(luma) {
            *scaled = high((i16::from(*luma) << 3).wrapping_sub(m.luma_offset), m.luma);
        }
        for (colour, chroma) in self.colours.iter_mut().zip(&self.chroma) {
            for ((out, luma), chroma) in colour.iter_mut().zip(&self.luma).zip(chroma) {
                *out = luma.wrapping_add(*chroma).clamp(0, 255) as u8;
            }
        }
        let [red, green, blue] = &self.colours;
        let pixels = out.as_chunks_mut::<3>().0.iter_mut();
        for (((out, red), green), blue) in pixels.zip(red).zip(green).zip(blue) {
            *out = [*red, *green, *blue];
        }
    }
}

/// Repeats each value `STEP` times.
fn spread<const STEP: usize>(narrow: &[i16], wide: &mut [i16]) {
    let (groups, rest) = wide.as_chunks_mut::<STEP>();
    for (group, value) in groups.iter_mut().zip(narrow) {
        *group = [*value; STEP];
    }
    if let Some(last) = narrow.last() {
        rest.fill(*last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<const STEP: usize>(matrix: Matrix, y: &[u8], u: &[u8], v: &[u8]) -> Vec<u8> {
        let mut out = vec![0; 3 * y.len()];
        let mut converter = RowConverter::new(matrix, y.len());
        converter.set_chroma::<STEP>(u, v);
        converter.write_rgb(y, &mut out);
        out
    }

    #[test]
    fn ends_of_the_ranges_are_black_and_white() {
        for bt709 in [false, true] {
            let studio = Matrix::new(bt709, false);
            assert_eq!(row::<1>(studio, &[16], &[128], &[128]), [0, 0, 0]);
            assert_eq!(row::<1>(studio, &[235], &[128], &[128]), [255, 255, 255]);
            let full = Matrix::new(bt709, true);
            assert_eq!(row::<1>(full, &[0], &[128], &[128]), [0, 0, 0]);
            assert_eq!(row::<1>(full, &[255], &[128], &[128]), [255, 255, 255]);
        }
    }

    #[test]
    fn rows_of_odd_width_share_the_last_chroma_value() {
        let matrix = Matrix::new(false, false);
        let three = row::<2>(matrix, &[50, 60, 70], &[90, 200], &[100, 30]);
        assert_eq!(three[..3], row::<1>(matrix, &[50], &[90], &[100]));
        assert_eq!(three[3..6], row::<1>(matrix, &[60], &[90], &[100]));
        assert_eq!(three[6..], row::<1>(matrix, &[70], &[200], &[30]));
    }

    /// The formula as it is written down, in 32 bits.
    #[test]
    fn every_luma_and_chroma_is_as_in_wider_arithmetic() {
        for (bt709, full) in [(false, false), (true, false), (false, true), (true, true)] {
            let m = Matrix::new(bt709, full);
            let wide = |a: i32, b: i16| (a * i32::from(b)) >> 16;
            let all: Vec<u8> = (0..=255).collect();
            for (u, v) in [
                (0, 0),
                (0, 255),
                (255, 0),
                (255, 255),
                (90, 200),
                (128, 127),
            ] {
                let found = row::<1>(m, &all, &[u; 256], &[v; 256]);
                let (u, v) = ((i32::from(u) - 128) << 3, (i32::from(v) - 128) << 3);
                for (y, found) in (0..256).zip(found.chunks_exact(3)) {
                    let luma = wide((y << 3) - i32::from(m.luma_offset), m.luma);
                    let expected = [
                        luma + wide(v, m.red_v),
                        luma + wide(u, m.green_u) + wide(v, m.green_v),
                        luma + wide(u, m.blue_u),
                    ];
                    assert_eq!(found, expected.map(|c| c.clamp(0, 255) as u8));
                }
            }
        }
    }
}

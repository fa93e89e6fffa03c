//! From a camera's bytes to what a network sees.

use crate::lerobot::Scaling;

/// Normalised values of all bytes, colour by colour. Each is computed as LeRobot does it (divided by
/// 255 and normalised in single precision), so pixels are equal to its own in every bit, at the price
/// of one look-up.
#[derive(Debug)]
pub(super) struct PixelTable {
    colours: [[f32; 256]; 3],
}

impl PixelTable {
    pub(super) fn new(scaling: Option<&Scaling>) -> Self {
        let mut colours = [[0.0; 256]; 3];
        for (colour, values) in colours.iter_mut().enumerate() {
            for (byte, value) in values.iter_mut().enumerate() {
                let plain = byte as f32 / 255.0;
                *value = scaling.map_or(plain, |scaling| scaling.normalise(colour, plain));
            }
        }
        Self { colours }
    }

    /// Writes RGB bytes `[height, width, 3]` as planes `[3, height, width]`.
    pub(super) fn fill(&self, rgb: &[u8], planes: &mut [f32]) {
        let (red, rest) = planes.split_at_mut(planes.len() / 3);
        let (green, blue) = rest.split_at_mut(rest.len() / 2);
        let [of_red, of_green, of_blue] = &self.colours;
        let (pixels, _) = rgb.as_chunks::<3>();
        let slots = red.iter_mut().zip(green).zip(blue);
        for (&[r, g, b], ((red, green), blue)) in pixels.iter().zip(slots) {
            *red = of_red[usize::from(r)];
            *green = of_green[usize::from(g)];
            *blue = of_blue[usize::from(b)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_planes() {
        let mut planes = [0.0; 6];
        PixelTable::new(None).fill(&[0, 51, 102, 255, 204, 153], &mut planes);
        assert_eq!(planes, [0.0, 1.0, 0.2, 0.8, 0.4, 0.6]);
    }
}

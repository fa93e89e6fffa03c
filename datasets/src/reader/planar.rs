//! Pictures as networks take them: one plane a channel.

use super::value::{Image, Pixels};

/// Whole value of a colour channel.
const FULL: f32 = 255.0;

impl Image {
    /// Channels: 3 of colour, or 1 of depth.
    pub fn channels(&self) -> usize {
        match self.pixels {
            Pixels::Rgb(_) => 3,
            Pixels::Depth(_) => 1,
        }
    }

    /// Values of all planes: channels × height × width.
    pub fn planar_len(&self) -> usize {
        self.channels() * self.height * self.width
    }

    /// Writes the red, green and blue planes, 0 to 255, into `out`, which has [`Self::planar_len`]
    /// values. Says whether it did: depth pictures hold no bytes.
    pub fn planar_u8(&self, out: &mut [u8]) -> bool {
        match &self.pixels {
            Pixels::Rgb(rgb) if out.len() == rgb.len() => split(rgb, out, |v| v),
            _ => return false,
        }
        true
    }

    /// Writes the planes into `out`, which has [`Self::planar_len`] values: colours from 0 to 1,
    /// distances as they are. Says whether it did.
    pub fn planar_f32(&self, out: &mut [f32]) -> bool {
        match &self.pixels {
            // Division, because a multiplication by 1/255 differs in the last bit from LeRobot's.
            Pixels::Rgb(rgb) if out.len() == rgb.len() => split(rgb, out, |v| f32::from(v) / FULL),
            Pixels::Depth(depth) if out.len() == depth.len() => out.copy_from_slice(depth),
            _ => return false,
        }
        true
    }
}

fn split<T>(rgb: &[u8], out: &mut [T], convert: impl Fn(u8) -> T) {
    let (red, rest) = out.split_at_mut(rgb.len() / 3);
    let (green, blue) = rest.split_at_mut(rgb.len() / 3);
    let planes = red.iter_mut().zip(green).zip(blue);
    for (pixel, ((red, green), blue)) in rgb.chunks_exact(3).zip(planes) {
        *red = convert(pixel[0]);
        *green = convert(pixel[1]);
        *blue = convert(pixel[2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_become_planes() {
        let image = Image {
            width: 2,
            height: 1,
            pixels: Pixels::Rgb(vec![0, 1, 2, 255, 254, 51]),
        };
        let mut bytes = [0; 6];
        assert!(image.planar_u8(&mut bytes));
        assert_eq!(bytes, [0, 255, 1, 254, 2, 51]);
        let mut reals = [0.0; 6];
        assert!(image.planar_f32(&mut reals));
        assert_eq!(reals[..2], [0.0, 1.0]);
        assert_eq!(reals[5], 51.0 / 255.0);
        assert!(!image.planar_u8(&mut bytes[1..]) && !image.planar_f32(&mut reals[1..]));
    }

    #[test]
    fn depth_stays_as_it_is() {
        let image = Image {
            width: 1,
            height: 2,
            pixels: Pixels::Depth(vec![7.5, 8.0]),
        };
        let mut out = [0.0; 2];
        assert!(image.planar_f32(&mut out) && !image.planar_u8(&mut [0; 2]));
        assert_eq!(out, [7.5, 8.0]);
    }
}

//! What a frame of a dataset is made of once read.

use std::sync::Arc;

/// Numbers of one type, in row-major order. Each is bit for bit what the file holds.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the variants are the element types")]
pub enum Numbers {
    Bool(Vec<bool>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    /// Half precision, as the 16 bits of each number.
    F16Bits(Vec<u16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// Does `$body` with `$values` bound to the vector inside, whatever its type.
macro_rules! for_numbers {
    ($numbers:expr, $values:ident => $body:expr) => {
        match $numbers {
            Numbers::Bool($values) => $body,
            Numbers::I8($values) => $body,
            Numbers::I16($values) => $body,
            Numbers::I32($values) => $body,
            Numbers::I64($values) => $body,
            Numbers::U8($values) => $body,
            Numbers::U16($values) => $body,
            Numbers::U32($values) => $body,
            Numbers::U64($values) => $body,
            Numbers::F16Bits($values) => $body,
            Numbers::F32($values) => $body,
            Numbers::F64($values) => $body,
        }
    };
}

impl Numbers {
    /// How many there are.
    pub fn len(&self) -> usize {
        for_numbers!(self, v => v.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them as `f64`: exact but for integers beyond 2⁵³.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::Bool(v) => v.iter().map(|x| f64::from(u8::from(*x))).collect(),
            Self::I8(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Self::I16(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Self::I32(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Self::I64(v) => v.iter().map(|x| *x as f64).collect(),
            Self::U8(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Self::U16(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Self::U32(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Self::U64(v) => v.iter().map(|x| *x as f64).collect(),
            Self::F16Bits(v) => v.iter().map(|x| half_to_f64(*x)).collect(),
            Self::F32(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Self::F64(v) => v.clone(),
        }
    }

    /// numpy's name of the element type.
    pub fn dtype(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::I8(_) => "int8",
            Self::I16(_) => "int16",
            Self::I32(_) => "int32",
            Self::I64(_) => "int64",
            Self::U8(_) => "uint8",
            Self::U16(_) => "uint16",
            Self::U32(_) => "uint32",
            Self::U64(_) => "uint64",
            Self::F16Bits(_) => "float16",
            Self::F32(_) => "float32",
            Self::F64(_) => "float64",
        }
    }

    /// The bytes of all numbers, little-endian; booleans as 0 and 1.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Self::Bool(v) => v.iter().map(|x| u8::from(*x)).collect(),
            Self::I8(v) => v.iter().map(|x| *x as u8).collect(),
            Self::U8(v) => v.clone(),
            Self::I16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::U16(v) | Self::F16Bits(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::U64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }
}

/// IEEE 754 half precision, widened exactly.
fn half_to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    }
}

/// Numbers with a shape. As in LeRobot, a feature of shape `[1]` is a scalar, whose shape is `[]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Sides, outermost first; a window adds its length in front.
    pub shape: Vec<usize>,
    /// The numbers, row-major.
    pub numbers: Numbers,
}

/// A picture, rows top to bottom without padding.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Width, pixels.
    pub width: usize,
    /// Height, pixels.
    pub height: usize,
    /// What is in it.
    pub pixels: Pixels,
}

/// The contents of a picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Pixels {
    /// Red, green, blue: `3 * width * height` bytes.
    Rgb(Vec<u8>),
    /// Distances in the [`DepthUnit`] asked for: `width * height` values.
    Depth(Vec<f32>),
}

impl Image {
    /// Bytes of its pixels.
    pub fn byte_len(&self) -> usize {
        match &self.pixels {
            Pixels::Rgb(rgb) => rgb.len(),
            Pixels::Depth(depth) => size_of_val(&depth[..]),
        }
    }
}

/// Unit of the distances in depth pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum DepthUnit {
    /// Millimetres, LeRobot's default.
    #[default]
    Millimetres,
    /// Metres.
    Metres,
}

/// One feature of one frame, or of a window of frames.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Numbers or booleans.
    Tensor(Tensor),
    /// A string feature.
    Text(String),
    /// A camera's picture.
    Image(Arc<Image>),
    /// A camera's pictures in a window, one an offset.
    Images(Vec<Arc<Image>>),
    /// A structured feature, such as LeRobot's language columns.
    Json(serde_json::Value),
}

impl Value {
    /// The tensor, if it is one.
    pub fn tensor(&self) -> Option<&Tensor> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The picture, if it is a single one.
    pub fn image(&self) -> Option<&Image> {
        match self {
            Self::Image(image) => Some(image),
            _ => None,
        }
    }

    /// The pictures: all of a window, or the single one.
    pub fn images(&self) -> &[Arc<Image>] {
        match self {
            Self::Image(image) => std::slice::from_ref(image),
            Self::Images(images) => images,
            _ => &[],
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// All that a dataset holds about one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Dataset-wide number of the frame.
    pub index: u64,
    /// Its episode.
    pub episode: u64,
    /// Its number within the episode.
    pub frame: u64,
    /// The task sentence.
    pub task: String,
    /// The features in the dataset's order.
    pub values: Vec<(Arc<str>, Value)>,
    /// For each feature read as a window: which of its entries lie outside the episode and repeat
    /// its first or last frame (LeRobot's `<feature>_is_pad`).
    pub pads: Vec<(Arc<str>, Vec<bool>)>,
}

impl Item {
    /// The feature called `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let found = self.values.iter().find(|(n, _)| &**n == name);
        found.map(|(_, value)| value)
    }

    /// The padding flags of the window of `name`.
    pub fn pad(&self, name: &str) -> Option<&[bool]> {
        let found = self.pads.iter().find(|(n, _)| &**n == name);
        found.map(|(_, flags)| &flags[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_widened_exactly() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x0001, 5.960464477539063e-8),
            (0x7bff, 65504.0),
            (0x3555, 0.333251953125),
            (0x7c00, f64::INFINITY),
        ] {
            assert_eq!(half_to_f64(bits), value);
        }
        assert!(half_to_f64(0x7e00).is_nan());
    }
}

//! Tensors and pictures as `ndarray` views, without a copy.

use super::value::{Image, Numbers, Pixels, Tensor};
use ndarray::{ArrayView3, ArrayViewD, IxDyn};

mod sealed {
    pub trait Sealed {}
}

/// A number type of datasets. Half precision has none: it is in [`Numbers::F16Bits`].
pub trait Element: sealed::Sealed + Sized {
    /// The numbers, if they are of this type.
    fn slice(numbers: &Numbers) -> Option<&[Self]>;
}

macro_rules! element {
    ($($kind:ty => $variant:ident),*) => {$(
        impl sealed::Sealed for $kind {}

        impl Element for $kind {
            fn slice(numbers: &Numbers) -> Option<&[Self]> {
                match numbers {
                    Numbers::$variant(values) => Some(values),
                    _ => None,
                }
            }
        }
    )*};
}

element!(bool => Bool, i8 => I8, i16 => I16, i32 => I32, i64 => I64, u8 => U8, u16 => U16,
    u32 => U32, u64 => U64, f32 => F32, f64 => F64);

impl Tensor {
    /// The tensor as an array of its shape, if its numbers are of type `T`.
    pub fn array<T: Element>(&self) -> Option<ArrayViewD<'_, T>> {
        ArrayViewD::from_shape(IxDyn(&self.shape), T::slice(&self.numbers)?).ok()
    }
}

impl Image {
    /// The colours as an array of height × width × 3.
    pub fn rgb_array(&self) -> Option<ArrayView3<'_, u8>> {
        match &self.pixels {
            Pixels::Rgb(rgb) => ArrayView3::from_shape((self.height, self.width, 3), rgb).ok(),
            Pixels::Depth(_) => None,
        }
    }

    /// The distances as an array of height × width × 1.
    pub fn depth_array(&self) -> Option<ArrayView3<'_, f32>> {
        match &self.pixels {
            Pixels::Depth(depth) => {
                ArrayView3::from_shape((self.height, self.width, 1), depth).ok()
            }
            Pixels::Rgb(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_have_the_shape_and_share_the_memory() {
        let tensor = Tensor {
            shape: vec![2, 3],
            numbers: Numbers::F32(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        };
        let view = tensor.array::<f32>().unwrap();
        assert_eq!((view.shape(), view[[1, 2]]), (&[2, 3][..], 5.0));
        let Numbers::F32(values) = &tensor.numbers else {
            unreachable!()
        };
        assert_eq!(view.as_ptr(), values.as_ptr());
        assert!(tensor.array::<f64>().is_none());
        let scalar = Tensor {
            shape: Vec::new(),
            numbers: Numbers::I64(vec![9]),
        };
        assert_eq!(scalar.array::<i64>().unwrap()[[]], 9);
    }

    #[test]
    fn pictures_are_rows_columns_channels() {
        let image = Image {
            width: 2,
            height: 1,
            pixels: Pixels::Rgb(vec![1, 2, 3, 4, 5, 6]),
        };
        assert_eq!(image.rgb_array().unwrap()[[0, 1, 2]], 6);
        assert!(image.depth_array().is_none());
    }
}

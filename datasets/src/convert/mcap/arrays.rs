//! Numbers of any type as std_msgs `*MultiArray` messages, and back.

use crate::reader::value::Numbers;
use sinew_runtime::ros::cdr::CdrError;
use sinew_runtime::ros::messages::{Dimension, Layout, Message, MultiArray};

/// Makes the message of row `row` of `numbers`, whose rows have the given sides: name and length of
/// each, outermost first. Booleans become 0 and 1, half precision its bits.
pub(super) fn encode(numbers: &Numbers, sides: &[(String, usize)], row: usize, out: &mut Vec<u8>) {
    let width: usize = sides.iter().map(|(_, length)| length).product();
    let mut stride = width;
    let mut layout = Layout::default();
    for (label, length) in sides {
        layout.dim.push(Dimension {
            label: label.clone(),
            size: *length as u32,
            stride: stride as u32,
        });
        stride /= (*length).max(1);
    }
    macro_rules! message {
        ($values:expr) => {{
            let data = $values
                .get(row * width..(row + 1) * width)
                .unwrap_or_default()
                .to_vec();
            MultiArray { layout, data }.encode(out)
        }};
    }
    match numbers {
        Numbers::Bool(v) => {
            let bytes = v.get(row * width..(row + 1) * width).unwrap_or_default();
            let data: Vec<u8> = bytes.iter().map(|b| u8::from(*b)).collect();
            MultiArray { layout, data }.encode(out);
        }
        Numbers::I8(v) => message!(v),
        Numbers::I16(v) => message!(v),
        Numbers::I32(v) => message!(v),
        Numbers::I64(v) => message!(v),
        Numbers::U8(v) => message!(v),
        Numbers::U16(v) | Numbers::F16Bits(v) => message!(v),
        Numbers::U32(v) => message!(v),
        Numbers::U64(v) => message!(v),
        Numbers::F32(v) => message!(v),
        Numbers::F64(v) => message!(v),
    }
}

/// No numbers yet, of numpy's type `dtype`; `None` if there is no such type.
pub(super) fn empty(dtype: &str) -> Option<Numbers> {
    Some(match dtype {
        "bool" => Numbers::Bool(Vec::new()),
        "int8" => Numbers::I8(Vec::new()),
        "int16" => Numbers::I16(Vec::new()),
        "int32" => Numbers::I32(Vec::new()),
        "int64" => Numbers::I64(Vec::new()),
        "uint8" => Numbers::U8(Vec::new()),
        "uint16" => Numbers::U16(Vec::new()),
        "uint32" => Numbers::U32(Vec::new()),
        "uint64" => Numbers::U64(Vec::new()),
        "float16" => Numbers::F16Bits(Vec::new()),
        "float32" => Numbers::F32(Vec::new()),
        "float64" => Numbers::F64(Vec::new()),
        _ => return None,
    })
}

/// Appends the numbers of a message that [`encode`] made of numbers of the same type.
pub(super) fn append(numbers: &mut Numbers, message: &[u8]) -> Result<(), CdrError> {
    macro_rules! take {
        ($values:expr) => {
            extend($values, message)?
        };
    }
    match numbers {
        Numbers::Bool(v) => {
            let message: MultiArray<u8> = MultiArray::decode(message)?;
            v.extend(message.data.iter().map(|b| *b != 0));
        }
        Numbers::I8(v) => take!(v),
        Numbers::I16(v) => take!(v),
        Numbers::I32(v) => take!(v),
        Numbers::I64(v) => take!(v),
        Numbers::U8(v) => take!(v),
        Numbers::U16(v) | Numbers::F16Bits(v) => take!(v),
        Numbers::U32(v) => take!(v),
        Numbers::U64(v) => take!(v),
        Numbers::F32(v) => take!(v),
        Numbers::F64(v) => take!(v),
    }
    Ok(())
}

fn extend<T>(values: &mut Vec<T>, message: &[u8]) -> Result<(), CdrError>
where
    MultiArray<T>: Message,
{
    values.extend(MultiArray::<T>::decode(message)?.data);
    Ok(())
}

/// Leaves the first `count` numbers.
pub(super) fn truncate(numbers: &mut Numbers, count: usize) {
    match numbers {
        Numbers::Bool(v) => v.truncate(count),
        Numbers::I8(v) => v.truncate(count),
        Numbers::U8(v) => v.truncate(count),
        Numbers::I16(v) => v.truncate(count),
        Numbers::U16(v) | Numbers::F16Bits(v) => v.truncate(count),
        Numbers::I32(v) => v.truncate(count),
        Numbers::U32(v) => v.truncate(count),
        Numbers::I64(v) => v.truncate(count),
        Numbers::U64(v) => v.truncate(count),
        Numbers::F32(v) => v.truncate(count),
        Numbers::F64(v) => v.truncate(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_of_every_type_survive_a_message(bytes in prop::collection::vec(any::<u8>(), 96)) {
            let sides = [("a".to_owned(), 3), ("b".to_owned(), 4)];
            macro_rules! check {
                ($variant:ident, $kind:ty) => {{
                    const SIZE: usize = size_of::<$kind>();
                    let values = bytes.chunks_exact(SIZE).map(|c| <$kind>::from_le_bytes(c.try_into().unwrap()));
                    check!(@of Numbers::$variant(values.take(12).collect()));
                }};
                (@of $numbers:expr) => {{
                    let numbers: Numbers = $numbers;
                    let mut message = Vec::new();
                    encode(&numbers, &sides, 0, &mut message);
                    let mut back = empty(numbers.dtype()).unwrap();
                    append(&mut back, &message).unwrap();
                    prop_assert_eq!(back.to_le_bytes(), numbers.to_le_bytes());
                }};
            }
            check!(@of Numbers::Bool(bytes.iter().take(12).map(|b| *b > 127).collect()));
            check!(I8, i8);
            check!(I16, i16);
            check!(I32, i32);
            check!(I64, i64);
            check!(U8, u8);
            check!(U16, u16);
            check!(U32, u32);
            check!(U64, u64);
            check!(F16Bits, u16);
            check!(F32, f32);
            check!(F64, f64);
        }
    }
}

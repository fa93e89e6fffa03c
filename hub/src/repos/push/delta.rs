//! Git's deltas: an object as pieces of another one and bytes of its own. Source: git's documentation,
//! `gitformat-pack`, "Deltified representation".

/// Bytes of the object that a delta makes; `None` when the delta is for a base of another size.
pub(super) fn result_size(base: &[u8], delta: &[u8]) -> Option<u64> {
    let mut reader = Reader(delta);
    let is_ours = reader.size()? == base.len() as u64;
    let size = reader.size()?;
    is_ours.then_some(size)
}

/// The object that a delta makes of a base; `None` when they do not fit. Its size was checked before.
pub(super) fn apply(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader(delta);
    reader.size()?;
    let size = usize::try_from(reader.size()?).ok()?;
    let mut out = Vec::with_capacity(size.min(delta.len() + base.len()));
    while !reader.0.is_empty() {
        let piece = match reader.byte()? {
            0 => return None,
            op if op & 0x80 == 0 => reader.take(usize::from(op))?,
            op => {
                let start = reader.number(op, 4)?;
                let count = reader.number(op >> 4, 3)?;
                let count = if count == 0 { 0x1_0000 } else { count };
                base.get(start..start.checked_add(count)?)?
            }
        };
        if out.len() + piece.len() > size {
            return None;
        }
        out.extend_from_slice(piece);
    }
    (out.len() == size).then_some(out)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// Seven bits a byte, least significant first.
    fn size(&mut self) -> Option<u64> {
        let mut size = 0;
        for shift in (0..=56).step_by(7) {
            let byte = self.byte()?;
            size |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(size);
            }
        }
        None
    }

    /// A number of `bytes` bytes, of which only those are there whose bits are set.
    fn number(&mut self, bits: u8, bytes: u32) -> Option<usize> {
        let mut number = 0;
        for index in 0..bytes {
            if bits & (1 << index) != 0 {
                number |= usize::from(self.byte()?) << (8 * index);
            }
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_delta_copies_and_inserts() {
        // Base of 10 bytes, result of 7: bytes 2..5 of the base, then "abcd".
        let delta = [10, 7, 0x91, 2, 3, 4, b'a', b'b', b'c', b'd'];
        assert_eq!(result_size(b"0123456789", &delta), Some(7));
        assert_eq!(apply(b"0123456789", &delta).unwrap(), b"234abcd");
        assert_eq!(result_size(b"012345678", &delta), None);
        assert_eq!(apply(b"0123", &delta), None);
    }

    proptest! {
        #[test]
        fn no_delta_panics(base in prop::collection::vec(any::<u8>(), 0..99), delta in prop::collection::vec(any::<u8>(), 0..99)) {
            let size = result_size(&base, &delta);
            if size.is_some_and(|size| size < 1 << 20) {
                let made = apply(&base, &delta);
                prop_assert!(made.is_none_or(|made| Some(made.len() as u64) == size));
            }
        }
    }
}

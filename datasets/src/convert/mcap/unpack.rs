//! Decompresses chunks, within limits and in pure Rust.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Largest chunk, decompressed, bytes.
const CHUNK_LIMIT: u64 = 256 << 20;
/// Most frames of one compressed chunk; writers make one.
const FRAME_LIMIT: usize = 1 << 16;

/// The records of a chunk that has `size` bytes when it is whole; if it is not, what of it can be
/// decompressed.
pub(super) fn unpack(
    compression: &str,
    data: &[u8],
    size: u64,
    whole: bool,
) -> Result<Vec<u8>, String> {
    if size > CHUNK_LIMIT {
        return Err(format!("it claims {size} bytes"));
    }
    let mut out = Vec::new();
    // The decoders are foreign code over foreign bytes; a panic in them must not become ours.
    let outcome = catch_unwind(AssertUnwindSafe(|| match compression {
        "" => {
            out.extend_from_slice(data);
            Ok(())
        }
        "lz4" => limited(lz4_flex::frame::FrameDecoder::new(data), size, &mut out),
        "zstd" => zstd(data, size, &mut out),
        other => Err(format!(
            "its compression `{}` is not known",
            other.escape_debug()
        )),
    }));
    match outcome {
        Err(_) => return Err("the decompressor gave up on it".into()),
        Ok(Err(problem)) if whole => return Err(problem),
        Ok(_) => {}
    }
    if whole && out.len() as u64 != size {
        return Err(format!("it has {} bytes instead of {size}", out.len()));
    }
    Ok(out)
}

fn zstd(mut data: &[u8], size: u64, out: &mut Vec<u8>) -> Result<(), String> {
    for _ in 0..FRAME_LIMIT {
        if data.is_empty() {
            return Ok(());
        }
        let decoder =
            ruzstd::decoding::StreamingDecoder::new(&mut data).map_err(|e| e.to_string())?;
        limited(decoder, size, out)?;
    }
    Err("it has too many parts".into())
}

/// Appends what comes, at most up to one byte more than `size` altogether.
fn limited(from: impl Read, size: u64, out: &mut Vec<u8>) -> Result<(), String> {
    let room = (size + 1).saturating_sub(out.len() as u64);
    from.take(room)
        .read_to_end(out)
        .map(|_| ())
        .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 40 times "sinew ", as the reference implementations compress it.
    const ZSTD: &[u8] = &[
        40, 181, 47, 253, 32, 240, 109, 0, 0, 48, 115, 105, 110, 101, 119, 32, 1, 0, 231, 80, 165,
        8,
    ];
    const LZ4: &[u8] = &[
        4, 34, 77, 24, 96, 64, 130, 16, 0, 0, 0, 111, 115, 105, 110, 101, 119, 32, 6, 0, 210, 80,
        105, 110, 101, 119, 32, 0, 0, 0, 0,
    ];

    #[test]
    fn chunks_of_the_reference_compressors_are_read() {
        let plain = b"sinew ".repeat(40);
        for (name, data) in [("", &plain[..]), ("zstd", ZSTD), ("lz4", LZ4)] {
            assert_eq!(
                unpack(name, data, 240, true).as_deref(),
                Ok(&plain[..]),
                "{name}"
            );
            assert!(
                unpack(name, data, 239, true).is_err(),
                "{name}: longer than it says"
            );
            assert!(
                unpack(name, data, u64::MAX, true).is_err(),
                "{name}: a bomb"
            );
        }
        assert!(unpack("brotli", &plain, 240, true).is_err());
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(), value in any::<u8>()) {
            for (name, whole) in [("zstd", ZSTD), ("lz4", LZ4)] {
                let mut changed = whole.to_vec();
                let at = at.index(changed.len());
                changed[at] = value;
                for data in [&bytes, &changed] {
                    for complete in [true, false] {
                        let out = unpack(name, data, 240, complete);
                        prop_assert!(out.is_err() || out.is_ok_and(|o| o.len() <= 241));
                    }
                }
            }
        }
    }
}

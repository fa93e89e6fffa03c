//! Camera frames and task state for another process, over a Unix socket.
//!
//! The servo bus of a simulated arm is a pseudo-terminal that any process can open; pixels and
//! the privileged task state travel here. One message is
//!
//! ```text
//! u32 LE header length │ u32 LE payload length │ header: JSON │ payload: raw bytes
//! ```
//!
//! The server speaks first ([`ServerMessage::Hello`]), then sends the newest frame of each camera
//! and the task state as they change. A client may ask for a reset. A slow client misses frames;
//! it never delays the simulator. Only the owner of the socket file can connect (mode 0600).
//!
//! [`server`] runs inside the simulator, [`client`] in the other process.

pub mod client;
pub mod server;
pub(crate) mod socket;

pub use client::LinkClient;
pub use server::LinkServer;

use super::error::PickError;
use super::feed::CameraInfo;
use super::task::TaskState;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sinew_runtime::frame::Frame;
use std::io::{self, Read, Write};

/// Longest JSON header that is accepted, bytes.
pub const MAX_HEADER: usize = 64 * 1024;
/// Longest payload that is accepted, bytes: one 1920×1080 RGB image fits.
pub const MAX_PAYLOAD: usize = 8 * 1024 * 1024;
/// Version of the protocol. Ends with different versions refuse each other.
pub const LINK_VERSION: u32 = 1;

/// What the simulator sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// First message of every connection.
    Hello {
        /// [`LINK_VERSION`] of the server.
        version: u32,
        /// World name.
        world: String,
        /// Path of the servo bus's pseudo-terminal.
        device: String,
        /// The cameras that will be streamed.
        cameras: Vec<CameraInfo>,
    },
    /// A camera image; the payload is `3 * width * height` bytes of RGB.
    Frame {
        /// Camera name.
        camera: String,
        /// Counts frames of this camera, from 1.
        seq: u64,
        /// Time of the rendered state, `CLOCK_MONOTONIC`, ns.
        captured_ns: u64,
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
    },
    /// The task's privileged state.
    State {
        /// The state.
        state: TaskState,
    },
    /// The answer to [`ClientMessage::Reset`].
    ResetDone {
        /// The seed that was asked for.
        seed: u64,
        /// Why it failed, or `None` when it worked.
        error: Option<String>,
    },
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Starts the episode that belongs to `seed`.
    Reset {
        /// Seed of the episode.
        seed: u64,
    },
}

/// Appends one message to `out`.
///
/// # Errors
/// [`PickError::Protocol`] when a part exceeds its limit.
pub fn encode<M: Serialize>(
    message: &M,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), PickError> {
    let header = serde_json::to_vec(message)
        .map_err(|e| protocol(format!("header cannot be written: {e}")))?;
    check_lengths(header.len(), payload.len())?;
    out.extend_from_slice(&(header.len() as u32).to_le_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
    Ok(())
}

/// Assembles messages from bytes that arrive in pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Adds bytes as they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message and its payload, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// [`PickError::Protocol`] for lengths past the limits or a header that is not valid. The
    /// stream cannot be followed after that; close it.
    pub fn take<M: DeserializeOwned>(&mut self) -> Result<Option<(M, Vec<u8>)>, PickError> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<8>() else {
            return Ok(None);
        };
        let [a, b, c, d, e, f, g, h] = *prefix;
        let header = u32::from_le_bytes([a, b, c, d]) as usize;
        let payload = u32::from_le_bytes([e, f, g, h]) as usize;
        check_lengths(header, payload)?;
        let (Some(json), Some(bytes)) = (rest.get(..header), rest.get(header..header + payload))
        else {
            return Ok(None);
        };
        let message = serde_json::from_slice(json)
            .map_err(|e| protocol(format!("header is not valid: {e}")))?;
        let bytes = bytes.to_vec();
        self.buffer.drain(..8 + header + payload);
        Ok(Some((message, bytes)))
    }
}

/// Reads from `stream` until one whole message is there, the peer closes, or the stream's read
/// time-out passes.
pub(crate) fn read_message<M: DeserializeOwned>(
    stream: &mut impl Read,
    decoder: &mut Decoder,
) -> Result<(M, Vec<u8>), ReadError> {
    let mut chunk = [0_u8; 64 * 1024];
    loop {
        if let Some(message) = decoder.take().map_err(ReadError::Protocol)? {
            return Ok(message);
        }
        match stream.read(&mut chunk) {
            Ok(0) => return Err(ReadError::Closed),
            Ok(n) => decoder.push(chunk.get(..n).unwrap_or_default()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(ReadError::Io(e)),
        }
    }
}

/// Why [`read_message`] gave up.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The peer closed the connection.
    Closed,
    /// The system refused, or the read time-out passed.
    Io(io::Error),
    /// The bytes are not the protocol.
    Protocol(PickError),
}

impl ReadError {
    /// This as an error; `closed` says what a closed connection means here.
    pub(crate) fn into_error(self, closed: &str) -> PickError {
        match self {
            Self::Closed => PickError::Closed {
                reason: format!("{closed} (the connection was closed)"),
            },
            Self::Io(e) => PickError::Closed {
                reason: format!("{closed} ({e})"),
            },
            Self::Protocol(e) => e,
        }
    }

    /// As [`ReadError::into_error`], but a peer that closed is no error.
    pub(crate) fn into_result(self) -> Result<(), PickError> {
        match self {
            Self::Closed => Ok(()),
            other => Err(other.into_error("reading from the client")),
        }
    }

    /// Whether this is only the stream's read time-out.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::Io(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }
}

/// Writes one message.
pub(crate) fn write_message<M: Serialize>(
    stream: &mut impl Write,
    scratch: &mut Vec<u8>,
    message: &M,
    payload: &[u8],
) -> Result<(), PickError> {
    scratch.clear();
    encode(message, payload, scratch)?;
    stream
        .write_all(scratch)
        .map_err(|e| protocol(format!("peer went away: {e}")))
}

/// Rebuilds a frame from its message. The payload's length is checked against the size.
///
/// # Errors
/// [`PickError::Protocol`] when they disagree.
pub fn frame_from_parts(
    seq: u64,
    captured_ns: u64,
    width: u32,
    height: u32,
    payload: Vec<u8>,
) -> Result<Frame, PickError> {
    let expected = 3 * u128::from(width) * u128::from(height);
    if payload.len() as u128 != expected {
        let got = payload.len();
        return Err(protocol(format!(
            "a {width}x{height} frame came with {got} bytes, not {expected}"
        )));
    }
    let mut frame = Frame::new(width, height, payload);
    frame.seq = seq;
    frame.captured_ns = captured_ns;
    Ok(frame)
}

fn check_lengths(header: usize, payload: usize) -> Result<(), PickError> {
    if header > MAX_HEADER || payload > MAX_PAYLOAD {
        return Err(protocol(format!(
            "a message of {header} + {payload} bytes is longer than {MAX_HEADER} + {MAX_PAYLOAD}"
        )));
    }
    Ok(())
}

pub(crate) fn protocol(problem: String) -> PickError {
    PickError::Protocol { problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_never_panic(bytes: Vec<u8>, cut in 0_usize..64) {
            let mut decoder = Decoder::default();
            for piece in bytes.chunks(cut + 1) {
                decoder.push(piece);
                if decoder.take::<ServerMessage>().is_err() {
                    break;
                }
            }
        }

        #[test]
        fn damaged_headers_are_refused_or_read(flip in 0_usize..40, bit in 0_u8..8, payload: Vec<u8>) {
            let mut wire = Vec::new();
            encode(&ClientMessage::Reset { seed: 7 }, &payload, &mut wire).unwrap();
            if let Some(byte) = wire.get_mut(flip) {
                *byte ^= 1 << bit;
            }
            let mut decoder = Decoder::default();
            decoder.push(&wire);
            let _ = decoder.take::<ClientMessage>();
        }

        #[test]
        fn messages_survive_being_cut_anywhere(seed: u64, payload: Vec<u8>, cut in 1_usize..50) {
            let mut wire = Vec::new();
            encode(&ClientMessage::Reset { seed }, &payload, &mut wire).unwrap();
            encode(&ClientMessage::Reset { seed: !seed }, &[], &mut wire).unwrap();
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            for piece in wire.chunks(cut) {
                decoder.push(piece);
                while let Some(message) = decoder.take::<ClientMessage>().unwrap() {
                    got.push(message);
                }
            }
            prop_assert_eq!(
                got,
                vec![(ClientMessage::Reset { seed }, payload), (ClientMessage::Reset { seed: !seed }, vec![])]
            );
        }
    }

    #[test]
    fn oversized_lengths_are_refused_before_anything_is_kept() {
        let mut decoder = Decoder::default();
        decoder.push(&[0xff; 8]);
        assert!(decoder.take::<ServerMessage>().is_err());
    }

    #[test]
    fn frames_with_the_wrong_number_of_bytes_are_refused() {
        assert!(frame_from_parts(1, 0, 4, 2, vec![0; 24]).is_ok());
        assert!(frame_from_parts(1, 0, 4, 2, vec![0; 23]).is_err());
        assert!(frame_from_parts(1, 0, u32::MAX, u32::MAX, vec![]).is_err());
    }
}

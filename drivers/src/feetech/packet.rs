//! Packets of the Feetech STS/SMS protocol: encoding into caller's buffers and an incremental
//! parser that finds its way back after noise.
//!
//! Instruction and status packets share one shape, `FF FF ID LEN CODE P1..Pn CHK` with
//! `LEN = n + 2` and `CHK = !(ID + LEN + CODE + ΣP)`. `CODE` is the instruction on the way out
//! and the alarm bits on the way back. Nothing here allocates.

use thiserror::Error;

/// Asks one servo whether it is there.
pub const INST_PING: u8 = 0x01;
/// Reads `addr, size`.
pub const INST_READ: u8 = 0x02;
/// Writes `addr, data…`.
pub const INST_WRITE: u8 = 0x03;
/// Stores a write until [`INST_ACTION`].
pub const INST_REG_WRITE: u8 = 0x04;
/// Performs all stored writes at once.
pub const INST_ACTION: u8 = 0x05;
/// Restores factory values.
pub const INST_RESET: u8 = 0x06;
/// Reads `addr, size` from the listed ids, each answering in turn.
pub const INST_SYNC_READ: u8 = 0x82;
/// Writes `addr, size, (id, data…)…`; nobody answers.
pub const INST_SYNC_WRITE: u8 = 0x83;

/// The id that addresses every servo; only sync reads get answers.
pub const BROADCAST: u8 = 0xFE;
/// The largest id that one servo may have.
pub const MAX_ID: u8 = 252;
/// The largest packet, header and checksum included, in bytes.
pub const MAX_PACKET: usize = 250;
/// Bytes of a packet that are not parameters.
pub const OVERHEAD: usize = 6;
/// The most parameter bytes that fit into one packet.
pub const MAX_PARAMS: usize = MAX_PACKET - OVERHEAD;

/// Alarm bit: supply voltage out of range.
pub const ALARM_VOLTAGE: u8 = 1;
/// Alarm bit: angle sensor fault.
pub const ALARM_ANGLE: u8 = 2;
/// Alarm bit: too hot.
pub const ALARM_OVERHEAT: u8 = 4;
/// Alarm bit: too much current.
pub const ALARM_OVERCURRENT: u8 = 8;
/// Alarm bit: overloaded for too long.
pub const ALARM_OVERLOAD: u8 = 32;

/// Alarm bits and their plain names, for messages.
pub const ALARM_NAMES: [(u8, &str); 5] = [
    (ALARM_VOLTAGE, "voltage"),
    (ALARM_ANGLE, "angle sensor"),
    (ALARM_OVERHEAT, "overheat"),
    (ALARM_OVERCURRENT, "overcurrent"),
    (ALARM_OVERLOAD, "overload"),
];

/// Why a packet could not be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PacketError {
    /// More parameters than one packet carries.
    #[error(
        "{got} parameter bytes do not fit into one packet (at most {MAX_PARAMS}); split the request"
    )]
    TooLong {
        /// Bytes asked for.
        got: usize,
    },
    /// The caller's buffer is too short.
    #[error("a packet of {need} bytes does not fit into a buffer of {have}")]
    Buffer {
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
}

/// The checksum of everything between the header and the checksum itself.
pub fn checksum(body: &[u8]) -> u8 {
    !body.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte))
}

/// Writes `FF FF ID LEN CODE params CHK` into `buf` and returns the packet's length in bytes.
pub fn encode(buf: &mut [u8], id: u8, code: u8, params: &[u8]) -> Result<usize, PacketError> {
    encode_with(buf, id, code, params.len(), |out| {
        out.copy_from_slice(params)
    })
}

/// Like [`encode`], with `fill` writing the `count` parameter bytes in place.
pub fn encode_with(
    buf: &mut [u8],
    id: u8,
    code: u8,
    count: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Result<usize, PacketError> {
    if count > MAX_PARAMS {
        return Err(PacketError::TooLong { got: count });
    }
    let need = count + OVERHEAD;
    let have = buf.len();
    let out = buf
        .get_mut(..need)
        .ok_or(PacketError::Buffer { need, have })?;
    out[..5].copy_from_slice(&[0xFF, 0xFF, id, (count + 2) as u8, code]);
    fill(&mut out[5..need - 1]);
    out[need - 1] = checksum(&out[2..need - 1]);
    Ok(need)
}

/// A packet with a correct checksum, borrowed from the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Sender (status) or receiver (instruction).
    pub id: u8,
    /// Instruction, or alarm bits of a status packet.
    pub code: u8,
    /// Parameters.
    pub params: &'a [u8],
}

/// What the parser found next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A whole packet.
    Packet(Packet<'a>),
    /// Something shaped like an acceptable packet, with a wrong checksum. The parser goes on
    /// searching inside it, so a good packet behind a lost byte is still found.
    Corrupt {
        /// The id it seemed to come from.
        id: u8,
    },
}

const CAPACITY: usize = 1024;

/// Takes bytes in pieces of any size and gives packets back.
#[derive(Debug, Clone)]
pub struct Parser {
    buf: [u8; CAPACITY],
    start: usize,
    end: usize,
    consumed: u64,
    discarded: u64,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            buf: [0; CAPACITY],
            start: 0,
            end: 0,
            consumed: 0,
            discarded: 0,
        }
    }
}

impl Parser {
    /// An empty parser.
    pub fn new() -> Self {
        Self::default()
    }

    /// Discards all buffered bytes.
    pub fn clear(&mut self) {
        self.skip(self.pending());
    }

    /// Bytes that wait for the rest of their packet.
    pub fn pending(&self) -> usize {
        self.end - self.start
    }

    /// The id in the header of the packet that is being waited for, after
    /// [`Parser::next_packet`] returned `None`.
    pub fn pending_id(&self) -> Option<u8> {
        (self.pending() >= 4).then(|| self.buf[self.start + 2])
    }

    /// Bytes taken out of the stream so far, packets and noise together.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Bytes that belonged to no packet so far.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Appends received bytes. If more arrive than fit, the oldest are dropped: nobody who calls
    /// [`Parser::next_packet`] until it returns `None` ever gets there.
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(CAPACITY)..];
        let overflow = (self.pending() + bytes.len()).saturating_sub(CAPACITY);
        self.drop_front(overflow);
        if self.end + bytes.len() > CAPACITY {
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.buf[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// The next packet whose id and `LEN` byte `accept` allows; `None` when more bytes are needed.
    ///
    /// The narrower `accept` is, the sooner a damaged header is recognised as noise: a wrong
    /// `LEN` would otherwise make the parser wait for bytes that never come.
    pub fn next_packet(&mut self, accept: impl Fn(u8, u8) -> bool) -> Option<Parsed<'_>> {
        while self.pending() >= 4 {
            let at = self.start;
            let (id, len) = (self.buf[at + 2], self.buf[at + 3]);
            let shaped = self.buf[at] == 0xFF && self.buf[at + 1] == 0xFF && id != 0xFF;
            if !(shaped && (2..=(MAX_PARAMS + 2) as u8).contains(&len) && accept(id, len)) {
                self.skip(1);
                continue;
            }
            let total = len as usize + 4;
            if self.pending() < total {
                return None;
            }
            if checksum(&self.buf[at + 2..at + total - 1]) != self.buf[at + total - 1] {
                self.skip(1);
                return Some(Parsed::Corrupt { id });
            }
            self.drop_front(total);
            let code = self.buf[at + 4];
            return Some(Parsed::Packet(Packet {
                id,
                code,
                params: &self.buf[at + 5..at + total - 1],
            }));
        }
        None
    }

    /// Gives up on the packet that is being waited for and returns whether there was one: call
    /// this when the line went quiet, then [`Parser::next_packet`] again, which searches behind
    /// the abandoned header.
    pub fn abandon(&mut self) -> bool {
        let waiting = self.pending() > 0;
        self.skip(usize::from(waiting));
        waiting
    }

    fn skip(&mut self, count: usize) {
        self.discarded += count as u64;
        self.drop_front(count);
    }

    fn drop_front(&mut self, count: usize) {
        self.start += count;
        self.consumed += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn every(_: u8, _: u8) -> bool {
        true
    }

    fn packet(id: u8, code: u8, params: &[u8]) -> Vec<u8> {
        let mut buf = [0; MAX_PACKET];
        let len = encode(&mut buf, id, code, params).unwrap();
        buf[..len].to_vec()
    }

    /// All good packets in the stream with the offset of their first byte, quiet line at the end.
    fn parse_all(chunks: &[&[u8]]) -> Vec<(u64, u8, u8, Vec<u8>)> {
        let mut parser = Parser::new();
        let mut found = Vec::new();
        for (i, chunk) in chunks.iter().enumerate() {
            parser.push(chunk);
            loop {
                match parser.next_packet(every) {
                    Some(Parsed::Packet(p)) => {
                        let (id, code, params) = (p.id, p.code, p.params.to_vec());
                        let start = parser.consumed() - (params.len() + OVERHEAD) as u64;
                        found.push((start, id, code, params));
                        continue;
                    }
                    Some(Parsed::Corrupt { .. }) => continue,
                    None => {}
                }
                if i + 1 < chunks.len() || !parser.abandon() {
                    break;
                }
            }
        }
        found
    }

    #[test]
    fn ping_matches_the_manual() {
        assert_eq!(
            packet(1, INST_PING, &[]),
            [0xFF, 0xFF, 0x01, 0x02, 0x01, 0xFB]
        );
    }

    #[test]
    fn read_of_position_matches_the_manual() {
        assert_eq!(
            packet(1, INST_READ, &[0x38, 2]),
            [0xFF, 0xFF, 0x01, 0x04, 0x02, 0x38, 0x02, 0xBE]
        );
    }

    #[test]
    fn encode_refuses_what_does_not_fit() {
        let mut big = [0; 300];
        let over = [0; MAX_PARAMS + 1];
        assert_eq!(
            encode(&mut big, 1, 1, &over),
            Err(PacketError::TooLong { got: over.len() })
        );
        assert_eq!(
            encode(&mut [0; 7], 1, 1, &[1, 2]),
            Err(PacketError::Buffer { need: 8, have: 7 })
        );
    }

    #[test]
    fn a_lost_byte_costs_one_packet_only() {
        let mut stream = packet(1, 0, &[10, 20]);
        stream.remove(5);
        stream.extend(packet(2, 0, &[30, 40]));
        let found = parse_all(&[&stream]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].1, &found[0].3[..]), (2, &[30, 40][..]));
    }

    #[test]
    fn extra_header_bytes_are_skipped() {
        let mut stream = vec![0xFF, 0xFF, 0xFF];
        stream.extend(packet(3, 0, &[1]));
        assert_eq!(parse_all(&[&stream]).len(), 1);
    }

    #[test]
    fn a_narrow_filter_does_not_wait_for_a_damaged_length() {
        let mut parser = Parser::new();
        parser.push(&[0xFF, 0xFF, 0x01, 0xF0, 0x00]);
        parser.push(&packet(1, 0, &[7, 8]));
        let Some(Parsed::Packet(p)) = parser.next_packet(|id, len| id == 1 && len == 4) else {
            panic!("not found");
        };
        assert_eq!(p.params, [7, 8]);
    }

    proptest! {
        #[test]
        fn any_packet_round_trips(id in 0u8..=254, code: u8, params in prop::collection::vec(any::<u8>(), 0..=MAX_PARAMS)) {
            let found = parse_all(&[&packet(id, code, &params)]);
            prop_assert_eq!(found, vec![(0, id, code, params)]);
        }

        #[test]
        fn garbage_in_any_pieces_never_panics(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1500), 0..8)) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            parse_all(&chunks);
        }

        /// Noise can by chance be a valid packet that reaches into the real one (1 in 256 for each
        /// header in it); short of that, the real packet is always found.
        #[test]
        fn a_valid_packet_is_found_after_any_noise(
            noise in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xFFu8), 0u8..8], 0..80),
            tail in prop::collection::vec(any::<u8>(), 0..20),
            params in prop::collection::vec(any::<u8>(), 0..12),
            split in 0usize..100,
        ) {
            let good = packet(5, 0, &params);
            let stream = [&noise[..], &good, &tail].concat();
            let (a, b) = stream.split_at(split.min(stream.len()));
            let found = parse_all(&[a, b]);
            let at = noise.len() as u64;
            let swallowed = found.iter().any(|(start, _, _, p)| *start < at && start + (p.len() + OVERHEAD) as u64 > at);
            prop_assert!(swallowed || found.contains(&(at, 5, 0, params)));
        }
    }
}

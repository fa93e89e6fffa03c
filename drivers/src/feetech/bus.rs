//! One half-duplex bus of servos: requests, replies, and what to do when they go wrong.
//!
//! A request is encoded into a buffer that the bus owns, sent with one `write`, and its replies
//! are collected until all are there or the deadline passes: in the good case three system calls
//! and no allocation. Every servo gets its own [`Reply`], so one that fails hides no other.
//!
//! What goes wrong on real buses, and the answer here:
//! - lost, doubled or foreign bytes: the parser searches on behind them;
//! - a servo that misses its turn: only the missing ones are asked again, within the budget;
//! - a reply that comes after its deadline: the line is drained before the next request, so it
//!   is never taken for the answer to another question;
//! - an adapter that echoes what is sent: found once at start, then cut off each reply.

mod link;
mod ops;

use super::packet::{
    self, BROADCAST, INST_SYNC_READ, INST_SYNC_WRITE, MAX_PACKET, OVERHEAD, Parsed, Parser,
};
use super::port::{LowLatency, Port};
use super::registers::Register;
use crate::error::{DriverError, ServoProblem};
use sinew_runtime::{Clock, MonotonicClock, Nanos};
use std::time::Duration;

/// The most servos in one sync read or sync write.
pub const MAX_SYNC: usize = 32;
/// The most bytes that a sync read takes from each servo.
pub const MAX_SYNC_DATA: usize = 16;

/// How a servo answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyStatus {
    /// No reply in time.
    #[default]
    Timeout,
    /// A damaged reply, and no good one within the budget.
    Corrupt,
    /// A good reply.
    Ok {
        /// Alarm bits (`packet::ALARM_*`); the data is valid all the same.
        alarms: u8,
    },
}

/// What one servo answered to a sync read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reply {
    /// Whether there is data.
    pub status: ReplyStatus,
    /// The bytes read, zero behind the size asked for.
    pub data: [u8; MAX_SYNC_DATA],
}

impl Reply {
    /// Whether the data is good.
    pub fn is_ok(&self) -> bool {
        matches!(self.status, ReplyStatus::Ok { .. })
    }

    /// The value of `register` in a block read from `base`; `None` without a good reply or where
    /// the register lies outside what a reply holds.
    pub fn value(&self, register: &Register, base: u8) -> Option<i32> {
        let offset = usize::from(register.addr.checked_sub(base)?);
        let bytes = self.data.get(offset..offset + usize::from(register.size))?;
        self.is_ok().then(|| register.decode_from(bytes))
    }
}

/// Counters of one bus since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BusStats {
    /// Requests sent, retries included.
    pub requests: u64,
    /// Good replies.
    pub replies: u64,
    /// Servos that did not answer an attempt in time.
    pub timeouts: u64,
    /// Damaged replies.
    pub corrupt: u64,
    /// Servos asked again.
    pub retries: u64,
    /// Good replies that nobody waited for.
    pub unexpected: u64,
    /// Bytes that belonged to no reply.
    pub noise_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Bytes received, echo included.
    pub rx_bytes: u64,
    /// Duration of the last sync read from request to last reply, ns.
    pub last_read_ns: u64,
    /// Longest sync read, ns.
    pub max_read_ns: u64,
    /// Time that all bytes so far spent on the wire, ns.
    pub wire_ns: u64,
}

/// How a bus waits and retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusOptions {
    /// Bit rate, bit/s.
    pub baud: u32,
    /// What replies may take beyond their time on the wire: servo turn-around and USB frames.
    pub reply_margin: Duration,
    /// The longest wait for the reply to a single read or write (EEPROM writes are slow).
    pub op_timeout: Duration,
    /// How long before and after a reply is due the line is looked at without sleeping. Costs at most
    /// twice that of processor time a request; zero to save power.
    pub look: Duration,
    /// How often a servo is asked again.
    pub retries: u32,
}

impl Default for BusOptions {
    fn default() -> Self {
        Self {
            baud: 1_000_000,
            reply_margin: Duration::from_millis(3),
            op_timeout: Duration::from_millis(25),
            look: Duration::from_micros(75),
            retries: 2,
        }
    }
}

/// A bus of Feetech STS/SMS servos on a serial port.
#[derive(Debug)]
pub struct FeetechBus {
    port: Port,
    options: BusOptions,
    names: Vec<(u8, String)>,
    parser: Parser,
    tx: [u8; MAX_PACKET],
    tx_len: usize,
    echoes: bool,
    echo_left: usize,
    reply_due: Nanos,
    dirty: bool,
    line_free_at: Nanos,
    stats: BusStats,
}

/// Time that `bytes` take on the wire at `baud` bit/s, 8N1, in ns.
pub fn wire_ns(bytes: usize, baud: u32) -> u64 {
    bytes as u64 * 10 * 1_000_000_000 / u64::from(baud.max(1))
}

/// The physical floor of one cycle, µs: a sync read of `read_bytes` from each of `servos` and a
/// sync write of `write_bytes` to each, 8N1 at `baud` bit/s, with no turn-around time at all.
/// Six servos, two bytes each way, 1 Mbit/s: 880 µs.
pub fn wire_time_us(servos: usize, read_bytes: usize, write_bytes: usize, baud: u32) -> f64 {
    let request = OVERHEAD + 2 + servos;
    let replies = servos * (OVERHEAD + read_bytes);
    let write = OVERHEAD + 2 + servos * (1 + write_bytes);
    (request + replies + write) as f64 * 10.0 * 1e6 / f64::from(baud.max(1))
}

impl FeetechBus {
    /// Opens the port for this process alone and finds out whether the adapter echoes.
    pub fn open(path: &str, options: BusOptions) -> Result<Self, DriverError> {
        let port = Port::open(path, options.baud)?;
        let mut bus = Self {
            port,
            options,
            names: Vec::new(),
            parser: Parser::new(),
            tx: [0; MAX_PACKET],
            tx_len: 0,
            echoes: false,
            echo_left: 0,
            reply_due: 0,
            dirty: true,
            line_free_at: 0,
            stats: BusStats::default(),
        };
        bus.probe_echo()?;
        Ok(bus)
    }

    /// The path of the port.
    pub fn path(&self) -> &str {
        self.port.path()
    }

    /// Counters since the bus was opened.
    pub fn stats(&self) -> BusStats {
        BusStats {
            noise_bytes: self.parser.discarded(),
            ..self.stats
        }
    }

    /// How this bus waits and retries.
    pub fn options(&self) -> BusOptions {
        self.options
    }

    /// Whether the adapter sends our own bytes back.
    pub fn echoes(&self) -> bool {
        self.echoes
    }

    /// Whether the kernel's low-latency mode is on.
    pub fn low_latency(&self) -> LowLatency {
        self.port.low_latency()
    }

    /// Gives servos the joint names that errors use.
    pub fn set_names<'a>(&mut self, names: impl IntoIterator<Item = (u8, &'a str)>) {
        self.names = names
            .into_iter()
            .map(|(id, name)| (id, name.to_owned()))
            .collect();
    }

    /// Changes the bit rate of the port (not of the servos).
    pub fn set_baud(&mut self, baud: u32) -> Result<(), DriverError> {
        self.port.set_baud(baud)?;
        self.options.baud = baud;
        self.dirty = true;
        Ok(())
    }

    /// Reads `size` bytes at `addr` from each of `ids` into the reply of the same index and
    /// returns how many answered. Whatever the servos do, this returns within `budget`; errors
    /// are about the port or the call, never about one servo.
    pub fn sync_read(
        &mut self,
        addr: u8,
        size: u8,
        ids: &[u8],
        replies: &mut [Reply],
        budget: Duration,
    ) -> Result<usize, DriverError> {
        self.sync_read_retrying(addr, size, ids, replies, budget, self.options.retries)
    }

    /// Like [`FeetechBus::sync_read`], with its own number of retries.
    pub fn sync_read_retrying(
        &mut self,
        addr: u8,
        size: u8,
        ids: &[u8],
        replies: &mut [Reply],
        budget: Duration,
        retries: u32,
    ) -> Result<usize, DriverError> {
        check_count("sync read ids", ids.len(), MAX_SYNC)?;
        check_count("sync read bytes", size.into(), MAX_SYNC_DATA)?;
        let given = replies.len();
        let replies = replies.get_mut(..ids.len()).ok_or(DriverError::Count {
            what: "sync read replies",
            got: given,
            expected: ids.len(),
        })?;
        replies.fill(Reply::default());
        let start = MonotonicClock.now();
        let give_up = start + budget.as_nanos() as Nanos;
        self.drain()?;
        let mut asked = [0u8; MAX_SYNC];
        for attempt in 0..=retries {
            let count = missing(ids, replies, &mut asked);
            let expected = count * (OVERHEAD + usize::from(size));
            // A retry whose replies could come after the budget would only spoil the next cycle.
            let needed =
                wire_ns(OVERHEAD + 2 + count + expected, self.options.baud) + self.margin_ns();
            if count == 0 || (attempt > 0 && MonotonicClock.now() + needed > give_up) {
                break;
            }
            self.stats.retries += if attempt > 0 { count as u64 } else { 0 };
            self.tx_len =
                packet::encode_with(&mut self.tx, BROADCAST, INST_SYNC_READ, 2 + count, |out| {
                    out[0] = addr;
                    out[1] = size;
                    out[2..].copy_from_slice(&asked[..count]);
                })?;
            let deadline = self.send(expected)?.min(give_up);
            self.collect(size, ids, replies, deadline)?;
        }
        let took = MonotonicClock.now() - start;
        self.stats.last_read_ns = took;
        self.stats.max_read_ns = self.stats.max_read_ns.max(took);
        Ok(replies.iter().filter(|r| r.is_ok()).count())
    }

    /// Writes `values[i]` to `register` of `ids[i]`, all in one packet that nobody answers.
    pub fn sync_write(
        &mut self,
        register: &Register,
        ids: &[u8],
        values: &[i32],
    ) -> Result<(), DriverError> {
        check_count("sync write ids", ids.len(), MAX_SYNC)?;
        if ids.len() != values.len() {
            return Err(DriverError::Count {
                what: "sync write values",
                got: values.len(),
                expected: ids.len(),
            });
        }
        if register.read_only {
            return Err(self.servo_error(
                ids.first().copied().unwrap_or(BROADCAST),
                register,
                ServoProblem::ReadOnly,
            ));
        }
        let size = usize::from(register.size);
        let mut entries = [0u8; MAX_SYNC * 3];
        for ((id, value), entry) in ids
            .iter()
            .zip(values)
            .zip(entries.chunks_exact_mut(1 + size))
        {
            entry[0] = *id;
            register
                .encode_into(*value, &mut entry[1..])
                .map_err(|e| self.servo_error(*id, register, e.into()))?;
        }
        let used = ids.len() * (1 + size);
        self.tx_len =
            packet::encode_with(&mut self.tx, BROADCAST, INST_SYNC_WRITE, 2 + used, |out| {
                out[0] = register.addr;
                out[1] = register.size;
                out[2..].copy_from_slice(&entries[..used]);
            })?;
        self.send_unanswered()
    }

    /// An error about one servo, with its joint's name.
    pub fn servo_error(&self, id: u8, register: &Register, problem: ServoProblem) -> DriverError {
        let joint = self
            .names
            .iter()
            .find(|(i, _)| *i == id)
            .map_or("servo", |(_, name)| name)
            .to_owned();
        DriverError::Servo {
            port: self.path().to_owned(),
            joint,
            id,
            register: register.name,
            problem,
        }
    }

    /// Collects replies until every id has one or the deadline passes.
    fn collect(
        &mut self,
        size: u8,
        ids: &[u8],
        replies: &mut [Reply],
        deadline: Nanos,
    ) -> Result<(), DriverError> {
        loop {
            let left = replies.iter().filter(|r| !r.is_ok()).count();
            let need = left * (OVERHEAD + usize::from(size));
            // What noise took the place of is still to come: wake up when it can be there.
            let quiet = !self.receive(need.saturating_sub(self.parser.pending()), deadline)?;
            loop {
                self.take_replies(size, ids, replies);
                let index = self
                    .parser
                    .pending_id()
                    .and_then(|id| ids.iter().position(|i| *i == id));
                if !quiet || !self.parser.abandon() {
                    break;
                }
                if let Some(reply) = index
                    .and_then(|i| replies.get_mut(i))
                    .filter(|r| !r.is_ok())
                {
                    // Its header came and the rest did not.
                    reply.status = ReplyStatus::Corrupt;
                }
            }
            let left = replies.iter().filter(|r| !r.is_ok()).count();
            if left == 0 {
                self.dirty |= self.parser.pending() > 0 || self.echo_left > 0;
                return Ok(());
            }
            if quiet {
                self.stats.timeouts += replies
                    .iter()
                    .filter(|r| r.status == ReplyStatus::Timeout)
                    .count() as u64;
                self.dirty = true;
                return Ok(());
            }
        }
    }

    fn take_replies(&mut self, size: u8, ids: &[u8], replies: &mut [Reply]) {
        let noise = self.parser.discarded();
        while let Some(parsed) = self
            .parser
            .next_packet(|id, len| len == size + 2 && ids.contains(&id))
        {
            let id = match parsed {
                Parsed::Packet(p) => p.id,
                Parsed::Corrupt { id } => id,
            };
            let Some(reply) = ids
                .iter()
                .position(|i| *i == id)
                .and_then(|i| replies.get_mut(i))
            else {
                continue;
            };
            match parsed {
                Parsed::Packet(_) if reply.is_ok() => {
                    self.stats.unexpected += 1;
                    self.dirty = true;
                }
                Parsed::Packet(p) => {
                    reply.status = ReplyStatus::Ok { alarms: p.code };
                    reply.data[..p.params.len()].copy_from_slice(p.params);
                    self.stats.replies += 1;
                }
                Parsed::Corrupt { .. } => {
                    self.stats.corrupt += 1;
                    if !reply.is_ok() {
                        reply.status = ReplyStatus::Corrupt;
                    }
                }
            }
        }
        self.dirty |= self.parser.discarded() > noise;
    }
}

fn check_count(what: &'static str, got: usize, expected: usize) -> Result<(), DriverError> {
    if got <= expected {
        Ok(())
    } else {
        Err(DriverError::Count {
            what,
            got,
            expected,
        })
    }
}

/// Puts the ids without a good reply into `out` and returns how many there are.
fn missing(ids: &[u8], replies: &[Reply], out: &mut [u8; MAX_SYNC]) -> usize {
    let mut count = 0;
    for (id, _) in ids.iter().zip(replies).filter(|(_, reply)| !reply.is_ok()) {
        out[count] = *id;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feetech::registers as reg;

    #[test]
    fn floor_of_six_servos_is_880_us() {
        assert_eq!(wire_time_us(6, 2, 2, 1_000_000), 880.0);
        assert_eq!(wire_time_us(6, 6, 2, 1_000_000), 1120.0);
    }

    #[test]
    fn a_reply_gives_values_by_register() {
        let mut reply = Reply {
            status: ReplyStatus::Ok { alarms: 0 },
            ..Reply::default()
        };
        reply.data[..6].copy_from_slice(&[0x00, 0x08, 0x05, 0x80, 0x0A, 0x04]);
        assert_eq!(reply.value(&reg::PRESENT_POSITION, 56), Some(2048));
        assert_eq!(reply.value(&reg::PRESENT_VELOCITY, 56), Some(-5));
        assert_eq!(reply.value(&reg::PRESENT_LOAD, 56), Some(-10));
        assert_eq!(reply.value(&reg::GOAL_POSITION, 56), None);
        assert_eq!(Reply::default().value(&reg::PRESENT_POSITION, 56), None);
    }
}

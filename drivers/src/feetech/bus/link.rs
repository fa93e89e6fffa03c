//! The half-duplex line under the bus: sending, receiving, echo, and getting back to silence.

use super::{BusStats, FeetechBus, wire_ns};
use crate::error::DriverError;
use crate::feetech::packet::{self, BROADCAST, INST_SYNC_WRITE, Parser};
use crate::feetech::port::Look;
use crate::feetech::registers as reg;
use sinew_runtime::{Clock, MonotonicClock, Nanos};

impl FeetechBus {
    pub(super) fn margin_ns(&self) -> u64 {
        self.options.reply_margin.as_nanos() as u64
    }

    /// Sends the encoded request; returns when `reply_bytes` must be there at the latest.
    pub(super) fn send(&mut self, reply_bytes: usize) -> Result<Nanos, DriverError> {
        let now = MonotonicClock.now();
        let stall = now + 100_000_000;
        self.echo_left = if self.echoes { self.tx_len } else { 0 };
        self.port.write(&self.tx[..self.tx_len], stall)?;
        self.stats.requests += 1;
        self.stats.tx_bytes += self.tx_len as u64;
        let (sending, replying) = (
            wire_ns(self.tx_len, self.options.baud),
            wire_ns(reply_bytes, self.options.baud),
        );
        self.stats.wire_ns += sending;
        // A sync write just before may still be on its way out.
        let sent = now.max(self.line_free_at) + sending;
        self.line_free_at = sent;
        self.reply_due = sent + replying;
        Ok(self.reply_due + self.margin_ns())
    }

    pub(super) fn send_unanswered(&mut self) -> Result<(), DriverError> {
        if self.echoes {
            self.drain()?;
        }
        let deadline = self.send(0)?;
        while self.echo_left > 0 && self.receive(0, deadline)? {}
        Ok(())
    }

    /// Waits for `need` bytes besides our echo and feeds the parser; `false` when the deadline
    /// passed with nothing there.
    pub(super) fn receive(&mut self, need: usize, deadline: Nanos) -> Result<bool, DriverError> {
        let mut buf = [0u8; 512];
        if deadline > 0 {
            self.port.set_wake_count(need + self.echo_left)?;
        }
        let around = self.options.look.as_nanos() as u64;
        let look = Look {
            from: self.reply_due.saturating_sub(around),
            until: self.reply_due + around,
        };
        let n = self.port.read(&mut buf, deadline, look)?;
        self.stats.rx_bytes += n as u64;
        self.stats.wire_ns += wire_ns(n, self.options.baud);
        let mut bytes = &buf[..n];
        while let (true, Some((first, rest))) = (self.echo_left > 0, bytes.split_first()) {
            if *first != self.tx[self.tx_len - self.echo_left] {
                // Not our echo after all, or a damaged one: let the parser sort it out.
                self.echo_left = 0;
                self.dirty = true;
                break;
            }
            self.echo_left -= 1;
            bytes = rest;
        }
        self.parser.push(bytes);
        Ok(n > 0)
    }

    /// Throws away what is left of earlier requests. Never waits. Done before every request, even
    /// after one that went well: a reply that was given up on may come any time later, and taken
    /// for the next answer it would leave every cycle one step behind from then on.
    pub(super) fn drain(&mut self) -> Result<(), DriverError> {
        self.dirty = false;
        self.echo_left = 0;
        // Bounded, so that a line that babbles cannot hold us here.
        for _ in 0..8 {
            if !self.receive(0, 0)? {
                break;
            }
        }
        self.parser.clear();
        Ok(())
    }

    /// Sends a sync write for no servo, which nobody answers: what comes back is our echo.
    pub(super) fn probe_echo(&mut self) -> Result<(), DriverError> {
        self.drain()?;
        self.tx_len = packet::encode(
            &mut self.tx,
            BROADCAST,
            INST_SYNC_WRITE,
            &[reg::TORQUE_ENABLE.addr, 1],
        )?;
        self.echoes = true;
        // An echo comes as fast as the adapter's slowest batching, 16 ms; a caller who asks for
        // patience gets some, but not at the price of a slow start on every bus.
        let patience = self.margin_ns().clamp(25_000_000, 200_000_000);
        let sent = self.send(0)? - self.margin_ns();
        let deadline = sent + patience;
        while self.echo_left > 0 && !self.dirty && self.receive(0, deadline)? {}
        self.echoes = self.echo_left == 0 && !self.dirty;
        self.dirty = true;
        self.drain()?;
        self.parser = Parser::new();
        self.stats = BusStats::default();
        Ok(())
    }

    /// Waits until the line has been quiet for 2 ms, at most 20 ms.
    pub(super) fn quiesce(&mut self) -> Result<(), DriverError> {
        let give_up = MonotonicClock.now() + 20_000_000;
        while MonotonicClock.now() < give_up {
            if !self.receive(1, MonotonicClock.now() + 2_000_000)? {
                break;
            }
            self.parser.clear();
        }
        self.dirty = true;
        self.drain()
    }
}

//! Requests to one servo at a time: set-up, diagnosis and everything outside the cycle.

use super::{BusOptions, FeetechBus, ReplyStatus, check_count};
use crate::error::{DriverError, ServoProblem};
use crate::feetech::packet::{
    self, BROADCAST, INST_ACTION, INST_PING, INST_READ, INST_REG_WRITE, INST_WRITE, OVERHEAD,
    Parsed,
};
use crate::feetech::registers::{self as reg, Register};
use sinew_runtime::Nanos;

impl FeetechBus {
    /// Whether the servo is there; its alarm bits if so.
    pub fn ping(&mut self, id: u8) -> Result<Option<u8>, DriverError> {
        match self.transact(id, INST_PING, &[], &mut [])? {
            ReplyStatus::Ok { alarms } => Ok(Some(alarms)),
            _ => Ok(None),
        }
    }

    /// The ids among `ids` that answer, each asked once.
    pub fn scan(&mut self, ids: impl IntoIterator<Item = u8>) -> Result<Vec<u8>, DriverError> {
        let normal = self.options;
        self.options = BusOptions {
            retries: 0,
            op_timeout: normal.reply_margin,
            ..normal
        };
        let mut ids = ids.into_iter();
        let found = ids.try_fold(Vec::new(), |mut found, id| {
            found.extend(self.ping(id)?.map(|_| id));
            Ok(found)
        });
        self.options = normal;
        found
    }

    /// Reads one register.
    pub fn read(&mut self, id: u8, register: &Register) -> Result<i32, DriverError> {
        let mut bytes = [0u8; 2];
        let bytes = &mut bytes[..register.size.into()];
        self.read_block(id, register, bytes)?;
        Ok(register.decode_from(bytes))
    }

    /// Reads as many bytes as `out` holds, from `first` on.
    pub fn read_block(
        &mut self,
        id: u8,
        first: &Register,
        out: &mut [u8],
    ) -> Result<(), DriverError> {
        check_count("bytes in one read", out.len(), packet::MAX_PARAMS)?;
        let status = self.transact(id, INST_READ, &[first.addr, out.len() as u8], out)?;
        self.expect_ok(status, id, first)
    }

    /// Writes one register and waits for the acknowledgement. Registers kept without power are
    /// unlocked for the write and locked again if they were locked.
    pub fn write(&mut self, id: u8, register: &Register, value: i32) -> Result<(), DriverError> {
        if !register.eeprom {
            return self.write_raw(INST_WRITE, id, register, value);
        }
        let locked = self.read(id, &reg::LOCK)?;
        if locked != 0 {
            self.write_raw(INST_WRITE, id, &reg::LOCK, 0)?;
        }
        let written = self.write_raw(INST_WRITE, id, register, value);
        if locked != 0 {
            self.write_raw(INST_WRITE, id, &reg::LOCK, locked)?;
        }
        written
    }

    /// Writes only if the register holds something else (EEPROM wears out) and says whether.
    pub fn ensure(&mut self, id: u8, register: &Register, value: i32) -> Result<bool, DriverError> {
        if self.read(id, register)? == value {
            return Ok(false);
        }
        self.write(id, register, value)?;
        let read = self.read(id, register)?;
        if read == value {
            return Ok(true);
        }
        Err(self.servo_error(id, register, ServoProblem::Mismatch { wrote: value, read }))
    }

    /// Stores a write in the servo until [`FeetechBus::action`].
    pub fn reg_write(
        &mut self,
        id: u8,
        register: &Register,
        value: i32,
    ) -> Result<(), DriverError> {
        self.write_raw(INST_REG_WRITE, id, register, value)
    }

    /// Makes all servos perform their stored writes at once.
    pub fn action(&mut self) -> Result<(), DriverError> {
        self.tx_len = packet::encode(&mut self.tx, BROADCAST, INST_ACTION, &[])?;
        self.send_unanswered()
    }

    /// Makes one servo hold (and locks its EEPROM) or go limp (and unlocks it), as LeRobot does.
    pub fn set_torque(&mut self, id: u8, on: bool) -> Result<(), DriverError> {
        self.write(id, &reg::TORQUE_ENABLE, on.into())?;
        self.write(id, &reg::LOCK, on.into())
    }

    /// Gives a servo another id. Only one servo with the old id may be connected.
    pub fn change_id(&mut self, id: u8, new_id: u8) -> Result<(), DriverError> {
        if id == new_id {
            return Ok(());
        }
        self.write_raw(INST_WRITE, id, &reg::LOCK, 0)?;
        // The acknowledgement may come from either id, so neither is waited for.
        self.tx_len = packet::encode(&mut self.tx, id, INST_WRITE, &[reg::ID.addr, new_id])?;
        self.send_unanswered()?;
        self.quiesce()?;
        self.write_raw(INST_WRITE, new_id, &reg::LOCK, 1)
    }

    fn write_raw(
        &mut self,
        inst: u8,
        id: u8,
        register: &Register,
        value: i32,
    ) -> Result<(), DriverError> {
        if register.read_only {
            return Err(self.servo_error(id, register, ServoProblem::ReadOnly));
        }
        let mut params = [register.addr, 0, 0];
        let size = register
            .encode_into(value, &mut params[1..1 + usize::from(register.size)])
            .map_err(|e| self.servo_error(id, register, e.into()))?;
        let status = self.transact(id, inst, &params[..1 + size], &mut [])?;
        // A servo set to answer reads only does not acknowledge; what it holds then decides.
        if status == ReplyStatus::Timeout && inst == INST_WRITE && self.read(id, register)? == value
        {
            return Ok(());
        }
        self.expect_ok(status, id, register)
    }

    fn expect_ok(
        &self,
        status: ReplyStatus,
        id: u8,
        register: &Register,
    ) -> Result<(), DriverError> {
        match status {
            ReplyStatus::Ok { .. } => Ok(()),
            ReplyStatus::Timeout => Err(self.servo_error(id, register, ServoProblem::Timeout)),
            ReplyStatus::Corrupt => Err(self.servo_error(id, register, ServoProblem::Corrupt)),
        }
    }

    /// One request to one servo, repeated until a good reply of `out.len()` bytes comes.
    fn transact(
        &mut self,
        id: u8,
        inst: u8,
        params: &[u8],
        out: &mut [u8],
    ) -> Result<ReplyStatus, DriverError> {
        let mut status = ReplyStatus::Timeout;
        for attempt in 0..=self.options.retries {
            self.stats.retries += u64::from(attempt > 0);
            self.drain()?;
            self.tx_len = packet::encode(&mut self.tx, id, inst, params)?;
            let expected = OVERHEAD + out.len();
            let deadline = self.send(expected)? + self.options.op_timeout.as_nanos() as Nanos;
            match self.receive_one(id, out, expected, deadline)? {
                ok @ ReplyStatus::Ok { .. } => return Ok(ok),
                ReplyStatus::Corrupt => status = ReplyStatus::Corrupt,
                ReplyStatus::Timeout => {}
            }
            self.quiesce()?;
        }
        Ok(status)
    }

    fn receive_one(
        &mut self,
        id: u8,
        out: &mut [u8],
        expected: usize,
        deadline: Nanos,
    ) -> Result<ReplyStatus, DriverError> {
        let len = (out.len() + 2) as u8;
        let mut status = ReplyStatus::Timeout;
        loop {
            let quiet = !self.receive(expected.saturating_sub(self.parser.pending()), deadline)?;
            loop {
                match self.parser.next_packet(|i, l| i == id && l == len) {
                    Some(Parsed::Packet(p)) => {
                        out.copy_from_slice(p.params);
                        status = ReplyStatus::Ok { alarms: p.code };
                        self.stats.replies += 1;
                        self.dirty |= self.parser.pending() > 0;
                        return Ok(status);
                    }
                    Some(Parsed::Corrupt { .. }) => {
                        self.stats.corrupt += 1;
                        status = ReplyStatus::Corrupt;
                    }
                    None if quiet => {
                        if self.parser.pending_id().is_some() {
                            status = ReplyStatus::Corrupt;
                        }
                        if !self.parser.abandon() {
                            self.stats.timeouts += u64::from(status == ReplyStatus::Timeout);
                            self.dirty = true;
                            return Ok(status);
                        }
                    }
                    None => break,
                }
            }
        }
    }
}

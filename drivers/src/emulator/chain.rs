//! Servos on one line: request bytes in, status packets out.

use super::EmulatorError;
use super::faults::{FaultHandle, ReplyFaults};
use super::memory::Image;
use super::plant::{Plant, ServoDrive, ServoMeasurement};
use super::servo::{Servo, ServoConfig};
use crate::feetech::packet::{
    BROADCAST, INST_ACTION, INST_PING, INST_READ, INST_REG_WRITE, INST_RESET, INST_SYNC_READ,
    INST_SYNC_WRITE, INST_WRITE, MAX_ID, MAX_PACKET, MAX_PARAMS, OVERHEAD, Packet, Parsed, Parser,
    encode,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One servo's share of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyPart {
    /// End of its bytes in [`Reply::bytes`]; equal to the previous end for a servo that is silent.
    pub end: usize,
    /// Bytes' worth of line time that the slot takes, silent or not.
    pub slot_bytes: usize,
    /// The servo's return delay; spent only with wire timing.
    pub return_delay: Duration,
    /// Injected delay; always spent.
    pub fault_delay: Duration,
}

/// What the chain sends after one request. Reused, so that serving does not allocate.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Bytes of all servos in the order of sending.
    pub bytes: Vec<u8>,
    /// Who sends what when.
    pub parts: Vec<ReplyPart>,
}

impl Reply {
    fn clear(&mut self) {
        self.bytes.clear();
        self.parts.clear();
    }
}

/// A chain of servos without a port: it parses, obeys and answers, and is stepped from outside.
#[derive(Debug)]
pub struct EmulatedChain {
    servos: Vec<Servo>,
    drives: Vec<ServoDrive>,
    parser: Parser,
    scratch: Vec<u8>,
    faults: FaultHandle,
    rng: SmallRng,
}

impl EmulatedChain {
    /// Powers up new servos. Their ids must differ; a second servo with the same id is the fault
    /// `duplicate`.
    pub fn new(configs: &[ServoConfig]) -> Result<Self, EmulatorError> {
        for (i, config) in configs.iter().enumerate() {
            check_id(config.id, configs[..i].iter().any(|c| c.id == config.id))?;
        }
        Ok(Self::from_servos(configs.iter().map(Servo::new).collect()))
    }

    /// Powers up servos with these EEPROMs, in the order of `configs`.
    pub(crate) fn with_eeproms(configs: &[ServoConfig], eeproms: &[Image]) -> Self {
        let pairs = configs.iter().zip(eeproms);
        Self::from_servos(
            pairs
                .map(|(config, image)| Servo::with_eeprom(config, *image))
                .collect(),
        )
    }

    fn from_servos(servos: Vec<Servo>) -> Self {
        Self {
            drives: Vec::with_capacity(servos.len()),
            servos,
            parser: Parser::new(),
            scratch: vec![0; 2 * MAX_PACKET],
            faults: FaultHandle::new(),
            rng: SmallRng::seed_from_u64(0x5153_3332_3135),
        }
    }

    /// An SO-101: ids 1 to 6.
    pub fn so101() -> Self {
        Self::from_servos(
            (1..=6)
                .map(|id| Servo::new(&ServoConfig::new(id)))
                .collect(),
        )
    }

    /// The servos in chain order.
    pub fn servos(&self) -> &[Servo] {
        &self.servos
    }

    /// The servos in chain order, to change them as nobody on the bus could.
    pub fn servos_mut(&mut self) -> &mut [Servo] {
        &mut self.servos
    }

    /// The servo that answers to `id`.
    pub fn servo(&self, id: u8) -> Option<&Servo> {
        self.servos.iter().find(|s| s.id() == id)
    }

    /// The switchboard of faults.
    pub fn faults(&self) -> FaultHandle {
        self.faults.clone()
    }

    /// EEPROM images if any changed since the last call.
    pub(crate) fn changed_eeproms(&mut self) -> Option<Vec<Image>> {
        let dirty = self
            .servos
            .iter_mut()
            .fold(false, |dirty, s| s.take_dirty() | dirty);
        dirty.then(|| self.servos.iter().map(|s| *s.eeprom()).collect())
    }

    /// Receives bytes from the host; [`EmulatedChain::next_reply`] then acts on them.
    pub fn receive(&mut self, bytes: &[u8]) {
        let noise = self.faults.noise();
        if noise > 0.0 {
            let mut dirty = Vec::with_capacity(bytes.len());
            disturb(bytes, noise, &mut self.rng, &mut dirty);
            self.parser.push(&dirty);
        } else {
            self.parser.push(bytes);
        }
    }

    /// Bytes taken from the line so far, to place requests in time.
    pub fn consumed(&self) -> u64 {
        self.parser.consumed()
    }

    /// Bytes that wait for the rest of their packet.
    pub fn pending(&self) -> usize {
        self.parser.pending()
    }

    /// The line was quiet for long: an unfinished request is forgotten.
    pub fn line_idle(&mut self) {
        self.parser.clear();
    }

    /// Performs the next whole request that arrived at `baud` bit/s and fills `reply`, which stays
    /// empty when nobody answers. `false` when no whole request is left.
    pub fn next_reply(&mut self, baud: u32, reply: &mut Reply) -> bool {
        reply.clear();
        let mut params = [0; MAX_PARAMS];
        loop {
            let (id, code, count) = match self.parser.next_packet(|_, _| true) {
                None => return false,
                Some(Parsed::Corrupt { .. }) => continue,
                Some(Parsed::Packet(Packet {
                    id,
                    code,
                    params: got,
                })) => {
                    params[..got.len()].copy_from_slice(got);
                    (id, code, got.len())
                }
            };
            self.perform(id, code, &params[..count], baud, reply);
            return true;
        }
    }

    fn perform(&mut self, id: u8, code: u8, params: &[u8], baud: u32, reply: &mut Reply) {
        self.apply_alarm_faults();
        match (code, params) {
            (INST_SYNC_READ, [addr, size, ids @ ..]) if id == BROADCAST => {
                self.sync_read(*addr, *size, ids, baud, reply);
            }
            (INST_SYNC_WRITE, [addr, size, data @ ..]) if id == BROADCAST => {
                self.sync_write(*addr, *size, data, baud);
            }
            (INST_PING, []) => self.ping(id, baud, reply),
            (INST_READ, [addr, size]) if id != BROADCAST => {
                self.read(id, *addr, *size, baud, reply);
            }
            _ => self.command(id, code, params, baud, reply),
        }
    }

    fn apply_alarm_faults(&mut self) {
        for servo in &mut self.servos {
            servo.force_alarms(self.faults.alarms(servo.id()));
        }
    }

    fn listener(&self, id: u8, baud: u32) -> Option<usize> {
        self.servos
            .iter()
            .position(|s| s.id() == id && s.baud() == baud)
    }

    /// A broadcast ping is answered by every servo in turn, by rising id.
    fn ping(&mut self, id: u8, baud: u32, reply: &mut Reply) {
        for candidate in 0..=MAX_ID {
            if (id == BROADCAST || id == candidate)
                && let Some(index) = self.listener(candidate, baud)
            {
                self.answer(index, candidate, 0, 0, reply);
            }
        }
    }

    fn read(&mut self, id: u8, addr: u8, size: u8, baud: u32, reply: &mut Reply) {
        if let Some(index) = self.listener(id, baud)
            && (1..=MAX_PARAMS).contains(&usize::from(size))
        {
            self.answer(index, id, addr, size, reply);
        }
    }

    /// Each listed servo answers in its slot; the slot of one that is not there stays empty.
    fn sync_read(&mut self, addr: u8, size: u8, ids: &[u8], baud: u32, reply: &mut Reply) {
        if !(1..=MAX_PARAMS).contains(&usize::from(size)) {
            return;
        }
        for &id in ids {
            match self.listener(id, baud) {
                Some(index) => self.answer(index, id, addr, size, reply),
                None => reply.parts.push(ReplyPart {
                    end: reply.bytes.len(),
                    slot_bytes: usize::from(size) + OVERHEAD,
                    return_delay: Duration::ZERO,
                    fault_delay: Duration::ZERO,
                }),
            }
        }
    }

    fn sync_write(&mut self, addr: u8, size: u8, data: &[u8], baud: u32) {
        for part in data.chunks_exact(1 + usize::from(size)) {
            if let Some(index) = self.listener(part[0], baud) {
                self.servos[index].write(addr, &part[1..]);
            }
        }
    }

    /// Write, reg write, action, reset: obeyed by one servo or by all, acknowledged by one only.
    fn command(&mut self, id: u8, code: u8, params: &[u8], baud: u32, reply: &mut Reply) {
        let addressed = |s: &Servo| s.baud() == baud && (id == BROADCAST || s.id() == id);
        // What acknowledges: a servo that is told another id or baud rate answers with the old one.
        let answering = self
            .listener(id, baud)
            .filter(|i| self.servos[*i].acknowledges());
        for servo in self.servos.iter_mut().filter(|s| addressed(s)) {
            match (code, params) {
                (INST_WRITE, [addr, data @ ..]) if !data.is_empty() => servo.write(*addr, data),
                (INST_REG_WRITE, [addr, data @ ..]) if !data.is_empty() => {
                    servo.reg_write(*addr, data);
                }
                (INST_ACTION, []) => servo.action(),
                (INST_RESET, []) => servo.reset(),
                _ => return,
            }
        }
        if let Some(index) = answering {
            self.answer(index, id, 0, 0, reply);
        }
    }

    /// Appends the status packet of servo `index` with `size` table bytes from `addr`.
    fn answer(&mut self, index: usize, id: u8, addr: u8, size: u8, reply: &mut Reply) {
        let rng = &mut self.rng;
        let faults = self.faults.reply_faults(id, || rng.random());
        let servo = &self.servos[index];
        let mut data = [0; MAX_PARAMS];
        let data = &mut data[..usize::from(size)];
        servo.read(addr, data);
        // The buffer holds any packet and `size` was checked, so this cannot fail; were it to,
        // the servo would stay silent.
        let len = encode(&mut self.scratch, id, servo.alarms(), data).unwrap_or(0);
        let return_delay = servo.return_delay();
        let from = reply.bytes.len();
        if !faults.silent {
            let packet = &mut self.scratch[..len];
            damage(packet, faults, &mut self.rng, &mut reply.bytes);
        }
        let noise = self.faults.noise();
        if noise > 0.0 && reply.bytes.len() > from {
            let clean = reply.bytes.split_off(from);
            disturb(&clean, noise, &mut self.rng, &mut reply.bytes);
        }
        reply.parts.push(ReplyPart {
            end: reply.bytes.len(),
            slot_bytes: len.max(reply.bytes.len() - from),
            return_delay,
            fault_delay: faults.delay,
        });
    }

    /// Advances all setpoints by `dt` seconds and says what the motors are asked for.
    fn drive(&mut self, dt: f64) -> &[ServoDrive] {
        self.apply_alarm_faults();
        self.drives.clear();
        self.drives
            .extend(self.servos.iter_mut().map(|s| s.drive(dt)));
        &self.drives
    }

    fn measure(&mut self, dt: f64, measured: &[ServoMeasurement]) {
        for (servo, measured) in self.servos.iter_mut().zip(measured) {
            servo.measure(dt, measured);
        }
    }
}

fn check_id(id: u8, taken: bool) -> Result<(), EmulatorError> {
    let reason = match (id > MAX_ID, taken) {
        (true, _) => "not one that a servo can have",
        (_, true) => "given twice",
        _ => return Ok(()),
    };
    Err(EmulatorError::Id { id, reason })
}

/// Appends `packet` to `out` with the faults of a reply.
fn damage(packet: &mut [u8], faults: ReplyFaults, rng: &mut SmallRng, out: &mut Vec<u8>) {
    let len = packet.len();
    if let (true, Some(last)) = (faults.checksum, packet.last_mut()) {
        *last ^= 0x55;
    }
    let keep = if faults.truncate && len > 1 {
        rng.random_range(1..len)
    } else {
        len
    };
    let kept = &packet[..keep];
    if faults.duplicate {
        collide(kept, out);
    } else if faults.double && keep > 0 {
        let at = rng.random_range(0..keep);
        out.extend_from_slice(&kept[..=at]);
        out.extend_from_slice(&kept[at..]);
    } else {
        out.extend_from_slice(kept);
    }
}

/// Two servos send the same bytes three bit times apart on a line where 0 wins: what a UART
/// (start bit, eight bits from the lowest, stop bit) makes of it.
fn collide(packet: &[u8], out: &mut Vec<u8>) {
    const SKEW: usize = 3;
    let bit = |i: usize| match (packet.get(i / 10), i % 10) {
        (None, _) | (Some(_), 9) => true,
        (Some(_), 0) => false,
        (Some(byte), n) => byte >> (n - 1) & 1 == 1,
    };
    let line = |i: usize| bit(i) && (i < SKEW || bit(i - SKEW));
    let mut at = 0;
    while at < packet.len() * 10 {
        if line(at) {
            at += 1;
        } else {
            out.push((0..8).fold(0, |byte, n| byte | u8::from(line(at + 1 + n)) << n));
            at += 10;
        }
    }
}

/// Copies `bytes` with each, by chance, changed or preceded by a random one.
fn disturb(bytes: &[u8], rate: f64, rng: &mut SmallRng, out: &mut Vec<u8>) {
    for &byte in bytes {
        match (rng.random_bool(rate), rng.random_bool(0.5)) {
            (false, _) => out.push(byte),
            (true, true) => out.push(rng.random()),
            (true, false) => out.extend_from_slice(&[rng.random(), byte]),
        }
    }
}

/// A chain shared by the thread that serves its port and whoever steps its world.
#[derive(Debug, Clone)]
pub struct SharedChain {
    chain: Arc<Mutex<EmulatedChain>>,
    faults: FaultHandle,
}

impl SharedChain {
    /// Makes a chain shareable.
    pub fn new(chain: EmulatedChain) -> Self {
        Self {
            faults: chain.faults(),
            chain: Arc::new(Mutex::new(chain)),
        }
    }

    /// The chain, for as long as the guard lives; the bus does not answer meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, EmulatedChain> {
        // A panic elsewhere leaves at worst a half-written register: still a working chain.
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The switchboard of faults.
    pub fn faults(&self) -> FaultHandle {
        self.faults.clone()
    }

    /// Lets `dt` seconds pass: setpoints advance, `plant` moves, control tables show it. The
    /// chain is unlocked while the plant works. A `dt` that is not positive changes nothing.
    pub fn step(&self, dt: f64, plant: &mut dyn Plant) {
        if !(dt > 0.0 && dt.is_finite()) {
            return;
        }
        let (drives, mut measured) = {
            let mut chain = self.lock();
            let drives = chain.drive(dt).to_vec();
            (
                drives,
                chain
                    .servos
                    .iter()
                    .map(Servo::measurement)
                    .collect::<Vec<_>>(),
            )
        };
        plant.step(dt, &drives, &mut measured);
        self.lock().measure(dt, &measured);
    }
}

//! The bytes of one servo's control table: defaults, access rules, and the EEPROM copy of them.

use crate::feetech::packet::MAX_ID;
use crate::feetech::registers::{
    BAUD_RATE, ID, LOCK, OPERATING_MODE, Register, TABLE, TABLE_BYTES, TORQUE_ENABLE, by_addr,
};

/// What survives without power: an image of the whole table of which only EEPROM bytes count.
pub(crate) type Image = [u8; TABLE_BYTES];

/// Which addresses a write changed or set again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Touched(u128);

impl Touched {
    /// Whether any byte of `register` was written.
    pub(crate) fn has(self, register: &Register) -> bool {
        let mask = ((1u128 << register.size) - 1) << register.addr;
        self.0 & mask != 0
    }

    fn add(&mut self, addr: usize) {
        self.0 |= 1 << addr;
    }
}

/// The control table of one servo.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    live: Image,
    stored: Image,
    dirty: bool,
}

/// The table of a new servo.
pub(crate) fn factory() -> Image {
    let mut image = [0; TABLE_BYTES];
    for register in TABLE {
        put(&mut image, register, register.default);
    }
    image
}

fn put(image: &mut Image, register: &Register, stored: u16) {
    let at = usize::from(register.addr);
    let size = usize::from(register.size);
    image[at..at + size].copy_from_slice(&stored.to_le_bytes()[..size]);
}

impl Memory {
    /// Powers up with `stored` in the EEPROM.
    pub(crate) fn power_up(stored: Image) -> Self {
        let mut live = factory();
        for register in TABLE.iter().filter(|r| r.eeprom && !r.read_only) {
            let at = usize::from(register.addr)..usize::from(register.addr + register.size);
            live[at.clone()].copy_from_slice(&stored[at]);
        }
        Self {
            live,
            stored,
            dirty: false,
        }
    }

    /// The EEPROM's content.
    pub(crate) fn stored(&self) -> &Image {
        &self.stored
    }

    /// Whether the EEPROM changed since the last call.
    pub(crate) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// The live value of `register`.
    pub(crate) fn get(&self, register: &Register) -> i32 {
        register.decode_from(&self.live[usize::from(register.addr)..])
    }

    /// Sets a live value; a value outside the register's range is brought to its edge.
    pub(crate) fn set(&mut self, register: &Register, value: i32) {
        let (min, max) = register.range();
        if let Ok(stored) = register.encode(value.clamp(min, max)) {
            put(&mut self.live, register, stored);
        }
    }

    /// Sets a value in the live table and in the EEPROM, whatever the lock says.
    pub(crate) fn set_stored(&mut self, register: &Register, value: i32) {
        self.set(register, value);
        let at = usize::from(register.addr)..usize::from(register.addr + register.size);
        self.stored[at.clone()].copy_from_slice(&self.live[at]);
        self.dirty = true;
    }

    /// Copies bytes from `addr` on; past the end of the table there are zeros.
    pub(crate) fn read(&self, addr: u8, out: &mut [u8]) {
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = self.live.get(usize::from(addr) + i).copied().unwrap_or(0);
        }
    }

    /// Writes bytes from `addr` on. Read-only and unnamed addresses and impossible values keep
    /// what they had. EEPROM bytes reach the EEPROM only while `Lock` is 0.
    pub(crate) fn write(&mut self, addr: u8, data: &[u8]) -> Touched {
        let unlocked = self.get(&LOCK) == 0;
        let mut touched = Touched::default();
        for (i, &byte) in data.iter().enumerate() {
            let at = usize::from(addr) + i;
            let Some(register) = u8::try_from(at).ok().and_then(by_addr) else {
                continue;
            };
            if register.read_only || !acceptable(register, byte) {
                continue;
            }
            self.live[at] = byte;
            touched.add(at);
            if register.eeprom && unlocked {
                self.stored[at] = byte;
                self.dirty = true;
            }
        }
        touched
    }

    /// Factory values everywhere but in the id and the baud rate, which keep the bus usable.
    pub(crate) fn reset(&mut self) {
        let (id, baud) = (self.get(&ID), self.get(&BAUD_RATE));
        *self = Self::power_up(factory());
        self.set_stored(&ID, id);
        self.set_stored(&BAUD_RATE, baud);
    }
}

fn acceptable(register: &Register, byte: u8) -> bool {
    match *register {
        ID => byte <= MAX_ID,
        BAUD_RATE => byte <= 7,
        OPERATING_MODE => byte <= 3,
        TORQUE_ENABLE => matches!(byte, 0..=2 | 128),
        LOCK => byte <= 1,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feetech::registers::{
        GOAL_POSITION, HOMING_OFFSET, MODEL_NUMBER, P_COEFFICIENT, PRESENT_POSITION,
    };

    #[test]
    fn a_new_servo_holds_the_defaults() {
        let memory = Memory::power_up(factory());
        for register in TABLE {
            assert_eq!(
                memory.get(register),
                register.decode(register.default),
                "{}",
                register.name
            );
        }
    }

    #[test]
    fn read_only_registers_refuse_writes() {
        let mut memory = Memory::power_up(factory());
        for register in TABLE.iter().filter(|r| r.read_only) {
            let before = memory.get(register);
            assert_eq!(
                memory.write(register.addr, &[0xAA, 0x55][..register.size.into()]),
                Touched::default()
            );
            assert_eq!(memory.get(register), before, "{}", register.name);
        }
        assert_eq!(memory.get(&MODEL_NUMBER), 777);
    }

    #[test]
    fn a_locked_eeprom_forgets() {
        let mut memory = Memory::power_up(factory());
        memory.write(P_COEFFICIENT.addr, &[16]);
        assert_eq!(memory.get(&P_COEFFICIENT), 16);
        assert!(!memory.take_dirty());
        assert_eq!(Memory::power_up(*memory.stored()).get(&P_COEFFICIENT), 32);

        memory.write(LOCK.addr, &[0]);
        memory.write(P_COEFFICIENT.addr, &[17]);
        assert!(memory.take_dirty());
        let again = Memory::power_up(*memory.stored());
        assert_eq!(again.get(&P_COEFFICIENT), 17);
        assert_eq!(again.get(&LOCK), 1);
    }

    #[test]
    fn impossible_values_are_ignored() {
        let mut memory = Memory::power_up(factory());
        memory.write(ID.addr, &[253]);
        memory.write(OPERATING_MODE.addr, &[4]);
        memory.write(TORQUE_ENABLE.addr, &[77]);
        assert_eq!(
            (
                memory.get(&ID),
                memory.get(&OPERATING_MODE),
                memory.get(&TORQUE_ENABLE)
            ),
            (1, 0, 0)
        );
    }

    #[test]
    fn a_write_past_the_end_changes_only_what_is_there() {
        let mut memory = Memory::power_up(factory());
        memory.write(85, &[7; 100]);
        memory.write(255, &[7; 100]);
        let mut tail = [9; 4];
        memory.read(85, &mut tail);
        assert_eq!(tail, [7, 7, 0, 0]);
    }

    #[test]
    fn touched_names_registers_by_any_of_their_bytes() {
        let mut memory = Memory::power_up(factory());
        let touched = memory.write(GOAL_POSITION.addr + 1, &[8]);
        assert!(touched.has(&GOAL_POSITION) && !touched.has(&PRESENT_POSITION));
        assert_eq!(memory.get(&GOAL_POSITION), 2048);
    }

    #[test]
    fn reset_keeps_id_and_baud() {
        let mut memory = Memory::power_up(factory());
        memory.set_stored(&ID, 9);
        memory.set_stored(&HOMING_OFFSET, -300);
        memory.reset();
        let again = Memory::power_up(*memory.stored());
        assert_eq!((again.get(&ID), again.get(&HOMING_OFFSET)), (9, 0));
    }
}

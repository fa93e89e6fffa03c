//! The control table of the STS3215 and how its numbers are encoded.
//!
//! Names, addresses and sizes are LeRobot's (`STS_SMS_SERIES_CONTROL_TABLE`), so that messages
//! and scripts read the same. Numbers are little-endian; signed registers are sign-magnitude
//! with the sign at a bit that differs by register.

use thiserror::Error;

/// Model number that an STS3215 reports.
pub const MODEL_STS3215: u16 = 777;
/// Ticks of one turn.
pub const TICKS_PER_TURN: u16 = 4096;
/// Size of the servo's address space in bytes.
pub const TABLE_BYTES: usize = 87;

/// One entry of the control table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register {
    /// LeRobot's name.
    pub name: &'static str,
    /// First byte's address.
    pub addr: u8,
    /// Bytes: 1 or 2.
    pub size: u8,
    /// Bit that carries the sign, for signed registers.
    pub sign_bit: Option<u8>,
    /// Kept without power; writing needs `Lock` = 0.
    pub eeprom: bool,
    /// The servo refuses writes.
    pub read_only: bool,
    /// Encoded value of a new servo.
    pub default: u16,
}

/// Why a value does not fit a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{register} takes {min}..={max}, not {value}")]
pub struct RangeError {
    /// Register name.
    pub register: &'static str,
    /// The refused value.
    pub value: i32,
    /// Smallest value.
    pub min: i32,
    /// Largest value.
    pub max: i32,
}

macro_rules! registers {
    ($($constant:ident $name:literal $addr:literal $size:literal $sign:expr, $kind:ident $default:literal;)*) => {
        $(#[doc = concat!("`", $name, "`, address ", $addr, ", ", $size, " byte(s).")]
        pub const $constant: Register = Register {
            name: $name,
            addr: $addr,
            size: $size,
            sign_bit: $sign,
            eeprom: matches!(Kind::$kind, Kind::Rom | Kind::RomRo),
            read_only: matches!(Kind::$kind, Kind::RomRo | Kind::RamRo),
            default: $default,
        };)*
        /// Every register, by rising address.
        pub const TABLE: &[Register] = &[$($constant),*];
    };
}

enum Kind {
    Rom,
    RomRo,
    Ram,
    RamRo,
}

const N: Option<u8> = None;

#[rustfmt::skip]
registers! {
//  constant                  name                                             addr size sign   kind  default
    FIRMWARE_MAJOR            "Firmware_Major_Version"                            0 1 N,        RomRo 3;
    FIRMWARE_MINOR            "Firmware_Minor_Version"                            1 1 N,        RomRo 10;
    MODEL_NUMBER              "Model_Number"                                      3 2 N,        RomRo 777;
    ID                        "ID"                                                5 1 N,        Rom   1;
    BAUD_RATE                 "Baud_Rate"                                         6 1 N,        Rom   0;
    RETURN_DELAY_TIME         "Return_Delay_Time"                                 7 1 N,        Rom   250;
    RESPONSE_STATUS_LEVEL     "Response_Status_Level"                             8 1 N,        Rom   1;
    MIN_POSITION_LIMIT        "Min_Position_Limit"                                9 2 N,        Rom   0;
    MAX_POSITION_LIMIT        "Max_Position_Limit"                               11 2 N,        Rom   4095;
    MAX_TEMPERATURE_LIMIT     "Max_Temperature_Limit"                            13 1 N,        Rom   70;
    MAX_VOLTAGE_LIMIT         "Max_Voltage_Limit"                                14 1 N,        Rom   80;
    MIN_VOLTAGE_LIMIT         "Min_Voltage_Limit"                                15 1 N,        Rom   40;
    MAX_TORQUE_LIMIT          "Max_Torque_Limit"                                 16 2 N,        Rom   1000;
    PHASE                     "Phase"                                            18 1 N,        Rom   12;
    UNLOADING_CONDITION       "Unloading_Condition"                              19 1 N,        Rom   44;
    LED_ALARM_CONDITION       "LED_Alarm_Condition"                              20 1 N,        Rom   47;
    P_COEFFICIENT             "P_Coefficient"                                    21 1 N,        Rom   32;
    D_COEFFICIENT             "D_Coefficient"                                    22 1 N,        Rom   32;
    I_COEFFICIENT             "I_Coefficient"                                    23 1 N,        Rom   0;
    MINIMUM_STARTUP_FORCE     "Minimum_Startup_Force"                            24 2 N,        Rom   16;
    CW_DEAD_ZONE              "CW_Dead_Zone"                                     26 1 N,        Rom   1;
    CCW_DEAD_ZONE             "CCW_Dead_Zone"                                    27 1 N,        Rom   1;
    PROTECTION_CURRENT        "Protection_Current"                               28 2 N,        Rom   500;
    ANGULAR_RESOLUTION        "Angular_Resolution"                               30 1 N,        Rom   1;
    HOMING_OFFSET             "Homing_Offset"                                    31 2 Some(11), Rom   0;
    OPERATING_MODE            "Operating_Mode"                                   33 1 N,        Rom   0;
    PROTECTIVE_TORQUE         "Protective_Torque"                                34 1 N,        Rom   20;
    PROTECTION_TIME           "Protection_Time"                                  35 1 N,        Rom   200;
    OVERLOAD_TORQUE           "Overload_Torque"                                  36 1 N,        Rom   80;
    VELOCITY_P                "Velocity_closed_loop_P_proportional_coefficient"  37 1 N,        Rom   10;
    OVERCURRENT_TIME          "Over_Current_Protection_Time"                     38 1 N,        Rom   200;
    VELOCITY_I                "Velocity_closed_loop_I_integral_coefficient"      39 1 N,        Rom   10;
    TORQUE_ENABLE             "Torque_Enable"                                    40 1 N,        Ram   0;
    ACCELERATION              "Acceleration"                                     41 1 N,        Ram   0;
    GOAL_POSITION             "Goal_Position"                                    42 2 Some(15), Ram   0;
    GOAL_TIME                 "Goal_Time"                                        44 2 N,        Ram   0;
    GOAL_VELOCITY             "Goal_Velocity"                                    46 2 Some(15), Ram   0;
    TORQUE_LIMIT              "Torque_Limit"                                     48 2 N,        Ram   1000;
    LOCK                      "Lock"                                             55 1 N,        Ram   1;
    PRESENT_POSITION          "Present_Position"                                 56 2 Some(15), RamRo 2048;
    PRESENT_VELOCITY          "Present_Velocity"                                 58 2 Some(15), RamRo 0;
    PRESENT_LOAD              "Present_Load"                                     60 2 Some(10), RamRo 0;
    PRESENT_VOLTAGE           "Present_Voltage"                                  62 1 N,        RamRo 74;
    PRESENT_TEMPERATURE       "Present_Temperature"                              63 1 N,        RamRo 25;
    STATUS                    "Status"                                           65 1 N,        RamRo 0;
    MOVING                    "Moving"                                           66 1 N,        RamRo 0;
    PRESENT_CURRENT           "Present_Current"                                  69 2 N,        RamRo 0;
    GOAL_POSITION_2           "Goal_Position_2"                                  71 2 N,        RamRo 0;
    MOVING_VELOCITY           "Moving_Velocity_Threshold"                        80 1 N,        Rom   1;
    DTS                       "DTs"                                              81 1 N,        Rom   10;
    VELOCITY_UNIT             "Velocity_Unit_factor"                             82 1 N,        Rom   1;
    HTS                       "Hts"                                              83 1 N,        Rom   10;
    MAXIMUM_VELOCITY          "Maximum_Velocity_Limit"                           84 1 N,        Rom   100;
    MAXIMUM_ACCELERATION      "Maximum_Acceleration"                             85 1 N,        Rom   50;
    ACCELERATION_MULTIPLIER   "Acceleration_Multiplier"                          86 1 N,        Rom   1;
}

/// Bit rates and the codes that `Baud_Rate` holds for them.
pub const BAUD_CODES: [(u32, u8); 8] = [
    (1_000_000, 0),
    (500_000, 1),
    (250_000, 2),
    (128_000, 3),
    (115_200, 4),
    (57_600, 5),
    (38_400, 6),
    (19_200, 7),
];

/// The `Baud_Rate` code of a bit rate, if the servo has it.
pub fn baud_code(baud: u32) -> Option<u8> {
    BAUD_CODES
        .iter()
        .find(|(rate, _)| *rate == baud)
        .map(|(_, code)| *code)
}

/// The bit rate of a `Baud_Rate` code, bit/s.
pub fn baud_from_code(code: u8) -> Option<u32> {
    BAUD_CODES
        .iter()
        .find(|(_, c)| *c == code)
        .map(|(rate, _)| *rate)
}

/// The register of that name, as LeRobot spells it.
pub fn by_name(name: &str) -> Option<&'static Register> {
    TABLE.iter().find(|r| r.name == name)
}

/// The register that covers the byte at `addr`.
pub fn by_addr(addr: u8) -> Option<&'static Register> {
    TABLE
        .iter()
        .find(|r| (r.addr..r.addr + r.size).contains(&addr))
}

impl Register {
    /// Smallest and largest value that fits.
    pub fn range(&self) -> (i32, i32) {
        match self.sign_bit {
            Some(bit) => (-((1 << bit) - 1), (1 << bit) - 1),
            None => (0, (1 << (8 * u32::from(self.size))) - 1),
        }
    }

    /// The number as the servo stores it (low byte first when sent).
    pub fn encode(&self, value: i32) -> Result<u16, RangeError> {
        let (min, max) = self.range();
        if !(min..=max).contains(&value) {
            return Err(RangeError {
                register: self.name,
                value,
                min,
                max,
            });
        }
        let sign = self
            .sign_bit
            .filter(|_| value < 0)
            .map_or(0, |bit| 1u16 << bit);
        Ok(value.unsigned_abs() as u16 | sign)
    }

    /// The value of a stored number. Bits above the sign bit are not the servo's and are ignored.
    pub fn decode(&self, stored: u16) -> i32 {
        match self.sign_bit {
            Some(bit) => {
                let magnitude = i32::from(stored & ((1 << bit) - 1));
                if stored >> bit & 1 == 1 {
                    -magnitude
                } else {
                    magnitude
                }
            }
            None if self.size == 1 => i32::from(stored & 0xFF),
            None => i32::from(stored),
        }
    }

    /// Writes the encoded value into the front of `out` and returns how many bytes that took.
    /// Bytes that do not fit into `out` are left off.
    pub fn encode_into(&self, value: i32, out: &mut [u8]) -> Result<usize, RangeError> {
        let bytes = self.encode(value)?.to_le_bytes();
        let count = usize::from(self.size).min(out.len());
        out[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// The value at the front of `bytes`; missing bytes read as zero.
    pub fn decode_from(&self, bytes: &[u8]) -> i32 {
        let low = bytes.first().copied().unwrap_or(0);
        let high = if self.size == 2 {
            bytes.get(1).copied().unwrap_or(0)
        } else {
            0
        };
        self.decode(u16::from_le_bytes([low, high]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table_is_sorted_and_nothing_overlaps() {
        for pair in TABLE.windows(2) {
            assert!(
                pair[0].addr + pair[0].size <= pair[1].addr,
                "{} and {}",
                pair[0].name,
                pair[1].name
            );
        }
        let last = TABLE[TABLE.len() - 1];
        assert_eq!(usize::from(last.addr + last.size), TABLE_BYTES);
    }

    #[test]
    fn homing_offset_is_sign_magnitude_with_bit_11() {
        assert_eq!(HOMING_OFFSET.encode(-1470), Ok(1470 | 1 << 11));
        assert_eq!(HOMING_OFFSET.decode(1470 | 1 << 11), -1470);
        let error = HOMING_OFFSET.encode(2114).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Homing_Offset takes -2047..=2047, not 2114"
        );
    }

    #[test]
    fn look_ups_agree() {
        for register in TABLE {
            assert_eq!(by_name(register.name), Some(register));
            assert_eq!(by_addr(register.addr), Some(register));
        }
        assert_eq!(by_addr(57), Some(&PRESENT_POSITION));
        assert_eq!(by_addr(50), None);
        for (baud, code) in BAUD_CODES {
            assert_eq!(
                (baud_code(baud), baud_from_code(code)),
                (Some(code), Some(baud))
            );
        }
    }

    proptest! {
        #[test]
        fn values_round_trip(index in 0..TABLE.len(), value in -70_000i32..70_000) {
            let register = TABLE[index];
            let (min, max) = register.range();
            match register.encode(value) {
                Ok(stored) => {
                    prop_assert!((min..=max).contains(&value));
                    prop_assert_eq!(register.decode(stored), value);
                }
                Err(error) => prop_assert!(error.value < min || error.value > max),
            }
        }

        #[test]
        fn decoding_never_panics_and_stays_in_range(index in 0..TABLE.len(), bytes in prop::collection::vec(any::<u8>(), 0..3)) {
            let register = TABLE[index];
            let (min, max) = register.range();
            prop_assert!((min..=max).contains(&register.decode_from(&bytes)));
        }
    }
}

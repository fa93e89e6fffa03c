//! What a servo protects itself from: overload, too much current, heat, wrong voltage.

use crate::feetech::packet::{
    ALARM_ANGLE, ALARM_OVERCURRENT, ALARM_OVERHEAT, ALARM_OVERLOAD, ALARM_VOLTAGE,
};

/// Current unit of the control table, A.
pub(crate) const CURRENT_UNIT_A: f64 = 0.0065;
/// Current of a blocked STS3215 at full torque, A.
const STALL_CURRENT_A: f64 = 2.7;
/// Supply drop at full load, V.
const SAG_V: f64 = 0.3;
/// Heating at full load for ever, K, and the time constant of it, s.
const HEATING_K: f64 = 60.0;
const HEATING_S: f64 = 180.0;

/// Thresholds from the control table, in natural units.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thresholds {
    /// Allowed supply, V.
    pub(crate) voltage: (f64, f64),
    /// Highest temperature, °C.
    pub(crate) temperature: f64,
    /// Load at which the overload timer runs, 0..1, and for how long it may, s.
    pub(crate) overload: (f64, f64),
    /// Current at which the overcurrent timer runs, A, and for how long it may, s.
    pub(crate) overcurrent: (f64, f64),
}

/// Measured health and latched alarms of one servo.
#[derive(Debug, Clone)]
pub(crate) struct Protection {
    supply_v: f64,
    ambient_c: f64,
    temperature_c: f64,
    load: f64,
    overload_s: f64,
    overcurrent_s: f64,
    latched: u8,
    forced: u8,
    passing: u8,
    overload_sign: f64,
}

impl Protection {
    /// At rest at `ambient_c` °C on a supply of `supply_v` V.
    pub(crate) fn new(supply_v: f64, ambient_c: f64) -> Self {
        Self {
            supply_v,
            ambient_c,
            temperature_c: ambient_c,
            load: 0.0,
            overload_s: 0.0,
            overcurrent_s: 0.0,
            latched: 0,
            forced: 0,
            passing: 0,
            overload_sign: 0.0,
        }
    }

    /// Changes the supply, V.
    pub(crate) fn set_supply(&mut self, volts: f64) {
        self.supply_v = volts;
    }

    /// Makes the winding that hot, °C.
    pub(crate) fn set_temperature(&mut self, celsius: f64) {
        self.temperature_c = celsius;
    }

    /// Alarm bits that somebody injected.
    pub(crate) fn force(&mut self, alarms: u8) {
        self.forced = alarms;
    }

    /// Takes in `load` (−1..1) that acted for `dt` seconds.
    pub(crate) fn update(&mut self, load: f64, limits: &Thresholds, dt: f64) {
        self.load = load;
        let heat = self.ambient_c + HEATING_K * load * load;
        self.temperature_c += (heat - self.temperature_c) * (1.0 - (-dt / HEATING_S).exp());

        let (level, patience) = limits.overload;
        if self.hold_for(load.abs() >= level, dt, patience, |s| &mut s.overload_s) {
            self.latched |= ALARM_OVERLOAD;
            self.overload_sign = load.signum();
        }
        let (level, patience) = limits.overcurrent;
        if self.hold_for(self.current_a() >= level, dt, patience, |s| {
            &mut s.overcurrent_s
        }) {
            self.latched |= ALARM_OVERCURRENT;
        }
        let (low, high) = limits.voltage;
        let volts = self.voltage_v();
        self.passing = if volts < low || volts > high {
            ALARM_VOLTAGE
        } else {
            0
        };
        if self.temperature_c > limits.temperature {
            self.passing |= ALARM_OVERHEAT;
        }
    }

    fn hold_for(
        &mut self,
        over: bool,
        dt: f64,
        patience: f64,
        timer: impl Fn(&mut Self) -> &mut f64,
    ) -> bool {
        let timer = timer(self);
        *timer = if over { *timer + dt } else { 0.0 };
        over && *timer > patience
    }

    /// Current drawn, A.
    pub(crate) fn current_a(&self) -> f64 {
        self.load.abs() * STALL_CURRENT_A
    }

    /// Voltage at the servo, V.
    pub(crate) fn voltage_v(&self) -> f64 {
        self.supply_v - SAG_V * self.load.abs()
    }

    /// Temperature, °C.
    pub(crate) fn temperature_c(&self) -> f64 {
        self.temperature_c
    }

    /// All alarm bits.
    pub(crate) fn alarms(&self) -> u8 {
        self.latched | self.forced | self.passing
    }

    /// Switching torque on or off acknowledges latched alarms.
    pub(crate) fn acknowledge(&mut self) {
        self.latched = 0;
        self.overload_s = 0.0;
        self.overcurrent_s = 0.0;
    }

    /// A goal on the other side of the obstacle ends an overload.
    pub(crate) fn goal_towards(&mut self, direction: f64) {
        if self.latched & ALARM_OVERLOAD != 0 && direction * self.overload_sign < 0.0 {
            self.latched &= !ALARM_OVERLOAD;
            self.overload_s = 0.0;
        }
    }

    /// Whether the motor is switched off by an alarm in the unloading mask.
    pub(crate) fn unloads(&self, mask: u8) -> bool {
        let off = ALARM_VOLTAGE | ALARM_ANGLE | ALARM_OVERHEAT | ALARM_OVERCURRENT;
        self.alarms() & mask & off != 0
    }

    /// Whether an overload in the mask reduces the motor to its protective torque.
    pub(crate) fn weakens(&self, mask: u8) -> bool {
        self.alarms() & mask & ALARM_OVERLOAD != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Thresholds = Thresholds {
        voltage: (4.0, 8.0),
        temperature: 70.0,
        overload: (0.8, 2.0),
        overcurrent: (1.6, 1.0),
    };

    fn run(protection: &mut Protection, load: f64, seconds: f64) {
        for _ in 0..(seconds * 100.0) as usize {
            protection.update(load, &LIMITS, 0.01);
        }
    }

    #[test]
    fn overload_needs_its_time_and_stays_until_acknowledged() {
        let mut p = Protection::new(7.4, 25.0);
        let quiet = Thresholds {
            overcurrent: (99.0, 1.0),
            ..LIMITS
        };
        for _ in 0..190 {
            p.update(-0.9, &quiet, 0.01);
        }
        assert_eq!(p.alarms(), 0);
        for _ in 0..20 {
            p.update(-0.9, &quiet, 0.01);
        }
        p.update(0.0, &quiet, 0.01);
        assert_eq!(p.alarms(), ALARM_OVERLOAD);
        assert!(p.weakens(44) && !p.weakens(0) && !p.unloads(44));
        p.goal_towards(-1.0);
        assert_eq!(p.alarms(), ALARM_OVERLOAD, "pushing on does not help");
        p.goal_towards(1.0);
        assert_eq!(p.alarms(), 0, "backing off does");
    }

    #[test]
    fn overcurrent_unloads() {
        let mut p = Protection::new(7.4, 25.0);
        run(&mut p, 0.7, 1.2);
        assert_eq!(p.alarms(), ALARM_OVERCURRENT);
        assert!(p.unloads(44));
        p.acknowledge();
        assert_eq!(p.alarms(), 0);
    }

    #[test]
    fn voltage_alarm_follows_the_supply() {
        let mut p = Protection::new(12.0, 25.0);
        run(&mut p, 0.0, 0.1);
        assert_eq!(p.alarms(), ALARM_VOLTAGE);
        assert!(!p.unloads(44), "the factory mask leaves voltage out");
        assert!(p.unloads(45));
        p.set_supply(7.0);
        run(&mut p, 0.0, 0.1);
        assert_eq!(p.alarms(), 0);
    }

    #[test]
    fn heat_comes_from_load_and_goes_with_rest() {
        let mut p = Protection::new(7.4, 25.0);
        let calm = Thresholds {
            overload: (2.0, 1.0),
            overcurrent: (99.0, 1.0),
            ..LIMITS
        };
        for _ in 0..600 {
            p.update(1.0, &calm, 1.0);
        }
        assert_eq!(p.alarms(), ALARM_OVERHEAT);
        assert!((p.temperature_c() - 85.0).abs() < 3.0);
        for _ in 0..600 {
            p.update(0.0, &calm, 1.0);
        }
        assert_eq!(p.alarms(), 0);
    }
}

//! When bytes are on a half-duplex line: 10 bit times each, one speaker at a time.

use sinew_runtime::Nanos;
use std::time::Duration;

/// The line's timetable.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Line {
    free: Nanos,
    /// Stream offset and start time of the bytes that are being sent to the servos.
    run: (u64, Nanos),
}

/// Time on the line of `count` bytes at `baud` bit/s.
pub(crate) fn byte_time(count: u64, baud: u32) -> Nanos {
    count * 10_000_000_000 / u64::from(baud.max(1))
}

impl Line {
    /// `count` bytes with stream offsets from `offset` on reach the adapter at `now`; they go out
    /// as soon as the line is free.
    pub(crate) fn send(&mut self, now: Nanos, offset: u64, count: u64, baud: u32) {
        let start = now.max(self.free);
        self.run = (offset, start);
        self.free = start + byte_time(count, baud);
    }

    /// When the byte before stream offset `end` has arrived at the servos.
    pub(crate) fn sent(&self, end: u64, baud: u32) -> Nanos {
        self.run.1 + byte_time(end.saturating_sub(self.run.0), baud)
    }

    /// A reply to the request that ended at stream offset `end` keeps the line until `until`;
    /// bytes behind that request go out after it.
    pub(crate) fn reply(&mut self, end: u64, until: Nanos, baud: u32) {
        let delayed = until.saturating_sub(self.sent(end, baud));
        self.run = (end, until);
        self.free = (self.free + delayed).max(until);
    }
}

/// Duration in ns, without overflow.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAUD: u32 = 1_000_000;
    const US: u64 = 1000;

    #[test]
    fn a_six_servo_cycle_is_880_microseconds() {
        let mut line = Line::default();
        let mut now = 5000 * US;
        let (mut offset, mut first) = (0, 0);
        for cycle in 0..3 {
            line.send(now, offset, 14, BAUD);
            let asked = line.sent(offset + 14, BAUD);
            let answered = asked + byte_time(48, BAUD);
            line.reply(offset + 14, answered, BAUD);
            if cycle == 0 {
                first = answered;
            }
            assert_eq!(answered, first + cycle * 880 * US);
            now = answered;
            line.send(now, offset + 14, 26, BAUD);
            offset += 40;
        }
    }

    #[test]
    fn requests_in_one_write_follow_each_other() {
        let mut line = Line::default();
        line.send(1000 * US, 0, 40, BAUD);
        assert_eq!(line.sent(26, BAUD), 1260 * US);
        assert_eq!(line.sent(40, BAUD), 1400 * US);
        line.reply(26, 1500 * US, BAUD);
        assert_eq!(
            line.sent(40, BAUD),
            1640 * US,
            "the second waits for the first one's reply"
        );
        line.send(0, 40, 10, BAUD);
        assert_eq!(line.sent(50, BAUD), 1740 * US);
    }

    #[test]
    fn slow_lines_take_longer() {
        assert_eq!(byte_time(10, 115_200), 868_055);
        assert_eq!(byte_time(1, 0), 10_000_000_000);
    }
}

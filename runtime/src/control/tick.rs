//! What the loop sees and what it leaves behind for others.

use crate::clock::Nanos;
use crate::frame::Frame;
use crate::joints::{JointFault, JointState, JointTarget};
use std::sync::Arc;

/// The most cameras that one loop may have.
pub const MAX_CAMERAS: usize = 8;

/// Newest frames, in the order in which cameras were added.
pub type Frames = [Option<Arc<Frame>>; MAX_CAMERAS];

/// Everything known at one tick.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// Place on the step timeline: periods since the loop began, skipped ones included.
    pub step: u64,
    /// When the tick started.
    pub now_ns: Nanos,
    /// Newest joint state.
    pub state: JointState,
    /// Newest frames; `None` until a camera delivers.
    pub frames: Frames,
    /// Number of cameras.
    pub cameras: usize,
    /// Cameras without a frame, or with one that is older than allowed: bit `i` for camera `i`.
    pub stale_cameras: u8,
    /// Age of the oldest part, ns.
    pub age_ns: u64,
}

/// What was remarkable about a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TickFlags(u16);

impl TickFlags {
    /// The tick started late, or ticks before it were skipped.
    pub const LATE: Self = Self(1);
    /// No joint state has come yet; nothing was decided.
    pub const NO_STATE: Self = Self(1 << 1);
    /// The joint state is older than allowed; nothing was decided.
    pub const STALE_STATE: Self = Self(1 << 2);
    /// A camera has not delivered yet.
    pub const NO_FRAME: Self = Self(1 << 3);
    /// A camera's newest frame is older than allowed. The source decided all the same.
    pub const STALE_FRAME: Self = Self(1 << 4);
    /// There was no action for this step.
    pub const STARVED: Self = Self(1 << 5);
    /// Inference delivered after the queue had run dry.
    pub const OVERRUN: Self = Self(1 << 6);
    /// A target was sent.
    pub const ACTED: Self = Self(1 << 7);

    /// Adds `other` where `on`.
    pub fn set(&mut self, other: Self, on: bool) {
        self.0 |= if on { other.0 } else { 0 };
    }

    /// Whether all of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits.
    pub fn bits(self) -> u16 {
        self.0
    }
}

/// One camera's part in a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameStamp {
    /// Sequence number of the frame; 0 if there is none yet.
    pub seq: u64,
    /// When it was exposed.
    pub captured_ns: Nanos,
}

/// One tick of the loop, without pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tick {
    /// Counts ticks that ran, from 1.
    pub seq: u64,
    /// Place on the step timeline: periods since the loop began, skipped ones included.
    pub step: u64,
    /// The deadline that the tick served.
    pub scheduled_ns: Nanos,
    /// When it started.
    pub started_ns: Nanos,
    /// From deadline to start, ns.
    pub wake_error_ns: u64,
    /// Ticks skipped just before.
    pub skipped: u64,
    /// What was measured.
    pub state: JointState,
    /// Age of the state, ns.
    pub state_age_ns: u64,
    /// The frames used.
    pub frames: [FrameStamp; MAX_CAMERAS],
    /// Number of cameras.
    pub cameras: usize,
    /// Age of the oldest input, ns.
    pub age_ns: u64,
    /// The newest target, from this tick if [`TickFlags::ACTED`].
    pub target: JointTarget,
    /// What was remarkable.
    pub flags: TickFlags,
}

impl Tick {
    /// Appends a canonical little-endian form: equal ticks give equal bytes, on any machine.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut put = |value: u64| out.extend_from_slice(&value.to_le_bytes());
        for value in [
            self.seq,
            self.step,
            self.scheduled_ns,
            self.started_ns,
            self.wake_error_ns,
            self.skipped,
        ] {
            put(value);
        }
        let JointState {
            seq,
            captured_ns,
            len,
            position,
            velocity,
            effort,
            fault,
        } = &self.state;
        for value in [*seq, *captured_ns, *len as u64, self.state_age_ns] {
            put(value);
        }
        for joint in 0..*len {
            put(position[joint].to_bits());
            put(velocity[joint].to_bits());
            put(effort[joint].to_bits());
            put(fault_code(fault[joint]));
        }
        put(self.cameras as u64);
        for frame in &self.frames[..self.cameras] {
            put(frame.seq);
            put(frame.captured_ns);
        }
        for value in [
            self.age_ns,
            self.target.seq,
            self.target.issued_ns,
            self.target.len as u64,
        ] {
            put(value);
        }
        self.target
            .positions()
            .iter()
            .for_each(|p| put(p.to_bits()));
        put(u64::from(self.flags.bits()));
    }
}

fn fault_code(fault: JointFault) -> u64 {
    match fault {
        JointFault::None => 0,
        JointFault::Timeout => 1,
        JointFault::Corrupt => 2,
        JointFault::Alarm(bits) => 0x100 | u64::from(bits),
    }
}

/// One tick with the images that it used, for recorder, topics and panel.
#[derive(Debug, Clone, Default)]
pub struct TickRecord {
    /// Everything but pixels.
    pub tick: Tick,
    /// The images.
    pub frames: Frames,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_differ_where_ticks_do() {
        let mut state = JointState {
            len: 2,
            ..JointState::default()
        };
        let tick = Tick {
            seq: 3,
            cameras: 1,
            state,
            ..Tick::default()
        };
        let bytes = |tick: &Tick| {
            let mut bytes = Vec::new();
            tick.encode(&mut bytes);
            bytes
        };
        assert_eq!(bytes(&tick), bytes(&tick.clone()));
        state.fault[1] = JointFault::Alarm(0);
        assert_ne!(bytes(&tick), bytes(&Tick { state, ..tick }));
        let mut flags = TickFlags::default();
        flags.set(TickFlags::LATE, true);
        assert!(flags.contains(TickFlags::LATE) && !flags.contains(TickFlags::STARVED));
        assert_ne!(bytes(&tick), bytes(&Tick { flags, ..tick }));
    }
}

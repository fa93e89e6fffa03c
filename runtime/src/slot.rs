//! A latest-value slot: one thread writes, one reads, neither ever waits.
//!
//! A reader that wants every value takes a [`crate::ring`] instead. Several readers of one value
//! get one slot each.

use triple_buffer::{Input, Output, triple_buffer};

/// A value and its place in the sequence of published values; 0 is the initial one.
#[derive(Debug, Clone)]
struct Stamped<T> {
    seq: u64,
    value: T,
}

/// Makes a slot that holds `initial` until something is published.
pub fn slot<T: Clone + Send>(initial: T) -> (SlotWriter<T>, SlotReader<T>) {
    let (input, output) = triple_buffer(&Stamped {
        seq: 0,
        value: initial,
    });
    (
        SlotWriter { input, seq: 0 },
        SlotReader { output, missed: 0 },
    )
}

/// The writing end of a slot.
#[derive(Debug)]
pub struct SlotWriter<T: Send> {
    input: Input<Stamped<T>>,
    seq: u64,
}

impl<T: Send> SlotWriter<T> {
    /// Publishes `value` and returns its sequence number, from 1. An older value that nobody holds
    /// is dropped here, on the writer's side.
    pub fn publish(&mut self, value: T) -> u64 {
        self.publish_with(|held| *held = value)
    }

    /// Publishes by changing an older value in place, for values that are costly to make anew.
    pub fn publish_with(&mut self, change: impl FnOnce(&mut T)) -> u64 {
        self.seq += 1;
        let buffer = self.input.input_buffer_mut();
        change(&mut buffer.value);
        buffer.seq = self.seq;
        self.input.publish();
        self.seq
    }
}

/// The reading end of a slot.
#[derive(Debug)]
pub struct SlotReader<T: Send> {
    output: Output<Stamped<T>>,
    missed: u64,
}

impl<T: Send> SlotReader<T> {
    /// Moves to the newest value. `true` if there was one that this reader had not seen.
    pub fn update(&mut self) -> bool {
        let before = self.seq();
        let updated = self.output.update();
        self.missed += self.seq().saturating_sub(before + 1);
        updated
    }

    /// The value that [`Self::update`] last moved to.
    pub fn get(&self) -> &T {
        &self.output.peek_output_buffer().value
    }

    /// Moves to the newest value and returns it.
    pub fn latest(&mut self) -> &T {
        self.update();
        self.get()
    }

    /// Moves to the newest value and returns it if this reader had not seen it.
    pub fn take_new(&mut self) -> Option<&T> {
        if self.update() {
            Some(self.get())
        } else {
            None
        }
    }

    /// Sequence number of the value that this reader is at; 0 before the first published one.
    pub fn seq(&self) -> u64 {
        self.output.peek_output_buffer().seq
    }

    /// How many values were replaced before this reader saw them.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn reader_sees_the_newest_and_counts_the_rest() {
        let (mut writer, mut reader) = slot(0);
        assert_eq!((reader.seq(), reader.take_new()), (0, None));
        for value in [10, 20, 30] {
            writer.publish(value);
        }
        assert_eq!(reader.take_new(), Some(&30));
        assert_eq!((reader.seq(), reader.missed()), (3, 2));
        assert_eq!(reader.take_new(), None);
        writer.publish(40);
        assert_eq!((*reader.latest(), reader.missed()), (40, 2));
    }

    #[test]
    fn old_values_are_dropped_by_the_writer() {
        let (mut writer, mut reader) = slot(None::<Arc<u32>>);
        let value = Arc::new(7);
        writer.publish(Some(value.clone()));
        assert!(reader.update());
        for n in 0..3 {
            writer.publish(Some(Arc::new(n)));
        }
        // The reader has not moved on, so its value is still there.
        assert_eq!(
            (Arc::strong_count(&value), reader.get().as_deref()),
            (2, Some(&7))
        );
    }

    #[test]
    fn values_are_never_torn_and_never_go_back() {
        let (mut writer, mut reader) = slot([0u64; 64]);
        std::thread::scope(|scope| {
            scope.spawn(move || (1..=20_000).for_each(|n| _ = writer.publish([n; 64])));
            let mut last = 0;
            while last < 20_000 {
                let value = *reader.latest();
                assert!(value.iter().all(|&v| v == value[0]) && value[0] >= last);
                last = value[0];
            }
        });
    }
}

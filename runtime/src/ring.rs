//! A bounded ring that never blocks: what does not fit is dropped and counted.

use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes a ring for at most `capacity` values.
pub fn ring<T>(capacity: usize) -> (RingWriter<T>, RingReader<T>) {
    let (producer, consumer) = RingBuffer::new(capacity);
    let dropped = Arc::new(AtomicU64::new(0));
    (
        RingWriter {
            producer,
            dropped: dropped.clone(),
        },
        RingReader { consumer, dropped },
    )
}

/// The writing end of a ring.
#[derive(Debug)]
pub struct RingWriter<T> {
    producer: Producer<T>,
    dropped: Arc<AtomicU64>,
}

impl<T> RingWriter<T> {
    /// Appends `value`. `false` if the ring is full: the value is dropped, here and now, and counted.
    pub fn push(&mut self, value: T) -> bool {
        let fits = self.producer.push(value).is_ok();
        if !fits {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }

    /// How many values were dropped because the ring was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How many more values fit.
    pub fn free(&self) -> usize {
        self.producer.slots()
    }

    /// Whether the reader is gone.
    pub fn is_closed(&self) -> bool {
        self.producer.is_abandoned()
    }
}

/// The reading end of a ring.
#[derive(Debug)]
pub struct RingReader<T> {
    consumer: Consumer<T>,
    dropped: Arc<AtomicU64>,
}

impl<T> RingReader<T> {
    /// Takes the oldest value.
    pub fn pop(&mut self) -> Option<T> {
        self.consumer.pop().ok()
    }

    /// How many values wait.
    pub fn len(&self) -> usize {
        self.consumer.slots()
    }

    /// Whether no value waits.
    pub fn is_empty(&self) -> bool {
        self.consumer.is_empty()
    }

    /// How many values the writer had to drop.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Whether the writer is gone. Values may still wait.
    pub fn is_closed(&self) -> bool {
        self.consumer.is_abandoned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let (mut writer, mut reader) = ring(2);
        assert_eq!(
            [1, 2, 3, 4].map(|n| writer.push(n)),
            [true, true, false, false]
        );
        assert_eq!(
            (writer.dropped(), reader.dropped(), writer.free()),
            (2, 2, 0)
        );
        assert_eq!(
            (reader.pop(), reader.pop(), reader.pop()),
            (Some(1), Some(2), None)
        );
        assert!(writer.push(5) && reader.len() == 1);
    }

    #[test]
    fn each_end_sees_the_other_leave() {
        let (writer, reader) = ring::<u8>(1);
        drop(writer);
        assert!(reader.is_closed() && reader.is_empty());
        let (writer, reader) = ring::<u8>(1);
        drop(reader);
        assert!(writer.is_closed());
    }
}

//! In which order frames are visited: a shuffle that needs no memory and begins anywhere.

/// Rounds of the Feistel network; four make a good shuffle, two more cost nothing.
const ROUNDS: u64 = 6;

/// The order in which a [`Loader`](super::Loader) gives frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As recorded.
    #[default]
    Sequential,
    /// Every frame once, in an order that follows from the seed and the epoch alone, on every
    /// machine and in every version.
    Shuffled {
        /// Chooses the order.
        seed: u64,
        /// Which pass over the data: each has its own order.
        epoch: u64,
    },
}

impl Order {
    /// Which of `count` frames comes at `position`, which is less than `count`.
    pub fn at(self, position: u64, count: u64) -> u64 {
        match self {
            Self::Sequential => position,
            Self::Shuffled { seed, epoch } => {
                permuted(position, count, mix(seed ^ mix(epoch.wrapping_add(1))))
            }
        }
    }
}

/// A permutation of `0..count`: a Feistel network over the next power of four, walked until the
/// result is below `count` (at most four steps on average).
fn permuted(position: u64, count: u64, key: u64) -> u64 {
    if count < 2 {
        return position;
    }
    let half_bits = (64 - (count - 1).leading_zeros()).div_ceil(2);
    let mask = (1_u64 << half_bits) - 1;
    let mut value = position;
    loop {
        let (mut left, mut right) = (value >> half_bits, value & mask);
        for round in 0..ROUNDS {
            let scrambled =
                mix(right ^ key.wrapping_add(round.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            (left, right) = (right, left ^ (scrambled & mask));
        }
        value = left << half_bits | right;
        if value < count {
            return value;
        }
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit depends on every other.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_seed_means_the_same_order_for_ever() {
        let order = Order::Shuffled { seed: 7, epoch: 0 };
        let first: Vec<u64> = (0..10).map(|p| order.at(p, 10)).collect();
        // The order is a part of a training run's checkpoint: it must never change.
        assert_eq!(first, [9, 1, 7, 3, 6, 2, 4, 5, 8, 0]);
        let other = Order::Shuffled { seed: 7, epoch: 1 };
        assert_ne!(first, (0..10).map(|p| other.at(p, 10)).collect::<Vec<_>>());
    }

    #[test]
    fn neighbours_are_torn_apart() {
        let order = Order::Shuffled { seed: 1, epoch: 0 };
        let near =
            (0..9999).filter(|p| order.at(*p, 10_000).abs_diff(order.at(p + 1, 10_000)) < 100);
        // By chance 2 % are this near.
        assert!((100..320).contains(&near.count()));
    }

    proptest! {
        #[test]
        fn every_frame_comes_once(count in 1_u64..3000, seed in any::<u64>(), epoch in any::<u64>()) {
            let order = Order::Shuffled { seed, epoch };
            let mut seen = vec![false; count as usize];
            for position in 0..count {
                let at = order.at(position, count) as usize;
                prop_assert!(!seen[at]);
                seen[at] = true;
            }
        }
    }
}

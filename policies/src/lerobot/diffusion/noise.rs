//! Standard normal numbers from a seed: the same on every machine of one architecture.

/// A generator of standard normal numbers: xoshiro256++ (Blackman and Vigna, 2019) and the
/// transformation of Box and Muller.
#[derive(Debug, Clone, PartialEq)]
pub struct Normal {
    state: [u64; 4],
    spare: Option<f32>,
}

impl Normal {
    /// Starts from a seed; any number is as good as any other.
    pub fn new(seed: u64) -> Self {
        // SplitMix64 spreads a small seed over the whole state, as the generator's authors advise.
        let mut next = seed;
        let state = std::array::from_fn(|_| {
            next = next.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = next;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        });
        Self { state, spare: None }
    }

    /// Fills a slice.
    pub fn fill(&mut self, values: &mut [f32]) {
        for value in values {
            *value = self.draw();
        }
    }

    fn draw(&mut self) -> f32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        // Above 0, so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some((radius * sine) as f32);
        (radius * cosine) as f32
    }

    /// From 0 to below 1, with 53 bits.
    fn uniform(&mut self) -> f64 {
        (self.word() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    fn word(&mut self) -> u64 {
        let s = &mut self.state;
        let word = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 200_000;

    fn sample(seed: u64) -> Vec<f64> {
        let mut values = vec![0.0f32; COUNT];
        Normal::new(seed).fill(&mut values);
        values.into_iter().map(f64::from).collect()
    }

    /// Φ, by Simpson's rule on the density.
    fn cumulative(x: f64) -> f64 {
        let density = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let (parts, to) = (200, x.abs());
        let h = to / f64::from(parts);
        let inner: f64 = (1..parts)
            .map(|i| density(f64::from(i) * h) * if i % 2 == 1 { 4.0 } else { 2.0 })
            .sum();
        let area = h / 3.0 * (density(0.0) + inner + density(to));
        0.5 + area.copysign(x)
    }

    #[test]
    fn moments_are_those_of_the_standard_normal_distribution() {
        for seed in [0, 1, 42] {
            let values = sample(seed);
            let moment =
                |power: i32| values.iter().map(|x| x.powi(power)).sum::<f64>() / COUNT as f64;
            // Five standard errors of each.
            let limit = |variance: f64| 5.0 * (variance / COUNT as f64).sqrt();
            assert!(moment(1).abs() < limit(1.0), "mean {}", moment(1));
            assert!(
                (moment(2) - 1.0).abs() < limit(2.0),
                "variance {}",
                moment(2)
            );
            assert!(moment(3).abs() < limit(15.0), "skewness {}", moment(3));
            assert!(
                (moment(4) - 3.0).abs() < limit(96.0),
                "kurtosis {}",
                moment(4)
            );
        }
    }

    #[test]
    fn the_distribution_passes_kolmogorov_and_smirnov() {
        for seed in [0, 7] {
            let mut values = sample(seed);
            values.sort_by(f64::total_cmp);
            let n = COUNT as f64;
            let distance = values.iter().enumerate().fold(0.0f64, |worst, (i, x)| {
                let wanted = cumulative(*x);
                worst
                    .max((wanted - i as f64 / n).abs())
                    .max(((i + 1) as f64 / n - wanted).abs())
            });
            // Exceeded once in 1000 samples of a true normal distribution.
            assert!(distance < 1.95 / n.sqrt(), "{distance}");
        }
    }

    #[test]
    fn neighbours_are_independent() {
        let values = sample(3);
        for lag in 1..4 {
            let pairs = values.iter().zip(&values[lag..]);
            let covariance = pairs.map(|(a, b)| a * b).sum::<f64>() / COUNT as f64;
            assert!(
                covariance.abs() < 5.0 / (COUNT as f64).sqrt(),
                "{lag}: {covariance}"
            );
        }
    }

    #[test]
    fn a_seed_says_everything() {
        let draw = |seed| {
            let mut values = [0.0; 5];
            Normal::new(seed).fill(&mut values);
            values
        };
        assert_eq!(draw(11), draw(11));
        assert_ne!(draw(11), draw(12));
        // Odd lengths do not lose the second of a pair.
        let (mut whole, mut parts) = ([0.0; 6], [0.0; 6]);
        Normal::new(5).fill(&mut whole);
        let mut normal = Normal::new(5);
        normal.fill(&mut parts[..3]);
        normal.fill(&mut parts[3..]);
        assert_eq!(whole, parts);
    }
}

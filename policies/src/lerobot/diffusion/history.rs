//! The last observations, oldest first, as the network is told them.

/// A queue of fixed length. The first observation after a reset stands for its own past.
#[derive(Debug, Clone)]
pub(super) struct History {
    values: Vec<f32>,
    width: usize,
    begun: bool,
}

impl History {
    /// For `steps` observations of `width` values each.
    pub(super) fn new(steps: usize, width: usize) -> Self {
        Self {
            values: vec![0.0; steps * width],
            width,
            begun: false,
        }
    }

    /// Makes room for a new observation and lets `write` fill it.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut [f32])) {
        let newest = self.values.len().saturating_sub(self.width);
        if self.begun {
            self.values.copy_within(self.width.., 0);
        }
        write(&mut self.values[newest..]);
        if !self.begun {
            for step in 0..newest / self.width.max(1) {
                self.values.copy_within(newest.., step * self.width);
            }
            self.begun = true;
        }
    }

    /// All observations, oldest first; `None` before the first one.
    pub(super) fn all(&self) -> Option<&[f32]> {
        self.begun.then_some(&self.values)
    }

    /// Takes all observations of another history of the same form.
    pub(super) fn set(&mut self, values: &[f32]) {
        if values.len() == self.values.len() {
            self.values.copy_from_slice(values);
            self.begun = true;
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.begun = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_observation_stands_for_its_past_and_the_oldest_leaves_first() {
        let mut history = History::new(3, 2);
        assert_eq!(history.all(), None);
        for (step, wanted) in [
            (1.0, [1.0, 1.5, 1.0, 1.5, 1.0, 1.5]),
            (2.0, [1.0, 1.5, 1.0, 1.5, 2.0, 2.5]),
            (3.0, [1.0, 1.5, 2.0, 2.5, 3.0, 3.5]),
            (4.0, [2.0, 2.5, 3.0, 3.5, 4.0, 4.5]),
        ] {
            history.push(|row| row.copy_from_slice(&[step, step + 0.5]));
            assert_eq!(history.all(), Some(wanted.as_slice()));
        }
        let mut other = History::new(3, 2);
        other.set(history.all().unwrap());
        assert_eq!(other.all(), history.all());
        history.clear();
        assert_eq!(history.all(), None);
        history.push(|row| row.copy_from_slice(&[9.0, 8.0]));
        assert_eq!(
            history.all(),
            Some([9.0, 8.0, 9.0, 8.0, 9.0, 8.0].as_slice())
        );
    }

    #[test]
    fn one_step_is_enough() {
        let mut history = History::new(1, 1);
        history.push(|row| row[0] = 1.0);
        history.push(|row| row[0] = 2.0);
        assert_eq!(history.all(), Some([2.0].as_slice()));
    }
}

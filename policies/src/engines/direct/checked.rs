//! A fast engine that has to agree with a general one before it is believed.

use crate::engine::{Engine, Tensor, TensorInfo};

/// Observations that are computed by both: the zeros of loading, and the first real ones.
const COMPARED: usize = 4;

/// Runs the general engine and the fast one on the first observations and compares. If they agree,
/// the general one is dropped, with its copy of the weights; if not, the fast one is.
#[derive(Debug)]
pub struct Checked {
    /// Gives the answers: the general engine until the fast one is believed.
    used: Box<dyn Engine>,
    /// The fast engine while it is compared.
    fast: Option<Box<dyn Engine>>,
    /// What the fast engine gave.
    answers: Vec<Tensor>,
    compared: usize,
    tolerance: f32,
}

impl Checked {
    /// `fast` must have the inputs and outputs of `general`; `tolerance` is how far the two may be apart, as
    /// a share of the largest value of a tensor (at least 1).
    pub fn new(general: Box<dyn Engine>, fast: Box<dyn Engine>, tolerance: f32) -> Self {
        Self {
            answers: vec![Tensor::default(); general.outputs().len()],
            used: general,
            fast: Some(fast),
            compared: 0,
            tolerance,
        }
    }

    fn compare(&mut self, inputs: &[Tensor], outputs: &[Tensor]) {
        let Some(mut fast) = self.fast.take() else {
            return;
        };
        let problem = match fast.run(inputs, &mut self.answers) {
            Ok(()) => difference(outputs, &self.answers, self.tolerance),
            Err(problem) => Some(problem),
        };
        if let Some(problem) = problem {
            let general = self.used.name();
            tracing::warn!(
                "the fast path of this network is not used: {problem}; going on with {general}"
            );
            return;
        }
        self.compared += 1;
        if self.compared == COMPARED {
            self.used = fast;
        } else {
            self.fast = Some(fast);
        }
    }
}

/// What differs by more than the tolerance.
fn difference(general: &[Tensor], fast: &[Tensor], tolerance: f32) -> Option<String> {
    for (index, (general, fast)) in general.iter().zip(fast).enumerate() {
        if general.shape != fast.shape {
            let (a, b) = (&general.shape, &fast.shape);
            return Some(format!(
                "output {index} has the shape {b:?} instead of {a:?}"
            ));
        }
        let size = general
            .data
            .iter()
            .fold(1.0f32, |size, x| size.max(x.abs()));
        let agree = |(a, b): (&f32, &f32)| {
            (a - b).abs() <= tolerance * size || a.is_nan() && b.is_nan() || a == b
        };
        let Some(at) = general
            .data
            .iter()
            .zip(&fast.data)
            .position(|pair| !agree(pair))
        else {
            continue;
        };
        let (a, b) = (general.data[at], fast.data[at]);
        return Some(format!(
            "value {at} of output {index} is {b} instead of {a}"
        ));
    }
    None
}

impl Engine for Checked {
    fn name(&self) -> &'static str {
        self.used.name()
    }

    fn inputs(&self) -> &[TensorInfo] {
        self.used.inputs()
    }

    fn outputs(&self) -> &[TensorInfo] {
        self.used.outputs()
    }

    fn run(&mut self, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), String> {
        self.used.run(inputs, outputs)?;
        if self.fast.is_some() {
            self.compare(inputs, outputs);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Constant(&'static str, f32);

    impl Engine for Constant {
        fn name(&self) -> &'static str {
            self.0
        }

        fn inputs(&self) -> &[TensorInfo] {
            &[]
        }

        fn outputs(&self) -> &[TensorInfo] {
            &[]
        }

        fn run(&mut self, _: &[Tensor], outputs: &mut [Tensor]) -> Result<(), String> {
            outputs[0] = Tensor {
                shape: vec![1],
                data: vec![self.1],
            };
            Ok(())
        }
    }

    fn checked(fast: f32) -> (Checked, Vec<Tensor>) {
        let general = Box::new(Constant("general", 1.0));
        let mut checked = Checked::new(general, Box::new(Constant("fast", fast)), 2e-5);
        checked.answers = vec![Tensor::default()];
        (checked, vec![Tensor::default()])
    }

    #[test]
    fn an_engine_that_agrees_takes_over() {
        let (mut engine, mut out) = checked(1.000_01);
        for _ in 0..COMPARED {
            engine.run(&[], &mut out).unwrap();
            assert_eq!(out[0].data, [1.0]);
        }
        assert_eq!(engine.name(), "fast");
        engine.run(&[], &mut out).unwrap();
        assert_eq!(out[0].data, [1.000_01]);
    }

    #[test]
    fn an_engine_that_differs_is_not_used() {
        for wrong in [1.001, f32::NAN] {
            let (mut engine, mut out) = checked(wrong);
            for _ in 0..2 * COMPARED {
                engine.run(&[], &mut out).unwrap();
                assert_eq!((engine.name(), out[0].data[0]), ("general", 1.0));
            }
        }
    }
}

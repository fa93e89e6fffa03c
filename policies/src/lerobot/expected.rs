//! What a network needs of its weights; everything that does not fit is said at once.

use super::header::shortened;
use super::weights::{Weight, Weights, capped};
use crate::error::PolicyError;
use std::collections::BTreeSet;

/// Takes tensors by name and shape, and collects what is missing, mis-shaped or not finite.
#[derive(Debug)]
pub struct Expected<'w> {
    weights: &'w Weights,
    taken: BTreeSet<String>,
    problems: Vec<String>,
}

impl<'w> Expected<'w> {
    /// Nothing taken yet.
    pub fn new(weights: &'w Weights) -> Self {
        Self {
            weights,
            taken: BTreeSet::new(),
            problems: Vec::new(),
        }
    }

    /// The tensor `name`, if it has this shape and finite elements. Otherwise a problem is noted,
    /// and [`Expected::finish`] will fail.
    pub fn get(&mut self, name: &str, shape: &[usize]) -> Option<Weight<'w>> {
        let Some(weight) = self.weights.get(name) else {
            self.problems
                .push(format!("tensor `{name}` {shape:?} is missing"));
            return None;
        };
        self.taken.insert(name.to_owned());
        if weight.shape != shape {
            self.problems.push(format!(
                "tensor `{name}` is {:?} where {shape:?} is needed",
                weight.shape
            ));
            return None;
        }
        if let Some(problem) = weight.not_finite() {
            self.problems.push(problem);
            return None;
        }
        Some(weight)
    }

    /// Notes another contradiction between weights and configuration.
    pub fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Ends the list. `ignored` tells which of the tensors that nobody took are known to be of no
    /// use; a warning names the others.
    ///
    /// # Errors
    /// With everything that did not fit.
    pub fn finish(self, ignored: impl Fn(&str) -> bool) -> Result<(), PolicyError> {
        if !self.problems.is_empty() {
            return Err(PolicyError::Weights {
                path: self.weights.path().to_owned(),
                problems: capped(self.problems),
            });
        }
        let unused = self.weights.names();
        let unused: Vec<String> = unused
            .filter(|name| !self.taken.contains(*name) && !ignored(name))
            .map(shortened)
            .collect();
        if !unused.is_empty() {
            let path = self.weights.path().display();
            let names = capped(unused).join(", ");
            tracing::warn!("{path} holds tensors that this policy does not use: {names}");
        }
        Ok(())
    }
}

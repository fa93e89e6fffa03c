//! Builds the graphs of a checkpoint and reports what does not fit on its weights, once for all of
//! them.

use super::checkpoint::Checkpoint;
use super::legacy;
use super::weights::capped;
use crate::error::PolicyError;
use crate::graph::{Graph, GraphBuilder, GraphError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Collects graphs and the problems of building them.
#[derive(Debug)]
pub(crate) struct Parts {
    checkpoint: Arc<Checkpoint>,
    used: BTreeSet<String>,
    problems: Vec<String>,
}

impl Parts {
    pub(crate) fn new(checkpoint: &Arc<Checkpoint>) -> Self {
        Self {
            checkpoint: Arc::clone(checkpoint),
            used: BTreeSet::new(),
            problems: Vec::new(),
        }
    }

    /// Takes a builder that is complete, or what stopped it.
    pub(crate) fn add(&mut self, built: Result<GraphBuilder, GraphError>) -> Option<Graph> {
        match built.and_then(GraphBuilder::finish_with_used) {
            Ok((graph, used)) => {
                self.used.extend(used);
                Some(graph)
            }
            Err(GraphError::Weights { problems }) => {
                self.problems.extend(problems);
                None
            }
            Err(error) => {
                self.problems.push(error.to_string());
                None
            }
        }
    }

    /// Refuses missing, mis-shaped and NaN tensors, and warns of those that no part uses except
    /// where they are known to be `needless`.
    pub(crate) fn finish(mut self, needless: &dyn Fn(&str) -> bool) -> Result<(), PolicyError> {
        let weights = &self.checkpoint.weights;
        let used = weights.iter().filter(|w| self.used.contains(w.name));
        self.problems.extend(used.filter_map(|w| w.not_finite()));
        if !self.problems.is_empty() {
            self.problems.sort();
            self.problems.dedup();
            return Err(PolicyError::Weights {
                path: weights.path().to_owned(),
                problems: capped(self.problems),
            });
        }
        let unknown = weights.names().filter(|name| {
            !self.used.contains(*name) && !needless(name) && !legacy::is_statistic(name)
        });
        let unknown: Vec<String> = unknown.map(|name| format!("`{name}`")).collect();
        if !unknown.is_empty() {
            let path = weights.path().display();
            let unknown = capped(unknown).join(", ");
            tracing::warn!("{path}: tensors that this policy does not use: {unknown}");
        }
        Ok(())
    }
}

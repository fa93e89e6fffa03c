//! The network in use beside the same network computed plainly, once, on the first observation.
//!
//! It happens on a thread of its own: the plain network is slow, and nobody is to wait for it before the
//! first action.

use crate::error::PolicyError;
use crate::lerobot::model::{ActOptions, Model};
use std::thread::JoinHandle;

/// How far both may be apart, as a share of the chunk's range: what the order of sums makes of
/// single precision in deep networks, with room.
const TOLERANCE: f32 = 1e-4;

/// Copies of everything that the network in use was given, and what it made of that.
#[derive(Debug)]
pub(super) struct Seen {
    images: Vec<Vec<f32>>,
    state: Vec<f32>,
    environment: Vec<f32>,
    past: Option<Vec<f32>>,
    noise: Vec<f32>,
    found: Vec<f32>,
}

impl Seen {
    /// What `model` was given for its newest chunk, `actions`.
    pub(super) fn of(
        model: &mut dyn Model,
        [state, environment]: [&[f32]; 2],
        options: &ActOptions<'_>,
        actions: &[f32],
    ) -> Result<Self, String> {
        Ok(Self {
            images: (0..model.images())
                .map(|index| model.image_mut(index).to_vec())
                .collect(),
            state: state.to_vec(),
            environment: environment.to_vec(),
            past: model.past().map(<[f32]>::to_vec),
            noise: options.noise.unwrap_or_default().to_vec(),
            found: model.probe(options)?.unwrap_or(actions).to_vec(),
        })
    }
}

/// The reference network, and how far the network in use is from it as a share of the range.
type Compared = Result<(f32, Box<dyn Model>), PolicyError>;

/// A check that is under way.
#[derive(Debug)]
pub(super) struct SelfCheck {
    policy: String,
    /// There until it is joined.
    thread: Option<JoinHandle<Compared>>,
}

impl SelfCheck {
    /// Starts to compute what was `seen` again, on the network that `reference` opens.
    pub(super) fn start(
        policy: String,
        seen: Seen,
        reference: impl FnOnce() -> Result<Box<dyn Model>, PolicyError> + Send + 'static,
    ) -> Option<Self> {
        let name = policy.clone();
        let thread = std::thread::Builder::new()
            .name("self-check".to_owned())
            .spawn(move || {
                let mut reference = reference()?;
                let apart = compare(&mut *reference, &seen);
                let apart = apart.map_err(|problem| PolicyError::Run {
                    policy: name,
                    engine: "reference",
                    problem,
                })?;
                Ok((apart, reference))
            });
        match thread {
            Ok(thread) => Some(Self {
                policy,
                thread: Some(thread),
            }),
            Err(error) => {
                unchecked(&policy, &error.to_string());
                None
            }
        }
    }

    /// Whether [`SelfCheck::end`] would not wait.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends the check. Returns the reference model, without a past, when the two differ.
    pub(super) fn end(mut self) -> Option<Box<dyn Model>> {
        let thread = self.thread.take()?;
        let name = &self.policy;
        match thread.join() {
            Ok(Ok((apart, _))) if apart <= TOLERANCE => {
                tracing::debug!(
                    "policy `{name}`: the plain network agrees to {apart:e} of the range"
                );
                None
            }
            Ok(Ok((apart, reference))) => {
                tracing::warn!(
                    "policy `{name}`: the optimised network is {apart:e} of the range away from the plain one on the \
                     first observation; going on with the plain one, which is slower. Please report it"
                );
                Some(reference)
            }
            Ok(Err(problem)) => {
                unchecked(name, &problem.to_string());
                None
            }
            Err(_) => {
                unchecked(name, "the check panicked");
                None
            }
        }
    }
}

/// A program that ends while ONNX Runtime computes is killed by it, so a check that nobody waits for is waited for here.
impl Drop for SelfCheck {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // What it found concerns nobody any more.
            let _ = thread.join();
        }
    }
}

fn unchecked(policy: &str, problem: &str) {
    tracing::warn!("policy `{policy}`: could not be checked against the plain network: {problem}");
}

fn compare(reference: &mut dyn Model, seen: &Seen) -> Result<f32, String> {
    for (index, image) in seen.images.iter().enumerate() {
        reference.image_mut(index).copy_from_slice(image);
        reference.encode(index)?;
    }
    reference.observe(&seen.state, &seen.environment);
    if let Some(past) = &seen.past {
        reference.set_past(past);
    }
    reference.prefix()?;
    let options = ActOptions {
        noise: (!seen.noise.is_empty()).then_some(seen.noise.as_slice()),
        ..ActOptions::default()
    };
    if let Some(short) = reference.probe(&options)? {
        return Ok(distance(&seen.found, short));
    }
    Ok(distance(&seen.found, reference.act(&options)?))
}

/// Largest difference as a share of the range; NaN and infinity count as infinitely far.
fn distance(found: &[f32], wanted: &[f32]) -> f32 {
    let low = wanted.iter().copied().fold(f32::INFINITY, f32::min);
    let high = wanted.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let differences = found.iter().zip(wanted).map(|(a, b)| (a - b).abs());
    let largest = differences.fold(
        0.0,
        |a: f32, b| if b.is_nan() { f32::INFINITY } else { a.max(b) },
    );
    match largest / (high - low) {
        _ if found.len() != wanted.len() => f32::INFINITY,
        _ if largest == 0.0 => 0.0,
        share if share.is_nan() => f32::INFINITY,
        share => share,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Adds what it observed in its past to a bias; takes one image.
    #[derive(Debug)]
    struct Sum {
        image: [f32; 1],
        past: [f32; 2],
        bias: f32,
        actions: [f32; 2],
    }

    fn sum(bias: f32) -> Box<Sum> {
        Box::new(Sum {
            image: [0.0],
            past: [0.0; 2],
            bias,
            actions: [0.0; 2],
        })
    }

    impl Model for Sum {
        fn engine(&self) -> &'static str {
            "sum"
        }
        fn images(&self) -> usize {
            1
        }
        fn image_mut(&mut self, _index: usize) -> &mut [f32] {
            &mut self.image
        }
        fn encode(&mut self, _index: usize) -> Result<(), String> {
            Ok(())
        }
        fn observe(&mut self, state: &[f32], _environment: &[f32]) {
            self.past = [self.past[1], state[0]];
        }
        fn chunk(&self) -> (usize, usize) {
            (2, 1)
        }
        fn act(&mut self, _options: &ActOptions<'_>) -> Result<&[f32], String> {
            self.actions = [self.past[0] + self.image[0] + self.bias, self.past[1]];
            Ok(&self.actions)
        }
        fn past(&self) -> Option<&[f32]> {
            Some(&self.past)
        }
        fn set_past(&mut self, past: &[f32]) {
            self.past.copy_from_slice(past);
        }
        fn reset(&mut self) {
            self.past = [0.0; 2];
        }
    }

    fn check(bias: f32) -> Option<Box<dyn Model>> {
        let mut model = sum(0.0);
        model.observe(&[3.0], &[]);
        model.observe(&[5.0], &[]);
        model.image_mut(0)[0] = 1.0;
        let options = ActOptions::default();
        let actions = model.act(&options).unwrap().to_vec();
        assert_eq!(actions, [4.0, 5.0]);
        let seen = Seen::of(&mut *model, [&[5.0], &[]], &options, &actions).unwrap();
        SelfCheck::start("p".to_owned(), seen, move || Ok(sum(bias)))
            .unwrap()
            .end()
    }

    #[test]
    fn what_both_saw_is_compared_and_the_plain_network_wins() {
        assert!(check(0.0).is_none());
        assert!(check(1e-6).is_none());
        assert!(check(1e-3).is_some());
        assert!(check(f32::NAN).is_some());
    }

    #[test]
    fn a_check_that_is_dropped_is_over() {
        let mut model = sum(0.0);
        let state = [&[0.0][..], &[]];
        let seen = Seen::of(&mut *model, state, &ActOptions::default(), &[0.0; 2]).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let slow = move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            over.store(true, Ordering::SeqCst);
            Ok(sum(0.0) as Box<dyn Model>)
        };
        drop(SelfCheck::start("p".to_owned(), seen, slow).unwrap());
        assert!(is_over.load(Ordering::SeqCst));
    }

    #[test]
    fn a_reference_that_cannot_be_opened_changes_nothing() {
        let mut model = sum(0.0);
        let seen = Seen::of(
            &mut *model,
            [&[0.0], &[]],
            &ActOptions::default(),
            &[0.0; 2],
        )
        .unwrap();
        let failing = || {
            Err(PolicyError::Run {
                policy: "p".to_owned(),
                engine: "reference",
                problem: "no memory".to_owned(),
            })
        };
        let check = SelfCheck::start("p".to_owned(), seen, failing).unwrap();
        assert!(check.end().is_none());
    }
}

//! Evaluation: the same seeds give the same episodes to the bit, whoever plays them and in whatever
//! company, pictures included.

use sinew_runtime::control::{ActionOutcome, ActionSource, Observation};
use sinew_runtime::{JointTarget, StopCause, StopToken};
use sinew_sim::eval::{Contestant, EvalError, Score, evaluate};
use sinew_sim::pick::{DOF, Episode, PickTask, Rules, ScriptedPick, Surroundings};
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

type Made<C> = Result<C, Box<dyn Error + Send + Sync>>;

/// Moves the arm by what it sees: each picture's mean brightness is a joint's angle.
struct Gazer(Surroundings);

impl ActionSource for Gazer {
    fn act(&mut self, observation: &Observation, target: &mut JointTarget) -> ActionOutcome {
        for (joint, frame) in observation.frames.iter().flatten().enumerate() {
            assert_eq!((frame.width, frame.height), (64, 48 - 8 * joint as u32));
            assert_eq!(frame.captured_ns, observation.now_ns);
            let sum: u64 = frame.data.iter().map(|&x| u64::from(x)).sum();
            target.position[joint] = sum as f64 / frame.data.len() as f64 / 255.0;
        }
        target.position[5] = self.0.values()[0];
        ActionOutcome::Act
    }
}

impl Contestant for Gazer {
    fn begin(&mut self, _seed: u64) {}
    fn source(&mut self) -> &mut dyn ActionSource {
        self
    }
}

fn gaze(workers: usize) -> Vec<Episode> {
    let mut rules = Rules::new(20.0).unwrap();
    rules.limit_s = 1.0;
    rules.pictures = [Some((64, 48)), Some((64, 40))];
    let make = |known| Made::Ok(Gazer(known));
    evaluate(7..13, rules, workers, make, |_| (), &StopToken::new()).unwrap()
}

#[test]
fn what_is_seen_does_not_depend_on_the_number_of_workers() {
    let alone = gaze(1);
    assert_eq!(alone, gaze(3));
    assert_eq!(alone.len(), 6);
    assert!(
        alone
            .iter()
            .all(|episode| episode.steps == 20 && !episode.success)
    );
    let mut traces: Vec<_> = alone.iter().map(|episode| &episode.trace).collect();
    traces.dedup();
    assert_eq!(traces.len(), 6, "every seed is another episode");
}

/// The scripted operator, which knows the task's state by a twin of its own.
struct Operator {
    twin: PickTask,
    script: ScriptedPick,
    seed: u64,
    plays: bool,
}

impl ActionSource for Operator {
    fn act(&mut self, observation: &Observation, target: &mut JointTarget) -> ActionOutcome {
        if !self.plays {
            return ActionOutcome::Hold;
        }
        // The twin repeats what the real one does, so its state is the same.
        let now_s = observation.now_ns as f64 * 1e-9;
        let measured = std::array::from_fn(|joint| observation.state.position[joint]);
        let goal = self
            .script
            .tick(now_s, &measured, &self.twin.state())
            .unwrap();
        let step = std::f64::consts::TAU / 4096.0;
        let rounded = goal.map(|rad| (rad / step).round() * step);
        self.twin.advance(&rounded, 0.02).unwrap();
        target.position[..DOF].copy_from_slice(&rounded);
        ActionOutcome::Act
    }
}

impl Contestant for Operator {
    fn begin(&mut self, seed: u64) {
        self.seed = seed;
        self.plays = !seed.is_multiple_of(3);
        self.twin.reset(seed).unwrap();
        self.script = ScriptedPick::new(&self.twin).unwrap();
    }
    fn source(&mut self) -> &mut dyn ActionSource {
        self
    }
}

fn operator(_: Surroundings) -> Made<Operator> {
    let twin = PickTask::new(0)?;
    Ok(Operator {
        script: ScriptedPick::new(&twin)?,
        twin,
        seed: 0,
        plays: true,
    })
}

#[test]
fn successes_are_counted_and_timed() {
    let rules = Rules::new(50.0).unwrap();
    let told = AtomicU64::new(0);
    let note = |_: &Episode| _ = told.fetch_add(1, Ordering::Relaxed);
    let episodes = evaluate(30..36, rules, 2, operator, note, &StopToken::new()).unwrap();
    assert_eq!(told.load(Ordering::Relaxed), 6);
    let seeds: Vec<u64> = episodes.iter().map(|episode| episode.seed).collect();
    assert_eq!(seeds, [30, 31, 32, 33, 34, 35]);
    for episode in &episodes {
        let plays = episode.seed % 3 != 0;
        assert_eq!(episode.success, plays, "{episode:?}");
        assert_eq!(episode.time_s.is_some(), plays);
        assert!(plays == (episode.distance_m < 0.03));
        if let Some(time) = episode.time_s {
            assert!((3.0..15.0).contains(&time));
            // The episode ends half a second after the task was done for good.
            assert_eq!(episode.steps, (time * 50.0).round() as u64 + 25);
        } else {
            assert_eq!(episode.steps, 25 * 50);
        }
    }
    let score = Score::of(&episodes);
    assert_eq!((score.episodes, score.successes), (6, 4));
    assert!(
        (score.interval_95[0] - 0.3).abs() < 1e-3 && (score.interval_95[1] - 0.9032).abs() < 1e-3
    );
}

#[test]
fn an_evaluation_ends_early_with_its_reason() {
    let rules = Rules::new(30.0).unwrap();
    let go = StopToken::new();
    let none = evaluate(5..5, rules, 2, operator, |_| (), &go);
    assert!(matches!(none, Err(EvalError::Episodes { episodes: 0 })));
    let fails = |_| Made::<Operator>::Err("no such policy".into());
    let error = evaluate(0..9, rules, 3, fails, |_| (), &go).err().unwrap();
    assert_eq!(error.to_string(), "no such policy");
    let stopped = StopToken::new();
    stopped.request(StopCause::Requested);
    let error = evaluate(0..9, rules, 2, operator, |_| (), &stopped);
    assert!(matches!(error, Err(EvalError::Stopped)));
    assert!(Rules::new(f64::NAN).is_err() && Rules::new(1000.0).is_err());
}

/// Fails in the middle of one episode.
struct Faulty(u64);

impl ActionSource for Faulty {
    fn act(&mut self, observation: &Observation, _: &mut JointTarget) -> ActionOutcome {
        match (self.0, observation.step) {
            (4, 10) => ActionOutcome::Failed,
            _ => ActionOutcome::Hold,
        }
    }
    fn failure(&mut self) -> Option<String> {
        Some("the weights are gone".to_owned())
    }
}

impl Contestant for Faulty {
    fn begin(&mut self, seed: u64) {
        self.0 = seed;
    }
    fn source(&mut self) -> &mut dyn ActionSource {
        self
    }
}

#[test]
fn a_failure_names_its_episode() {
    let rules = Rules::new(30.0).unwrap();
    let make = |_| Made::Ok(Faulty(0));
    let error = evaluate(0..20, rules, 2, make, |_| (), &StopToken::new())
        .err()
        .unwrap();
    let message = error.to_string();
    assert!(
        message.contains("seed 4") && message.ends_with("the weights are gone"),
        "{message}"
    );
}

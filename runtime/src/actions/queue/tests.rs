use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn chunk(start: u64, values: &[f64]) -> ChunkBuf {
    let mut chunk = ChunkBuf::new(values.len(), 1);
    chunk.restart(start);
    values
        .iter()
        .for_each(|&value| assert!(chunk.push(&[value])));
    chunk
}

fn queue(merge: Merge, start: ChunkStart) -> ActionQueue {
    ActionQueue::new(QueueConfig {
        merge,
        start,
        ..QueueConfig::new(1, 8)
    })
}

const LATEST: Merge = Merge::Blend(Blend::LatestOnly);

fn take(queue: &mut ActionQueue, steps: std::ops::Range<u64>) -> Vec<Option<f64>> {
    steps
        .map(|step| queue.pop(step).map(|action| action[0]))
        .collect()
}

#[test]
fn late_actions_are_discarded_from_the_front() {
    let mut queue = queue(LATEST, ChunkStart::AtObservation);
    queue.push(&chunk(10, &[1.0, 2.0, 3.0, 4.0]), 12);
    assert_eq!(take(&mut queue, 12..15), [Some(3.0), Some(4.0), None]);
    assert_eq!(queue.dry(true), Dry::Starved);
    let counters = queue.counters();
    assert_eq!(
        (counters.expired, counters.executed, counters.starved),
        (2, 2, 1)
    );
}

#[test]
fn a_wholly_late_chunk_changes_nothing() {
    let mut queue = queue(LATEST, ChunkStart::AtObservation);
    queue.push(&chunk(10, &[1.0; 4]), 10);
    queue.push(&chunk(0, &[9.0; 4]), 10);
    assert_eq!(take(&mut queue, 10..14), [Some(1.0); 4]);
}

#[test]
fn overlap_follows_the_merge_policy() {
    let blended = |value| [Some(1.0), Some(value), Some(value), None];
    for (merge, expected) in [
        (LATEST, blended(10.0)),
        (Merge::Blend(Blend::WeightedAverage), blended(7.3)),
        (Merge::Blend(Blend::Average), blended(5.5)),
        (Merge::Blend(Blend::Conservative), blended(3.7)),
        (
            Merge::Ensemble { coeff: 0.0 },
            [Some(1.0), Some(5.5), Some(5.5), Some(1.0)],
        ),
    ] {
        let mut queue = queue(merge, ChunkStart::AtObservation);
        queue.push(&chunk(0, &[1.0; 4]), 0);
        queue.push(&chunk(1, &[10.0; 2]), 0);
        let taken = take(&mut queue, 0..4);
        let close = taken.iter().zip(expected).all(|pair| match pair {
            (Some(is), Some(wanted)) => (is - wanted).abs() < 1e-12,
            (is, wanted) => *is == wanted,
        });
        assert!(close, "{merge:?}: {taken:?}");
        assert_eq!(queue.counters().merged, 2);
    }
}

#[test]
fn blends_are_known_by_lerobots_names() {
    for blend in Blend::ALL {
        assert_eq!(blend.name().parse(), Ok(blend));
        let (old, new) = blend.weights();
        assert!((old + new - 1.0).abs() < 1e-12);
    }
    assert!(
        "newest"
            .parse::<Blend>()
            .unwrap_err()
            .contains("latest_only")
    );
}

#[test]
fn arrival_mode_appends() {
    let mut queue = queue(LATEST, ChunkStart::AtArrival);
    queue.push(&chunk(0, &[1.0, 2.0]), 5);
    queue.push(&chunk(0, &[3.0]), 5);
    assert_eq!(
        take(&mut queue, 5..9),
        [Some(1.0), Some(2.0), Some(3.0), None]
    );
}

#[test]
fn what_is_not_used_of_a_chunk_is_left_out() {
    let mut queue = ActionQueue::new(QueueConfig {
        used: 2,
        refill_at: 0,
        start: ChunkStart::AtArrival,
        ..QueueConfig::new(1, 8)
    });
    queue.push(&chunk(0, &[1.0, 2.0, 3.0]), 4);
    assert!(!queue.wants_refill(5) && queue.wants_refill(6));
    assert_eq!(take(&mut queue, 4..7), [Some(1.0), Some(2.0), None]);
}

#[test]
fn a_dry_queue_holds_for_as_long_as_it_may() {
    let mut queue = ActionQueue::new(QueueConfig {
        hold: 2,
        ..QueueConfig::new(1, 8)
    });
    assert_eq!(queue.dry(true), Dry::NotBegun);
    queue.push(&chunk(0, &[1.0]), 0);
    let mut judged = |steps: std::ops::Range<u64>, awaited| -> Vec<Option<Dry>> {
        steps
            .map(|step| match queue.pop(step) {
                Some(_) => None,
                None => Some(queue.dry(awaited)),
            })
            .collect()
    };
    assert_eq!(
        judged(0..4, true),
        [None, Some(Dry::Hold), Some(Dry::Hold), Some(Dry::Starved)]
    );
    assert_eq!(judged(4..5, false), [Some(Dry::Starved)]);
    queue.push(&chunk(5, &[1.0]), 5);
    assert!(queue.pop(5).is_some() && queue.pop(6).is_none());
    assert_eq!(queue.dry(true), Dry::Hold, "the count begins anew");
    assert_eq!((queue.counters().held, queue.counters().starved), (3, 2));
}

#[test]
fn without_a_fresh_picture_the_policy_is_not_asked() {
    let mut queue = ActionQueue::new(QueueConfig {
        cameras: 0b10,
        ..QueueConfig::new(1, 8)
    });
    let mut observation = Observation {
        stale_cameras: 0b01,
        ..Observation::default()
    };
    assert!(queue.is_due(&observation), "it looks at the other camera");
    observation.stale_cameras = 0b10;
    assert!(!queue.is_due(&observation));
    assert_eq!(queue.counters().stale, 1);
    assert_eq!(queue.dry(false), Dry::Starved, "so that a run gives up");
    queue.push(&chunk(0, &[1.0; 8]), 0);
    assert!(!queue.is_due(&observation), "it is not time to ask");
    assert_eq!(queue.counters().stale, 1);
}

#[test]
fn skipped_steps_are_counted() {
    let mut queue = queue(LATEST, ChunkStart::AtObservation);
    queue.push(&chunk(0, &[1.0, 2.0, 3.0, 4.0]), 0);
    assert_eq!(take(&mut queue, 0..1), [Some(1.0)]);
    assert_eq!(take(&mut queue, 3..4), [Some(4.0)]);
    assert_eq!(queue.counters().skipped, 2);
}

#[test]
fn refill_is_wanted_at_the_threshold() {
    let mut queue = queue(LATEST, ChunkStart::AtObservation);
    assert!(queue.wants_refill(0));
    queue.push(&chunk(0, &[0.0; 8]), 0);
    assert!(!queue.wants_refill(3) && queue.wants_refill(4));
    queue.clear();
    assert_eq!((queue.remaining(0), queue.counters().dropped), (0, 8));
}

#[test]
fn a_chunk_for_another_robot_is_refused() {
    let mut queue = ActionQueue::new(QueueConfig::new(2, 4));
    queue.push(&chunk(0, &[1.0]), 0);
    assert_eq!(
        (queue.counters().wrong_joints, queue.pop(0).is_none()),
        (1, true)
    );
}

/// The mean of all predictions for a step, from their whole history.
fn ensemble(history: &[f64], coeff: f64) -> f64 {
    let weights = (0..history.len()).map(|i| (-coeff * i as f64).exp());
    let sum: f64 = weights.clone().sum();
    weights.zip(history).map(|(w, a)| w * a).sum::<f64>() / sum
}

fn merges() -> impl Strategy<Value = Merge> {
    prop_oneof![
        prop::sample::select(Blend::ALL.to_vec()).prop_map(Merge::Blend),
        (-2.0..2.0).prop_map(|coeff| Merge::Ensemble { coeff }),
    ]
}

proptest! {
    /// Against a map from step to action, with everything that LatestOnly means.
    #[test]
    fn replace_behaves_like_a_map(
        operations in prop::collection::vec((0u64..6, 0u64..12, 0usize..9), 1..200)
    ) {
        let mut queue = queue(LATEST, ChunkStart::AtObservation);
        let mut model = BTreeMap::new();
        let mut now = 10u64;
        for (n, (ahead, back, len)) in operations.into_iter().enumerate() {
            now += ahead;
            let start = now.saturating_sub(back) + 4;
            let end = start + len as u64;
            queue.push(&chunk(start, &vec![n as f64; len]), now);
            if end > now {
                model.retain(|&step, _| step < end);
                (start.max(now)..end.min(now + 16)).for_each(|step| _ = model.insert(step, n as f64));
            }
            prop_assert_eq!(queue.pop(now).map(|a| a[0]), model.get(&now).copied());
            now += 1;
            model.retain(|&step, _| step >= now);
        }
    }

    /// The running mean is the mean over the history of predictions, at every step.
    #[test]
    fn an_ensemble_is_the_weighted_mean_of_its_history(
        rows in prop::collection::vec((any::<bool>(), prop::collection::vec(-3.0f64..3.0, 8)), 1..40),
        coeff in -0.5f64..0.5,
    ) {
        let mut queue = queue(Merge::Ensemble { coeff }, ChunkStart::AtObservation);
        let mut history: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for (now, (asked, values)) in (0u64..).zip(rows) {
            if asked {
                queue.push(&chunk(now, &values), now);
                (now..).zip(values).for_each(|(step, value)| history.entry(step).or_default().push(value));
            }
            let wanted = history.get(&now).map(|values| ensemble(values, coeff));
            match (queue.pop(now), wanted) {
                (Some(action), Some(wanted)) => prop_assert!((action[0] - wanted).abs() < 1e-9),
                (taken, wanted) => prop_assert_eq!(taken.is_some(), wanted.is_some()),
            }
        }
    }

    /// Nothing is lost and nothing done twice, whatever comes late, overlaps, or is skipped.
    #[test]
    fn counts_add_up_and_steps_come_once_and_in_order(
        operations in prop::collection::vec((0u64..12, 0u64..20, 0u64..30, 0usize..9), 1..200),
        merge in merges(),
        start in prop_oneof![Just(ChunkStart::AtArrival), Just(ChunkStart::AtObservation)],
        used in 1usize..9,
    ) {
        let mut queue = ActionQueue::new(QueueConfig { merge, start, used, ..QueueConfig::new(1, 8) });
        let (mut now, mut pushed, mut chunks) = (20u64, 0, 0);
        let mut executed = Vec::new();
        for (ahead, back, forth, len) in operations {
            now += ahead;
            // Each value is the step that it was meant for, so that blends leave it as it is.
            let first = now - back.min(now) + forth;
            let values: Vec<f64> = (first..).take(len).map(|step| step as f64).collect();
            queue.push(&chunk(first, &values), now);
            (pushed, chunks) = (pushed + len.min(used) as u64, chunks + 1);
            if queue.pop(now).is_some() {
                executed.push(now);
            }
            prop_assert!(queue.pop(now).is_none(), "a step was given twice");
        }
        prop_assert!(executed.windows(2).all(|pair| pair[0] < pair[1]));
        let before = *queue.counters();
        prop_assert_eq!((before.executed, before.chunks), (executed.len() as u64, chunks));
        queue.clear();
        let c = queue.counters();
        let ended = c.executed + c.expired + c.skipped + c.merged + c.dropped + c.too_far;
        prop_assert_eq!(ended, pushed, "{:?}", c);
    }

    /// An action is for the step that it was predicted for, whatever the blend.
    #[test]
    fn actions_stay_at_their_steps(
        operations in prop::collection::vec((0u64..12, 0u64..20, 0usize..9), 1..100),
        merge in merges(),
    ) {
        let mut queue = queue(merge, ChunkStart::AtObservation);
        let mut now = 20u64;
        for (ahead, back, len) in operations {
            now += ahead;
            let values: Vec<f64> = (now - back..).take(len).map(|step| step as f64).collect();
            queue.push(&chunk(now - back, &values), now);
            if let Some(action) = queue.pop(now) {
                prop_assert!((action[0] - now as f64).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn no_sequence_of_steps_panics(
        operations in prop::collection::vec((any::<u64>(), any::<u64>(), 0usize..9, any::<bool>()), 1..60),
        merge in merges(),
        start in prop_oneof![Just(ChunkStart::AtArrival), Just(ChunkStart::AtObservation)],
    ) {
        let mut queue = queue(merge, start);
        for (step, now, len, pop) in operations {
            // Half the range of u64 is 290 years at 1 GHz: no real step comes near it.
            let (step, now) = (step >> 1, now >> 1);
            queue.push(&chunk(step, &vec![0.5; len]), now);
            if pop {
                queue.pop(now);
            }
        }
    }
}

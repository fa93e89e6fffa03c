//! What is odd about joint values: constant, jumping, or cut off at an end.
//!
//! Cut off is an action that runs into the lowest or highest value of the whole dataset without
//! slowing down, and stays there while other joints move.

use super::code::Code;
use super::content::EpisodeValues;
use super::finding::{Findings, Place};
use super::head::Described;
use crate::features::ACTION;

/// A step is a jump from this many median steps …
const JUMP_STEPS: f64 = 20.0;
/// … if it also is this part of the joint's range in the episode.
const JUMP_RANGE: f64 = 0.4;
/// A median of fewer steps says nothing.
const JUMP_MIN_STEPS: usize = 10;
/// A value within this part of the range is at the end.
const END_WIDTH: f64 = 1e-6;
/// Time at an end that may be cut off, s; shorter ones are turning points.
const END_TIME_S: f64 = 0.2;
/// A joint that comes to the end with less than this part of a median step was slowing down to
/// stop there, and is not cut off.
const END_SPEED: f64 = 0.5;
/// Part of all rows at the ends from which the action counts as clipped.
const END_ROWS: f64 = 0.05;
/// Fewer rows than this, or than one second, say nothing about a joint that stands still.
const STILL_MIN_ROWS: u64 = 10;

/// What is known of one joint in the whole dataset.
#[derive(Debug, Clone)]
struct Joint {
    min: f64,
    max: f64,
    /// First episode in which it stood still, and the number of such episodes.
    still: Option<(u64, u64)>,
    /// Cut-off stretches at the lowest and the highest value.
    ends: [End; 2],
}

/// Stretches in which the joint stood at its end.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    value: f64,
    rows: u64,
    /// Episode and row of the first.
    first: (u64, u64),
}

/// The joints of one feature.
#[derive(Debug)]
pub(super) struct Joints {
    joints: Vec<Joint>,
    is_action: bool,
    rows: u64,
    /// Rows in which a joint must move to count as moving.
    still_rows: u64,
    end_rows: usize,
}

impl Joints {
    pub(super) fn new(feature: &Described, fps: Option<f64>) -> Self {
        let fps = fps.unwrap_or(30.0);
        let joint = Joint {
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            still: None,
            ends: [End::default(); 2],
        };
        Self {
            joints: vec![joint; feature.width],
            is_action: feature.name == ACTION,
            rows: 0,
            still_rows: (fps.ceil() as u64).max(STILL_MIN_ROWS),
            end_rows: ((fps * END_TIME_S).ceil() as usize).max(5),
        }
    }

    /// Looks at an episode's values, all of which are finite.
    pub(super) fn take(
        &mut self,
        feature: &Described,
        episode: &EpisodeValues<'_>,
        at: usize,
        out: &mut Findings,
    ) {
        self.rows += episode.rows;
        let values = &episode.values[at];
        // A joint that rests with all others is not held back by its end.
        let moves = |pair: &[f64]| pair[..feature.width] != pair[feature.width..];
        let moving: Vec<bool> = std::iter::once(false)
            .chain(
                values
                    .windows(2 * feature.width)
                    .step_by(feature.width)
                    .map(moves),
            )
            .collect();
        let mut column: Vec<f64> = Vec::with_capacity(values.len() / feature.width);
        for entry in 0..feature.width {
            column.clear();
            column.extend(values.iter().skip(entry).step_by(feature.width));
            self.look(feature, episode, entry, (&column, &moving), out);
        }
    }

    fn look(
        &mut self,
        feature: &Described,
        episode: &EpisodeValues<'_>,
        entry: usize,
        (column, arm_moves): (&[f64], &[bool]),
        out: &mut Findings,
    ) {
        let min = column.iter().copied().fold(f64::INFINITY, f64::min);
        let max = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let joint = &mut self.joints[entry];
        if min == max && episode.rows >= self.still_rows {
            joint.still.get_or_insert((episode.number, 0)).1 += 1;
        }
        let steps: Vec<f64> = column.windows(2).map(|w| (w[1] - w[0]).abs()).collect();
        let mut moving: Vec<f64> = steps.iter().copied().filter(|s| *s > 0.0).collect();
        moving.sort_unstable_by(f64::total_cmp);
        let median = moving.get(moving.len() / 2).copied().unwrap_or(0.0);
        let name = feature.entry(entry);
        // A gripper that is commanded to close may well do so in one step.
        let may_snap = self.is_action && is_gripper(&name);
        if moving.len() >= JUMP_MIN_STEPS && !may_snap {
            let threshold = (JUMP_STEPS * median).max(JUMP_RANGE * (max - min));
            report_jumps(&name, episode, column, &steps, threshold, out);
        }
        if self.is_action {
            let found = ends(
                (column, arm_moves),
                &steps,
                (min, max),
                median,
                self.end_rows,
            );
            joint.merge_ends(found, (min, max), episode.number);
        }
        joint.min = joint.min.min(min);
        joint.max = joint.max.max(max);
    }

    /// Says what the whole dataset tells.
    pub(super) fn finish(&self, feature: &Described, out: &mut Findings) {
        for (entry, joint) in self.joints.iter().enumerate() {
            let name = feature.entry(entry);
            let place = Place::default().feature(&name);
            if joint.min == joint.max && self.rows >= self.still_rows {
                let message = format!("{} in all {} rows of the dataset", joint.min, self.rows);
                out.add(Code::JointConstant, place, message);
                continue;
            }
            if let Some((first, episodes)) = joint.still.filter(|_| !self.is_action) {
                let message = format!("does not move in {}", super::files::of_episodes(episodes));
                out.add(Code::JointStill, place.episode(first), message);
            }
            self.report_ends(&name, joint, out);
        }
    }

    fn report_ends(&self, name: &str, joint: &Joint, out: &mut Findings) {
        let code = if is_gripper(name) {
            Code::GripperAtEnd
        } else {
            Code::ActionClipped
        };
        for end in joint.ends {
            let part = end.rows as f64 / self.rows.max(1) as f64;
            if part >= END_ROWS {
                let (episode, row) = end.first;
                let message = format!(
                    "runs into {} and stays there in {} rows, {:.0} % of all",
                    end.value,
                    end.rows,
                    100.0 * part
                );
                let place = Place::default().episode(episode).frame(row).feature(name);
                out.add(code, place, message);
            }
        }
    }
}

impl Joint {
    /// Adds an episode's ends where they are ends of the whole dataset so far.
    fn merge_ends(&mut self, found: [(u64, u64); 2], range: (f64, f64), episode: u64) {
        let sides = [
            (range.0, range.0 < self.min, range.0 == self.min),
            (range.1, range.1 > self.max, range.1 == self.max),
        ];
        for ((end, (rows, first)), (value, beyond, same)) in
            self.ends.iter_mut().zip(found).zip(sides)
        {
            if beyond || (same && end.rows == 0) {
                *end = End {
                    value,
                    rows,
                    first: (episode, first),
                };
            } else if same {
                end.rows += rows;
            }
        }
    }
}

fn is_gripper(name: &str) -> bool {
    name.to_ascii_lowercase().contains("gripper")
}

fn report_jumps(
    name: &str,
    episode: &EpisodeValues<'_>,
    column: &[f64],
    steps: &[f64],
    threshold: f64,
    out: &mut Findings,
) {
    let Some(at) = steps.iter().position(|s| *s > threshold) else {
        return;
    };
    let count = steps.iter().filter(|s| **s > threshold).count();
    let message = format!(
        "from {:.4} to {:.4} in one frame, where more than {threshold:.4} is a jump; {count} here",
        column[at],
        column[at + 1]
    );
    let place = Place::file(episode.file)
        .episode(episode.number)
        .frame(at as u64 + 1)
        .feature(name);
    out.add(Code::JointJump, place, message);
}

/// Rows in cut-off stretches at the lowest and highest value, and where the first of each begins.
/// `arm_moves` says in which rows any joint moves.
fn ends(
    (column, arm_moves): (&[f64], &[bool]),
    steps: &[f64],
    (min, max): (f64, f64),
    median: f64,
    least: usize,
) -> [(u64, u64); 2] {
    let slack = END_WIDTH * (max - min);
    [min, max].map(|end| {
        let (mut rows, mut first, mut at) = (0, None, 0);
        while at < column.len() && max > min {
            let length = column[at..]
                .iter()
                .take_while(|v| (**v - end).abs() <= slack)
                .count();
            // The step onto the end is itself cut off, so the one before it counts as well.
            let speed = |from: usize, to: usize| {
                let near = steps.get(from..to.min(steps.len())).unwrap_or(&[]);
                near.iter().copied().fold(0.0, f64::max)
            };
            let (came, left) = (
                speed(at.saturating_sub(2), at),
                speed((at + length).saturating_sub(1), at + length + 1),
            );
            let goes_on = at + length < column.len();
            let fast = |speed: f64| speed > 0.0 && speed >= END_SPEED * median;
            let others = arm_moves[at..at + length].iter().filter(|m| **m).count();
            let held = others >= least && 2 * others >= length;
            if held && fast(came) && (fast(left) || !goes_on) {
                rows += others as u64;
                first = first.or(Some(at as u64));
            }
            at += length.max(1);
        }
        (rows, first.unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(column: &[f64]) -> [(u64, u64); 2] {
        let steps: Vec<f64> = column.windows(2).map(|w| (w[1] - w[0]).abs()).collect();
        ends(
            (column, &vec![true; column.len()]),
            &steps,
            (-1.0, 1.0),
            0.05,
            6,
        )
    }

    #[test]
    fn a_cut_sine_is_clipped_and_a_whole_one_is_not() {
        let sine = |i: i32| 1.5 * (f64::from(i) * 0.05).sin();
        let clipped: Vec<f64> = (0..400).map(|i| sine(i).clamp(-1.0, 1.0)).collect();
        let [(low, _), (high, first)] = cut(&clipped);
        assert!(low > 80 && high > 80, "{low} {high}");
        assert_eq!(clipped[first as usize], 1.0);
        let whole: Vec<f64> = (0..400).map(|i| sine(i) / 1.5).collect();
        assert_eq!(cut(&whole), [(0, 0), (0, 0)]);
    }

    #[test]
    fn slowing_down_and_resting_is_not_clipping() {
        let ease = |i: usize| 1.0 - (1.0 - (i as f64 / 50.0).min(1.0)).powi(3) * 2.0;
        let column: Vec<f64> = (0..150).map(ease).collect();
        assert_eq!(cut(&column), [(0, 0), (0, 0)]);
    }
}

//! What was remarkable about the source's episodes, told of those that they became.

use super::plan::{Plan, Segment};
use crate::error::Result;
use crate::fsio;
use crate::journal::marks::{EpisodeMark, EpisodeMarks, Gap};
use std::path::Path;

/// Writes the marks of the result's episodes under `root`, if there are any.
pub(super) fn write(plan: &Plan<'_>, root: &Path) -> Result<()> {
    let marks = of_result(plan);
    if marks.episodes.is_empty() {
        return Ok(());
    }
    fsio::write_synced(&EpisodeMarks::path(root), &marks.to_bytes()?)
}

fn of_result(plan: &Plan<'_>) -> EpisodeMarks {
    let carried = plan.segments.iter().zip(0..).filter_map(|(segment, new)| {
        let source = &plan.sources[segment.source];
        let mark = source.marks.episodes.get(&(segment.episode as u64))?;
        let mark = of_segment(mark, segment, source.episodes[segment.episode].length);
        (mark != EpisodeMark::default()).then_some((new, mark))
    });
    EpisodeMarks {
        episodes: carried.collect(),
    }
}

/// The mark of an episode of `length` rows, for the rows of the segment: without what lies in the
/// parts that were cut off.
fn of_segment(mark: &EpisodeMark, segment: &Segment, length: u64) -> EpisodeMark {
    // Rows missing just before the first row of a cut episode are outside it.
    let inside = |gap: &&Gap| {
        let after_start = gap.before_row > segment.from || segment.from == 0;
        after_start && gap.before_row < segment.to
    };
    let renumbered = |gap: &Gap| Gap {
        before_row: gap.before_row - segment.from,
        rows: gap.rows,
    };
    let gaps: Vec<Gap> = mark.gaps.iter().filter(inside).map(renumbered).collect();
    let rows = |gaps: &[Gap]| gaps.iter().fold(0_u64, |n, g| n.saturating_add(g.rows));
    let whole_end = segment.to == length;
    // What no gap accounts for is missing after the last row, or after the last gap that is listed.
    let unplaced = mark.dropped_rows.saturating_sub(rows(&mark.gaps));
    let unplaced = if whole_end { unplaced } else { 0 };
    EpisodeMark {
        dropped_rows: rows(&gaps).saturating_add(unplaced),
        gaps,
        ended_early: mark.ended_early.clone().filter(|_| whole_end),
        recovered: mark.recovered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(from: u64, to: u64) -> Segment {
        Segment {
            source: 0,
            episode: 0,
            from,
            to,
        }
    }

    #[test]
    fn a_cut_keeps_the_gaps_inside_it_and_shifts_them() {
        let gap = |before_row, rows| Gap { before_row, rows };
        let mark = EpisodeMark {
            dropped_rows: 16,
            gaps: vec![gap(0, 1), gap(5, 2), gap(9, 3)],
            ended_early: Some("the disk is full".into()),
            recovered: true,
        };
        assert_eq!(of_segment(&mark, &segment(0, 12), 12), mark);
        let end = of_segment(&mark, &segment(5, 12), 12);
        assert_eq!((end.dropped_rows, end.gaps), (13, vec![gap(4, 3)]));
        assert!(end.recovered && end.ended_early.is_some());
        let middle = of_segment(&mark, &segment(4, 9), 12);
        assert_eq!((middle.dropped_rows, middle.gaps), (2, vec![gap(1, 2)]));
        assert_eq!(middle.ended_early, None, "that end was cut off");
    }

    #[test]
    fn impossible_marks_are_borne() {
        let mark = EpisodeMark {
            dropped_rows: 1,
            gaps: vec![
                Gap {
                    before_row: u64::MAX,
                    rows: u64::MAX,
                },
                Gap {
                    before_row: 1,
                    rows: u64::MAX,
                },
            ],
            ..EpisodeMark::default()
        };
        assert_eq!(of_segment(&mark, &segment(0, 3), 3).gaps.len(), 1);
    }
}

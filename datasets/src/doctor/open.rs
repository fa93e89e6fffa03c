//! The episode whose rows are being read, and what each of its rows must say.

use super::code::Code;
use super::finding::{Counter, Findings, Place, gap_or_duplicate};
use super::tasks::TaskTable;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// Different tasks of one episode that are kept.
const TASK_LIMIT: usize = 1000;
/// LeRobot's tolerance between a timestamp and its frame, s.
const TIME_TOLERANCE_S: f64 = 1e-4;

/// The episode whose rows are being read.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) number: u64,
    pub(super) position: Option<usize>,
    pub(super) file: PathBuf,
    pub(super) rows: u64,
    pub(super) frames: Counter,
    pub(super) values: Vec<Vec<f64>>,
    pub(super) kept: usize,
    pub(super) overflow: bool,
    pub(super) tasks: BTreeSet<u64>,
    /// Kinds of findings that it has; each is told once an episode.
    pub(super) told: HashSet<Code>,
    /// First row with a wrong timestamp, that timestamp, and the number of such rows.
    pub(super) late: Option<(u64, f64, u64)>,
}

impl Open {
    pub(super) fn new(number: u64, position: Option<usize>, file: &Path, features: usize) -> Self {
        Self {
            number,
            position,
            file: file.to_owned(),
            rows: 0,
            frames: Counter::default(),
            values: vec![Vec::new(); features],
            kept: 0,
            overflow: false,
            tasks: BTreeSet::new(),
            told: HashSet::new(),
            late: None,
        }
    }

    /// Whether this is the first finding of its kind here.
    pub(super) fn first(&mut self, code: Code) -> bool {
        self.told.insert(code)
    }

    pub(super) fn place(&self, frame: u64) -> Place {
        Place::file(&self.file).episode(self.number).frame(frame)
    }
}

pub(super) fn check_frame(open: &mut Open, found: Option<u64>, out: &mut Findings) {
    let wrong = found.and_then(|f| Some((f, open.frames.take(f)?)));
    if let Some((found, expected)) = wrong.filter(|_| open.first(Code::FrameIndex)) {
        let message = format!(
            "row {} has frame_index {} instead of {expected}: {}",
            open.rows,
            shown(found),
            gap_or_duplicate(found, expected)
        );
        out.add(Code::FrameIndex, open.place(open.rows), message);
    }
}

pub(super) fn check_index(open: &mut Open, counter: &mut Counter, found: u64, out: &mut Findings) {
    let wrong = counter.take(found);
    if let Some(expected) = wrong.filter(|_| open.first(Code::GlobalIndex)) {
        let message = format!(
            "row {} has index {} instead of {expected}: {}",
            open.rows,
            shown(found),
            gap_or_duplicate(found, expected)
        );
        out.add(Code::GlobalIndex, open.place(open.rows), message);
    }
}

/// Cells that hold no count come here as the largest number.
fn shown(found: u64) -> String {
    if found == u64::MAX {
        "that is no whole number".into()
    } else {
        found.to_string()
    }
}

pub(super) fn check_time(open: &mut Open, found: f64, fps: Option<f64>) {
    let Some(fps) = fps else { return };
    let expected = open.rows as f64 / fps;
    // LeRobot stores float32, which is coarser than its own tolerance after 28 minutes.
    let tolerance = TIME_TOLERANCE_S + expected * f64::from(f32::EPSILON);
    // Not-a-number is reported with the values.
    if (found - expected).abs() > tolerance {
        let late = open.late.get_or_insert((open.rows, found, 0));
        late.2 += 1;
    }
}

pub(super) fn check_task(open: &mut Open, task: u64, tasks: &TaskTable, out: &mut Findings) {
    let unknown = tasks
        .sentences
        .as_ref()
        .is_some_and(|s| !s.contains_key(&task));
    if unknown && open.first(Code::TaskUnknown) {
        let message = format!(
            "task_index is {}, which meta/tasks.parquet does not have",
            shown(task)
        );
        out.add(Code::TaskUnknown, open.place(open.rows), message);
    }
    if open.tasks.len() < TASK_LIMIT {
        open.tasks.insert(task);
    }
}

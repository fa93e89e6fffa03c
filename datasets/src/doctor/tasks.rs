//! `meta/tasks.parquet`, in whatever order it is.

use super::code::Code;
use super::columns;
use super::files::parquet_finding;
use super::finding::{Counter, Findings, Place};
use crate::table;
use crate::tasks::Tasks;
use std::collections::HashMap;
use std::path::Path;

const FILE: &str = "meta/tasks.parquet";
/// More sentences than any dataset has.
const TASK_LIMIT: usize = 1_000_000;

/// The task sentences.
#[derive(Debug, Default)]
pub(super) struct TaskTable {
    /// By number; `None` if the file cannot be used or its numbers are wrong.
    pub(super) sentences: Option<HashMap<u64, String>>,
    /// How many there are; `None` if the file cannot be used.
    pub(super) count: Option<u64>,
}

impl TaskTable {
    /// Reads the file. `needed`: whether there are episodes, without which there may be no tasks.
    pub(super) fn read(root: &Path, needed: bool, out: &mut Findings) -> Self {
        let path = Tasks::path(root);
        if !path.is_file() {
            if needed {
                let message = "the file with the task sentences is absent";
                out.add(Code::FileMissing, Place::file(Path::new(FILE)), message);
            }
            return Self::default();
        }
        let mut rows = Vec::new();
        let mut problem = None;
        let outcome = table::read(
            &path,
            |_| true,
            |batch| {
                let read = read_batch(&path, batch, &mut rows);
                problem = problem.take().or(read.err());
                Ok(())
            },
        );
        if let Err(error) = &outcome {
            parquet_finding(root, Path::new(FILE), error, out);
            return Self::default();
        }
        if let Some((column, problem)) = problem {
            let place = Place::file(Path::new(FILE)).feature(column);
            out.add(
                Code::ColumnMissing,
                place,
                format!("column {column}: {problem}"),
            );
            return Self::default();
        }
        Self::ordered(rows, out)
    }

    fn ordered(rows: Vec<(Option<u64>, String)>, out: &mut Findings) -> Self {
        let mut counter = Counter::default();
        let mut sentences = HashMap::new();
        let (count, mut in_order) = (rows.len() as u64, true);
        for (row, (number, sentence)) in rows.into_iter().enumerate() {
            let number = number.unwrap_or(u64::MAX);
            if let Some(expected) = counter.take(number) {
                in_order = false;
                let found = number.min(i64::MAX as u64);
                out.add(
                    Code::TasksOrder,
                    Place::file(Path::new(FILE)).frame(row as u64),
                    format!("row {row} has task_index {found} where {expected} should be"),
                );
            }
            sentences.entry(number).or_insert(sentence);
        }
        Self {
            // What rows mean by a number is not known then.
            sentences: in_order.then_some(sentences),
            count: Some(count),
        }
    }
}

fn read_batch(
    path: &Path,
    batch: &arrow_array::RecordBatch,
    rows: &mut Vec<(Option<u64>, String)>,
) -> Result<(), (&'static str, String)> {
    let numbers = columns::counts(batch, "task_index").map_err(|e| ("task_index", e))?;
    // Writers with an unnamed pandas index leave the second name.
    let sentences = batch
        .column_by_name("task")
        .or_else(|| batch.column_by_name("__index_level_0__"))
        .ok_or(("task", "it is missing".to_owned()))?;
    for (row, number) in numbers.into_iter().enumerate() {
        if rows.len() >= TASK_LIMIT {
            return Err(("task", format!("more than {TASK_LIMIT} rows")));
        }
        let sentence = table::text(path, sentences, row)
            .map_err(|e| ("task", super::files::problem_of(&e)))?;
        rows.push((number, sentence));
    }
    Ok(())
}

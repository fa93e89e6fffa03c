//! The episode table, row by row: a row or file that is wrong does not hide the others.

use super::code::Code;
use super::columns;
use super::files::{Inventory, parquet_finding};
use super::finding::{Counter, Findings, Place, gap_or_duplicate};
use super::head::Head;
use super::statistics::Layout;
use crate::info::FileIndex;
use crate::table;
use arrow_array::{Array, RecordBatch};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Rows of the table that are read.
const ENTRY_LIMIT: usize = 10_000_000;
/// Tasks of one episode that are read.
const TASK_LIMIT: usize = 1000;
/// Statistics that are kept for comparison, values: 256 MiB.
const STATS_LIMIT: usize = 1 << 25;

/// Where one camera's frames of an episode are said to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) file: FileIndex,
    pub(super) from_s: f64,
    pub(super) to_s: f64,
}

/// One row of the table, with what of it could be read.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// File of the table, by position in [`Table::files`].
    pub(super) file: usize,
    index: Option<u64>,
    pub(super) length: Option<u64>,
    pub(super) data: Option<FileIndex>,
    pub(super) from: Option<u64>,
    pub(super) to: Option<u64>,
    pub(super) tasks: Option<Vec<String>>,
    /// One a camera, in the head's order.
    pub(super) videos: Vec<Option<Span>>,
    /// Statistics, packed as [`Layout`] says; empty when they were not kept.
    pub(super) stats: Box<[f64]>,
}

/// The whole table.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) files: Vec<PathBuf>,
    pub(super) entries: Vec<Entry>,
    /// Whether every file could be read.
    pub(super) complete: bool,
    /// Episode number of each row, single wrong cells corrected.
    numbers: Vec<u64>,
    by_number: HashMap<u64, usize>,
    kept_values: usize,
}

impl Table {
    /// Reads all files of the table, in the order in which LeRobot does.
    pub(super) fn read(
        root: &Path,
        head: &Head,
        layout: &Layout,
        inventory: &Inventory,
        out: &mut Findings,
    ) -> Self {
        let mut table = Self {
            files: inventory.episodes.clone(),
            complete: true,
            ..Self::default()
        };
        let mut breaks = Vec::new();
        for file in 0..table.files.len() {
            let path = table.files[file].clone();
            let mut missing = Vec::new();
            let outcome = table::read(
                &root.join(&path),
                |_| true,
                |batch| {
                    table.add(head, layout, file, batch, &mut missing);
                    Ok(())
                },
            );
            for (column, problem) in missing {
                let place = Place::file(&path).feature(&column);
                out.add(
                    Code::ColumnMissing,
                    place,
                    format!("column {column}: {problem}"),
                );
            }
            if let Err(error) = outcome {
                parquet_finding(root, &path, &error, out);
                table.complete = false;
                breaks.push(table.entries.len());
            }
        }
        if table.files.is_empty() && head.total_episodes != Some(0) {
            let place = Place::file(Path::new("meta/episodes"));
            out.add(Code::FileMissing, place, "there is no episode table");
            table.complete = false;
        }
        table.number_episodes(&breaks, out);
        out.checked.episodes = table.entries.len() as u64;
        table
    }

    /// Episode number of the row at `position`.
    pub(super) fn number(&self, position: usize) -> u64 {
        self.numbers
            .get(position)
            .copied()
            .unwrap_or(position as u64)
    }

    /// Row of the episode `number`.
    pub(super) fn position(&self, number: u64) -> Option<usize> {
        self.by_number.get(&number).copied()
    }

    /// The place of a row.
    pub(super) fn place(&self, position: usize) -> Place {
        let file = self
            .entries
            .get(position)
            .and_then(|e| self.files.get(e.file));
        file.map_or_else(Place::default, |f| Place::file(f))
            .episode(self.number(position))
    }

    fn add(
        &mut self,
        head: &Head,
        layout: &Layout,
        file: usize,
        batch: &RecordBatch,
        missing: &mut Vec<(String, String)>,
    ) {
        let mut columns = Columns { batch, missing };
        let rows = batch.num_rows().min(ENTRY_LIMIT - self.entries.len());
        let index = columns.counts("episode_index");
        let length = columns.counts("length");
        let data = columns.files("data");
        let from = columns.counts("dataset_from_index");
        let to = columns.counts("dataset_to_index");
        let spans: Vec<Vec<Option<Span>>> =
            head.cameras.iter().map(|key| columns.spans(key)).collect();
        let has_tasks = columns.has("tasks");
        for row in 0..rows {
            let mut stats: Box<[f64]> = Box::default();
            if self.kept_values + layout.len() <= STATS_LIMIT {
                stats = layout.pack_row(batch, row);
                self.kept_values += stats.len();
            }
            self.entries.push(Entry {
                file,
                index: index[row],
                length: length[row],
                data: data[row],
                from: from[row],
                to: to[row],
                tasks: has_tasks.then(|| tasks(batch, row)).flatten(),
                videos: spans.iter().map(|s| s[row]).collect(),
                stats,
            });
        }
    }

    /// Checks that episodes count up from 0, and gives each row its number. `breaks` are the
    /// positions where rows are missing because their file cannot be read.
    fn number_episodes(&mut self, breaks: &[usize], out: &mut Findings) {
        let mut counter = Counter::default();
        for position in 0..self.entries.len() {
            let found = self.entries[position].index;
            if breaks.contains(&position) {
                counter = Counter::starting_at(found.unwrap_or(counter.next));
            }
            let value = found.unwrap_or(u64::MAX);
            let wrong = counter.take(value);
            let goes_on = self
                .entries
                .get(position + 1)
                .is_some_and(|e| e.index.is_some() && e.index == value.checked_add(1));
            let number = wrong.filter(|_| !goes_on).unwrap_or(value);
            self.numbers.push(number);
            self.by_number.entry(number).or_insert(position);
            if let Some(expected) = wrong {
                let message = match found {
                    Some(found) => format!(
                        "row {position} of the episode table is numbered {found} instead of {expected}: {}",
                        gap_or_duplicate(found, expected)
                    ),
                    None => format!("row {position} of the episode table has no usable number"),
                };
                out.add(Code::EpisodeIndex, self.place(position), message);
            }
        }
    }
}

fn tasks(batch: &RecordBatch, row: usize) -> Option<Vec<String>> {
    let list = table::cell(batch.column_by_name("tasks")?, row)?;
    (0..list.len().min(TASK_LIMIT))
        .map(|i| table::text(Path::new(""), &list, i).ok())
        .collect()
}

/// Columns of one batch; those that cannot be used are noted and give `None` in every row.
struct Columns<'a> {
    batch: &'a RecordBatch,
    missing: &'a mut Vec<(String, String)>,
}

impl Columns<'_> {
    fn note(&mut self, name: &str, problem: String) {
        if !self.missing.iter().any(|(n, _)| n == name) {
            self.missing.push((name.to_owned(), problem));
        }
    }

    fn has(&mut self, name: &str) -> bool {
        let found = self.batch.column_by_name(name).is_some();
        if !found {
            self.note(name, "it is missing".into());
        }
        found
    }

    fn counts(&mut self, name: &str) -> Vec<Option<u64>> {
        columns::counts(self.batch, name).unwrap_or_else(|problem| {
            self.note(name, problem);
            vec![None; self.batch.num_rows()]
        })
    }

    fn seconds(&mut self, name: &str) -> Vec<f64> {
        columns::scalars(self.batch, name).unwrap_or_else(|problem| {
            self.note(name, problem);
            vec![f64::NAN; self.batch.num_rows()]
        })
    }

    fn files(&mut self, prefix: &str) -> Vec<Option<FileIndex>> {
        let chunks = self.counts(&format!("{prefix}/chunk_index"));
        let files = self.counts(&format!("{prefix}/file_index"));
        let both = |(chunk, file): (Option<u64>, Option<u64>)| {
            Some(FileIndex {
                chunk: chunk?,
                file: file?,
            })
        };
        chunks.into_iter().zip(files).map(both).collect()
    }

    fn spans(&mut self, key: &str) -> Vec<Option<Span>> {
        let files = self.files(&format!("videos/{key}"));
        let from = self.seconds(&format!("videos/{key}/from_timestamp"));
        let to = self.seconds(&format!("videos/{key}/to_timestamp"));
        let span = |(file, (from_s, to_s)): (Option<FileIndex>, (f64, f64))| {
            Some(Span {
                file: file?,
                from_s,
                to_s,
            })
        };
        files
            .into_iter()
            .zip(from.into_iter().zip(to))
            .map(span)
            .collect()
    }
}

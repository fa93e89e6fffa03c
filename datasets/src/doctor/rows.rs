//! The data files, row by row: numbering, timestamps and tasks.
//!
//! A row that is wrong in one cell stays with its episode, so that one wrong cell is one finding.

use super::code::Code;
use super::columns::{self, Numbers};
use super::content::{Content, EpisodeValues};
use super::episodes::Table;
use super::files::{Inventory, Named, parquet_finding};
use super::finding::{Counter, Findings, Place};
use super::head::Head;
use super::open::{Open, check_frame, check_index, check_task, check_time};
use super::tasks::TaskTable;
use crate::features::DEFAULT_FEATURES;
use crate::table;
use arrow_array::RecordBatch;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// Values of one episode that are kept to look at: 256 MiB.
const VALUE_LIMIT: usize = 1 << 25;

/// What the data files hold of an episode of the table.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted {
    /// Rows; `None` if their file cannot be read.
    pub(super) rows: Option<u64>,
}

/// What the data files hold.
pub(super) struct Scanned<'a> {
    /// By position in the table.
    pub(super) counted: Vec<Counted>,
    pub(super) content: Content<'a>,
    /// Files that hold an episode for which the table names another file.
    pub(super) strays: HashSet<PathBuf>,
}

/// Reads all data files.
pub(super) struct Scan<'a> {
    root: &'a Path,
    head: &'a Head,
    table: &'a Table,
    named: &'a Named,
    tasks: &'a TaskTable,
    content: Content<'a>,
    open: Option<Open>,
    index: Counter,
    /// Position in the table of the next episode.
    next: usize,
    /// The global index may go on anywhere: rows before are missing, which is reported already.
    resync: bool,
    counted: Vec<Counted>,
}

/// One batch of rows.
struct Batch {
    rows: usize,
    episode: Vec<Option<u64>>,
    frame: Option<Vec<Option<u64>>>,
    index: Option<Vec<Option<u64>>>,
    task: Option<Vec<Option<u64>>>,
    time: Option<Vec<f64>>,
    /// One a numeric feature.
    numbers: Vec<Option<Numbers>>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        root: &'a Path,
        head: &'a Head,
        table: &'a Table,
        named: &'a Named,
        tasks: &'a TaskTable,
        content: Content<'a>,
    ) -> Self {
        let absent =
            |file: &Option<PathBuf>| file.as_ref().is_none_or(|f| named.absent.contains(f));
        let counted = named.data.iter().map(|file| Counted {
            rows: (!absent(file)).then_some(0),
        });
        Self {
            root,
            head,
            table,
            named,
            tasks,
            content,
            open: None,
            index: Counter::default(),
            next: 0,
            resync: false,
            counted: counted.collect(),
        }
    }

    /// Reads the files.
    pub(super) fn run(mut self, inventory: &Inventory, out: &mut Findings) -> Scanned<'a> {
        let known: HashSet<&PathBuf> = self.named.data.iter().flatten().collect();
        for file in &inventory.data {
            // A file that no episode refers to is reported as such; its rows are not the dataset's.
            let wanted = file.starts_with(self.head.data_top())
                && (known.contains(file) || !self.table.complete);
            if wanted {
                out.checked.data_files += 1;
                self.file(file, out);
            }
        }
        self.close(out);
        let strays = self.strays(inventory, &known, out);
        let entries = self.table.entries.iter();
        let whole = |(counted, length): (&Counted, Option<u64>)| {
            counted.rows.is_some() && counted.rows == length
        };
        if !self
            .counted
            .iter()
            .zip(entries.map(|e| e.length))
            .all(whole)
        {
            self.content.spoil();
        }
        Scanned {
            counted: self.counted,
            content: self.content,
            strays,
        }
    }

    /// Finds episodes without rows in files that the table does not name: their entries name
    /// another file.
    fn strays(
        &mut self,
        inventory: &Inventory,
        known: &HashSet<&PathBuf>,
        out: &mut Findings,
    ) -> HashSet<PathBuf> {
        let mut strays = HashSet::new();
        let empty = |c: &Counted| c.rows == Some(0);
        if !self.table.complete || !self.counted.iter().any(empty) {
            return strays;
        }
        for file in inventory.data.iter().filter(|f| !known.contains(f)) {
            let position = first_episode(&self.root.join(file))
                .and_then(|number| self.table.position(number))
                .filter(|position| empty(&self.counted[*position]));
            if let Some(position) = position {
                let message = format!(
                    "the episode table says another file than that with its rows, {}",
                    file.display()
                );
                out.add(Code::DataFile, self.table.place(position), message);
                self.counted[position].rows = None;
                strays.insert(file.clone());
            }
        }
        strays
    }

    fn file(&mut self, file: &Path, out: &mut Findings) {
        // An episode is in one file: damage to this one must not spoil the last of another.
        self.close(out);
        let wanted: HashSet<&str> = DEFAULT_FEATURES
            .iter()
            .map(|(name, _)| *name)
            .chain(self.content.features().iter().map(|f| f.name.as_str()))
            .collect();
        let mut told = HashSet::new();
        let mut unusable = false;
        let outcome = table::read(
            &self.root.join(file),
            |name| wanted.contains(name),
            |batch| {
                match self.columns(file, batch, &mut told, out) {
                    Some(batch) => self.batch(file, &batch, out),
                    None => unusable |= batch.num_rows() > 0,
                }
                Ok(())
            },
        );
        if let Err(error) = &outcome {
            parquet_finding(self.root, file, error, out);
        }
        if outcome.is_err() || unusable {
            self.give_up(file);
        }
    }

    /// The rows of this file are not known.
    fn give_up(&mut self, file: &Path) {
        self.open = None;
        for (position, data) in self.named.data.iter().enumerate() {
            if data.as_deref() == Some(file) {
                self.counted[position].rows = None;
            }
        }
        self.resync = true;
        self.content.spoil();
    }

    /// The columns of a batch; each that cannot be used is reported once a file. `None` if rows
    /// cannot be told apart.
    fn columns(
        &self,
        file: &Path,
        batch: &RecordBatch,
        told: &mut HashSet<String>,
        out: &mut Findings,
    ) -> Option<Batch> {
        let mut tell = |code, name: &str, problem: String| {
            if told.insert(name.to_owned()) {
                let message = format!("column {name}: {problem}");
                out.add(code, Place::file(file).feature(name), message);
            }
        };
        let mut counts = |name: &str| {
            columns::counts(batch, name)
                .map_err(|problem| tell(Code::ColumnMissing, name, problem))
                .ok()
        };
        let episode = counts("episode_index");
        let (frame, index) = (counts("frame_index"), counts("index"));
        let task = counts("task_index");
        let time = columns::scalars(batch, "timestamp")
            .map_err(|problem| tell(Code::ColumnMissing, "timestamp", problem))
            .ok();
        let mut numbers = Vec::new();
        for feature in self.content.features() {
            let column = batch.column_by_name(&feature.name);
            let found = column
                .ok_or((Code::ColumnMissing, "it is missing".to_owned()))
                .and_then(|c| columns::numbers(c).map_err(|e| (Code::ColumnShape, e)));
            let fits = match found {
                Ok(n) if n.width != feature.width && batch.num_rows() > 0 => Err((
                    Code::ColumnShape,
                    format!("{} values a row, but shape {:?}", n.width, feature.shape),
                )),
                other => other,
            };
            numbers.push(
                fits.map_err(|(code, problem)| tell(code, &feature.name, problem))
                    .ok(),
            );
        }
        Some(Batch {
            rows: batch.num_rows(),
            episode: episode?,
            frame,
            index,
            task,
            time,
            numbers,
        })
    }

    fn batch(&mut self, file: &Path, batch: &Batch, out: &mut Findings) {
        let at = |column: &Option<Vec<Option<u64>>>, row: usize| {
            column.as_ref().map(|c| c[row].unwrap_or(u64::MAX))
        };
        for row in 0..batch.rows {
            let frame = at(&batch.frame, row);
            self.settle(file, batch.episode[row], frame, at(&batch.index, row), out);
            let row_width = self.content.row_width();
            let Some(open) = &mut self.open else { continue };
            out.checked.rows += 1;
            check_frame(open, frame, out);
            if let Some(found) = at(&batch.index, row) {
                check_index(open, &mut self.index, found, out);
            }
            if let Some(times) = &batch.time {
                check_time(open, times[row], self.head.fps);
            }
            if let Some(task) = at(&batch.task, row) {
                check_task(open, task, self.tasks, out);
            }
            open.overflow |= open.kept + row_width > VALUE_LIMIT;
            if !open.overflow {
                open.kept += row_width;
                for (kept, numbers) in open.values.iter_mut().zip(&batch.numbers) {
                    kept.extend(numbers.iter().flat_map(|n| n.row(row)));
                }
            }
            open.rows += 1;
        }
    }

    /// Finds out which episode a row belongs to.
    fn settle(
        &mut self,
        file: &Path,
        episode: Option<u64>,
        frame: Option<u64>,
        index: Option<u64>,
        out: &mut Findings,
    ) {
        if let Some(open) = &mut self.open {
            if episode == Some(open.number) {
                return;
            }
            let goes_on = frame == Some(open.rows) && open.rows > 0;
            if goes_on || episode.is_none() {
                if open.first(Code::EpisodeIndex) {
                    let found = episode.map_or("nothing usable".to_owned(), |e| e.to_string());
                    let message = format!(
                        "episode_index is {found} in a row between those of episode {}",
                        open.number
                    );
                    out.add(Code::EpisodeIndex, open.place(open.rows), message);
                }
                return;
            }
        }
        self.close(out);
        let number = episode.unwrap_or_else(|| self.table.number(self.next));
        let position = self.follow(file, number, out);
        let from = position.and_then(|p| self.table.entries[p].from);
        if self.resync && (index == from || from.is_none()) {
            self.index = Counter::starting_at(index.unwrap_or(0));
        }
        self.resync = false;
        let features = self.content.features().len();
        self.open = Some(Open::new(number, position, file, features));
    }

    /// Checks that this episode is the one that the table has next; gives its position there.
    fn follow(&mut self, file: &Path, number: u64, out: &mut Findings) -> Option<usize> {
        let before = self.next;
        while self
            .counted
            .get(self.next)
            .is_some_and(|c| c.rows.is_none())
        {
            self.next += 1;
        }
        self.resync |= self.next != before;
        let position = self.table.position(number);
        let place = Place::file(file).episode(number);
        match position {
            None if self.table.complete => {
                let message =
                    format!("rows of episode {number}, which the episode table does not have");
                out.add(Code::EpisodeRows, place, message);
            }
            // Episodes that were left out have no rows, which is reported in the end.
            Some(found) if found > self.next => self.resync = true,
            Some(found) if found < self.next && self.counted[found].rows.is_some() => {
                let before = self.table.number(self.next - 1);
                let message =
                    format!("rows of episode {number} come after those of episode {before}");
                out.add(Code::EpisodeIndex, place, message);
                self.resync = true;
            }
            _ => {}
        }
        self.resync |= !self.table.complete;
        self.next = position.map_or(self.next, |p| p + 1);
        position
    }

    /// Ends the open episode.
    fn close(&mut self, out: &mut Findings) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        self.report_late(&mut open, out);
        let entry = open.position.map(|p| &self.table.entries[p]);
        if let (Some(entry), Some(position)) = (entry, open.position) {
            if let Some(rows) = &mut self.counted[position].rows {
                *rows += open.rows;
            }
            self.resync |= entry.length != Some(open.rows);
            let named = self.named.data[position].as_deref();
            if named.is_some_and(|n| n != open.file) {
                let said = named.unwrap_or(Path::new("")).display().to_string();
                let message = format!("its rows are here, but the episode table says {said}");
                out.add(Code::DataFile, open.place(0), message);
            }
            self.check_tasks(&mut open, position, out);
        }
        if open.overflow {
            let message = format!("{} rows are too many to look at their values", open.rows);
            out.add(Code::Unchecked, open.place(0), message);
            self.content.spoil();
            return;
        }
        let sound = open.told.is_empty()
            && entry.is_some_and(|e| e.length.is_none_or(|length| length == open.rows));
        let episode = EpisodeValues {
            number: open.number,
            file: &open.file,
            rows: open.rows,
            sound,
            values: &open.values,
            table: entry
                .zip(open.position)
                .filter(|(entry, _)| !entry.stats.is_empty())
                .map(|(entry, position)| (self.table.place(position), &*entry.stats)),
        };
        self.content.take(&episode, out);
    }

    fn report_late(&self, open: &mut Open, out: &mut Findings) {
        if let (Some((row, found, count)), Some(fps)) = (open.late, self.head.fps) {
            open.told.insert(Code::Timestamp);
            let message = format!(
                "timestamp is {found:.6} s where frame_index / fps is {:.6} s; {count} such rows here",
                row as f64 / fps
            );
            out.add(Code::Timestamp, open.place(row), message);
        }
    }

    /// Compares the episode's tasks in the table with those of its rows.
    fn check_tasks(&self, open: &mut Open, position: usize, out: &mut Findings) {
        let (Some(said), Some(sentences)) =
            (&self.table.entries[position].tasks, &self.tasks.sentences)
        else {
            return;
        };
        let found: Option<BTreeSet<&str>> = open
            .tasks
            .iter()
            .map(|task| sentences.get(task).map(String::as_str))
            .collect();
        let said: BTreeSet<&str> = said.iter().map(String::as_str).collect();
        if let Some(found) = found.filter(|f| *f != said && !open.told.contains(&Code::TaskUnknown))
        {
            let message = format!("the episode table says {said:?}, the rows say {found:?}");
            out.add(Code::EpisodeTasks, self.table.place(position), message);
        }
    }
}

/// Episode of the first row of a file.
fn first_episode(path: &Path) -> Option<u64> {
    let mut first = None;
    let read = table::read(
        path,
        |name| name == "episode_index",
        |batch| {
            let found = columns::counts(batch, "episode_index").ok();
            first = first.or(found.and_then(|f| f.first().copied().flatten()));
            Ok(())
        },
    );
    read.ok().and(first)
}

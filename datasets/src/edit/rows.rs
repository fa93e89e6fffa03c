//! The data files of a result: the sources' rows, cut, numbered anew, with the result's columns.
//!
//! Rows stream through in batches; `sink.rs` says which file they go to.

use super::add::column;
use super::columns::{RowNumbers, made, shaped, stored};
use super::plan::{Origin, Plan, Segment};
use super::sink::Sink;
use crate::error::{Error, Result};
use crate::info::{FileIndex, Info};
use crate::stats::{FeatureStats, Stats};
use crate::table;
use crate::tasks::Tasks;
use arrow_array::RecordBatch;
use std::path::{Path, PathBuf};

/// What is known of an episode when its rows are written.
#[derive(Debug)]
pub(super) struct WrittenEpisode {
    pub(super) data: FileIndex,
    pub(super) from_index: u64,
    /// Task sentences in the order of their first row.
    pub(super) tasks: Vec<String>,
    /// Statistics of the numeric features.
    pub(super) stats: Stats,
}

/// All rows of a result.
#[derive(Debug, Default)]
pub(super) struct WrittenRows {
    pub(super) episodes: Vec<WrittenEpisode>,
    pub(super) files: Vec<PathBuf>,
    pub(super) tasks: Tasks,
    pub(super) rows: u64,
    /// Values that are no finite numbers.
    pub(super) not_finite: u64,
}

/// Writes the data files under `root`.
pub(super) fn write(plan: &mut Plan<'_>, info: &Info, root: &Path) -> Result<WrittenRows> {
    let mut written = WrittenRows::default();
    let mut sink = Sink::new(info, root, plan.pack.map(|limits| limits.data_bytes));
    let segments = plan.segments.clone();
    let mut rest = &segments[..];
    while let Some(first) = rest.first() {
        let source = &plan.sources[first.source];
        let file = source.episodes[first.episode].data;
        let together = rest
            .windows(2)
            .take_while(|pair| {
                pair[1].source == first.source
                    && pair[1].episode > pair[0].episode
                    && source.episodes[pair[1].episode].data == file
            })
            .count()
            + 1;
        let (run, others) = rest.split_at(together);
        copy_run(plan, run, &mut sink, &mut written)?;
        rest = others;
    }
    written.files = sink.finish()?;
    Ok(written)
}

/// Copies episodes that lie in one source file.
fn copy_run(
    plan: &mut Plan<'_>,
    run: &[Segment],
    sink: &mut Sink<'_>,
    written: &mut WrittenRows,
) -> Result<()> {
    let first = run[0];
    let source_path = {
        let source = &plan.sources[first.source];
        source.data_file(&source.episodes[first.episode])?
    };
    let info = &plan.sources[first.source].info;
    let stored: Vec<String> = info
        .features
        .iter()
        .filter(|(_, f)| !f.is_video())
        .map(|(n, _)| n.to_owned())
        .collect();
    let mut copying = Run {
        plan,
        run,
        source: &source_path,
        sink,
        written,
        open: None,
        done: 0,
    };
    let wanted = |name: &str| stored.iter().any(|n| n == name);
    table::read(&source_path, wanted, |batch| copying.take(batch))?;
    copying.finish()
}

/// The episodes of one source file on their way.
struct Run<'p, 'a, 's> {
    plan: &'p mut Plan<'a>,
    run: &'p [Segment],
    source: &'p Path,
    sink: &'p mut Sink<'s>,
    written: &'p mut WrittenRows,
    open: Option<OpenEpisode>,
    /// Episodes of the run that are complete.
    done: usize,
}

/// The episode whose rows come in.
struct OpenEpisode {
    segment: Segment,
    /// The file it goes to.
    data: FileIndex,
    /// Rows of the source's episode that came in.
    seen: u64,
    from_index: u64,
    tasks: Vec<String>,
    /// Values of each numeric feature of the result, by its place among the features.
    values: Vec<Vec<f64>>,
}

/// The columns of a batch that number rows.
struct Numbers {
    episode: Vec<u64>,
    frame: Vec<u64>,
    task: Vec<u64>,
}

impl Run<'_, '_, '_> {
    /// Takes what belongs to the result out of a batch of the source.
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let numbers = Numbers {
            episode: table::counts(self.source, batch, "episode_index")?,
            frame: table::counts(self.source, batch, "frame_index")?,
            task: table::counts(self.source, batch, "task_index")?,
        };
        let mut row = 0;
        while row < numbers.episode.len() {
            let episode = numbers.episode[row];
            let same = numbers.episode[row..]
                .iter()
                .take_while(|e| **e == episode)
                .count();
            if self.begin(episode)? {
                self.take_rows(batch, &numbers, row, row + same)?;
            }
            row += same;
        }
        Ok(())
    }

    /// Makes the episode the open one; `false` if the result does without it.
    fn begin(&mut self, episode: u64) -> Result<bool> {
        if self
            .open
            .as_ref()
            .is_some_and(|o| o.segment.episode as u64 == episode)
        {
            return Ok(true);
        }
        let Some(place) = self.run.iter().position(|s| s.episode as u64 == episode) else {
            return Ok(false);
        };
        self.close()?;
        if place != self.done {
            return Err(Error::corrupt(
                self.source,
                format!("rows of episode {episode} come twice or out of order"),
            ));
        }
        self.open = Some(OpenEpisode {
            segment: self.run[place],
            data: self.sink.begin_episode(self.run[place].rows())?,
            seen: 0,
            from_index: self.written.rows,
            tasks: Vec::new(),
            values: vec![Vec::new(); self.plan.features.len()],
        });
        Ok(true)
    }

    /// Rows `start..end` of the batch, which belong to the open episode.
    fn take_rows(
        &mut self,
        batch: &RecordBatch,
        numbers: &Numbers,
        start: usize,
        end: usize,
    ) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let seen = open.seen;
        let in_order = numbers.frame[start..end]
            .iter()
            .zip(seen..)
            .all(|(frame, i)| *frame == i);
        if !in_order {
            return Err(Error::corrupt(
                self.source,
                format!(
                    "episode {}: frame_index does not count its rows from 0",
                    open.segment.episode
                ),
            ));
        }
        open.seen += (end - start) as u64;
        let (from, to) = (open.segment.from.max(seen), open.segment.to.min(open.seen));
        if from >= to {
            return Ok(());
        }
        let (first, count) = (start + (from - seen) as usize, (to - from) as usize);
        let part = batch.slice(first, count);
        self.write_part(&part, &numbers.task[first..first + count], from)
    }

    /// Writes rows that are in the result; the first is row `from` of the source's episode.
    fn write_part(&mut self, part: &RecordBatch, tasks: &[u64], from: u64) -> Result<()> {
        let tasks = self.task_numbers(tasks)?;
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let rows = RowNumbers {
            episode: self.written.episodes.len() as u64,
            frame: from - open.segment.from,
            index: self.written.rows,
            fps: self.plan.sources[open.segment.source].info.fps,
            trimmed: open.segment.from > 0,
        };
        let mut columns = Vec::with_capacity(self.plan.features.len());
        for place in 0..self.plan.features.len() {
            let planned = &self.plan.features[place];
            if planned.feature.is_video() {
                continue;
            }
            let array = match (&planned.origin, rows.column(&planned.name, part, &tasks)) {
                (_, Some(array)) => array,
                (Origin::Source(name), None) => stored(self.source, part, name, &planned.feature)?,
                (Origin::Added(added), None) => {
                    let (feature, added) = (planned.feature.clone(), *added);
                    let values = &mut self.plan.added[added].values;
                    let made = made(values, &feature, part, &rows, self.source)?;
                    shaped(self.source, column(&feature.dtype, made), &feature)?
                }
            };
            if self.plan.features[place].feature.is_numeric() {
                let values = table::flat_numbers(self.source, &array)?;
                self.written.not_finite += values.iter().filter(|v| !v.is_finite()).count() as u64;
                open.values[place].extend(values);
            }
            columns.push(array);
        }
        self.written.rows += part.num_rows() as u64;
        self.sink.append(self.source, &self.plan.features, columns)
    }

    /// Task numbers in the result, and the episode's list of sentences.
    fn task_numbers(&mut self, old: &[u64]) -> Result<Vec<i64>> {
        let Some(open) = &mut self.open else {
            return Ok(Vec::new());
        };
        let source = &self.plan.sources[open.segment.source];
        let mut last: Option<(u64, i64)> = None;
        let mut out = Vec::with_capacity(old.len());
        for number in old {
            if let Some((known, new)) = last
                && known == *number
            {
                out.push(new);
                continue;
            }
            let sentence = usize::try_from(*number)
                .ok()
                .and_then(|n| source.tasks.sentences().get(n))
                .ok_or_else(|| {
                    Error::corrupt(
                        self.source,
                        format!("task_index {number} is not in tasks.parquet"),
                    )
                })?;
            let sentence = match self.plan.relabel {
                Some(labels) => labels.sentence(open.segment.episode as u64, sentence),
                None => sentence,
            };
            let (new, _) = self.written.tasks.number(sentence);
            if !open.tasks.iter().any(|t| t == sentence) {
                open.tasks.push(sentence.to_owned());
            }
            last = Some((*number, new as i64));
            out.push(new as i64);
        }
        Ok(out)
    }

    /// Ends the open episode, if there is one.
    fn close(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let length = self.plan.sources[open.segment.source].episodes[open.segment.episode].length;
        if open.seen != length {
            return Err(Error::corrupt(
                self.source,
                format!(
                    "episode {} has {} rows here, but {length} in the episode table",
                    open.segment.episode, open.seen
                ),
            ));
        }
        let stats = self
            .plan
            .features
            .iter()
            .zip(&open.values)
            .filter(|(f, _)| f.feature.is_numeric())
            .map(|(f, values)| {
                let width = f.feature.stat_width().unwrap_or(1);
                let mut stats = FeatureStats::of_rows(values, width);
                stats.count = open.segment.rows();
                (f.name.clone(), stats)
            })
            .collect();
        self.written.episodes.push(WrittenEpisode {
            data: open.data,
            from_index: open.from_index,
            tasks: open.tasks,
            stats: Stats(stats),
        });
        self.done += 1;
        self.sink.end_episode()
    }

    fn finish(mut self) -> Result<()> {
        self.close()?;
        if self.done != self.run.len() {
            let missing = self.run[self.done].episode;
            return Err(Error::corrupt(
                self.source,
                format!("the rows of episode {missing} are missing"),
            ));
        }
        self.sink.end_source()
    }
}

//! The episode table against the rows: lengths, row ranges, and the totals in `info.json`.

use super::code::Code;
use super::episodes::{Entry, Table};
use super::files::Named;
use super::finding::{Findings, Place};
use super::head::Head;
use super::rows::Counted;
use super::tasks::TaskTable;

/// What the table comes to.
#[derive(Debug)]
pub(super) struct Ranges {
    /// Rows of each episode, by position in the table: what two of its length, its range and its
    /// data file agree on.
    pub(super) lengths: Vec<u64>,
    /// Episodes at the end of the table that a cut-off recording did not get to count.
    pub(super) uncommitted: usize,
}

impl Ranges {
    /// Checks lengths, ranges and totals.
    pub(super) fn check(
        head: &Head,
        table: &Table,
        named: &Named,
        counted: &[Counted],
        tasks: &TaskTable,
        out: &mut Findings,
    ) -> Self {
        let lengths = lengths(table, named, counted, out);
        check_ranges(table, &lengths, out);
        let mut ranges = Self {
            lengths,
            uncommitted: 0,
        };
        if table.complete {
            ranges.check_totals(head, table, tasks, out);
        }
        ranges
    }

    fn check_totals(&mut self, head: &Head, table: &Table, tasks: &TaskTable, out: &mut Findings) {
        let frames = |episodes: usize| {
            let lengths = self.lengths.iter().take(episodes);
            lengths.fold(0_u64, |sum, n| sum.saturating_add(*n))
        };
        let all = table.entries.len();
        let said = head.total_episodes.and_then(|n| usize::try_from(n).ok());
        // A recorder commits by counting the episode in info.json, last: rows beyond it that the
        // other total does not count either are what a crash left, not a wrong total.
        let committed = said
            .filter(|n| *n < all && head.has_frames(frames(*n)))
            .unwrap_or(all);
        self.uncommitted = all - committed;
        for position in committed..all {
            let message = format!("the episode is in the table, but info.json counts {committed}");
            out.add(Code::EpisodeUncommitted, table.place(position), message);
        }
        let known = tasks.count.unwrap_or(0);
        // The task of an episode that was not committed may be there already.
        let cut_off = self.uncommitted > 0 || out.has(Code::FileUnnamed);
        let known = match head.total_tasks() {
            Some(said) if tasks.count.is_none() || (cut_off && said < known) => said,
            _ => known,
        };
        head.check_totals(committed as u64, frames(committed), known, out);
    }
}

/// Rows of each episode; reports where the data file holds another number than the table says.
fn lengths(table: &Table, named: &Named, counted: &[Counted], out: &mut Findings) -> Vec<u64> {
    let mut lengths = Vec::with_capacity(table.entries.len());
    for (position, entry) in table.entries.iter().enumerate() {
        let rows = counted.get(position).and_then(|c| c.rows);
        let range = range(entry);
        let length = match (entry.length, rows, range) {
            (Some(length), Some(rows), Some(range)) if length != rows && rows == range => rows,
            (Some(length), ..) => length,
            (None, Some(rows), _) => rows,
            (None, None, range) => range.unwrap_or(0),
        };
        lengths.push(length);
        let differ = entry
            .length
            .zip(rows)
            .filter(|(length, rows)| length != rows);
        if let Some((length, rows)) = differ {
            let file = named.data.get(position).cloned().flatten();
            let place = Place {
                file,
                ..Place::default()
            };
            let message =
                format!("the data file has {rows} rows of it, the episode table says {length}");
            out.add(
                Code::EpisodeRows,
                place.episode(table.number(position)),
                message,
            );
        }
    }
    lengths
}

fn range(entry: &Entry) -> Option<u64> {
    entry.to?.checked_sub(entry.from?)
}

fn check_ranges(table: &Table, lengths: &[u64], out: &mut Findings) {
    let mut next = 0_u64;
    // Where the table goes on after an episode whose range was reported as wrong.
    let mut shifted = None;
    let mut file = None;
    for (position, entry) in table.entries.iter().enumerate() {
        let (Some(from), Some(to)) = (entry.from, entry.to) else {
            next = next.saturating_add(lengths[position]);
            continue;
        };
        let gap_is_known = !table.complete && file != Some(entry.file);
        if Some(from) == shifted || gap_is_known {
            next = from;
        }
        file = Some(entry.file);
        let end = next.saturating_add(lengths[position]);
        shifted = None;
        if (from, to) != (next, end) {
            let message =
                format!("its rows are {next} to {end}, the episode table says {from} to {to}");
            out.add(Code::EpisodeRange, table.place(position), message);
            shifted = (from != next).then_some(to);
        }
        next = end;
    }
}

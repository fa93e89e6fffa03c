//! Examines a dataset and names everything that is wrong with it, with place and remedy.
//!
//! [`crate::Dataset`] stops at the first damage; this goes on, so it reads every file in a way of its
//! own that bears damage: what cannot be read is a finding, and the rest is examined without it. One
//! damage should be one finding, so checks step back where another explains what they see.
//!
//! Order: head (`head.rs`) → tasks and episode table (`tasks.rs`, `episodes.rs`) → files
//! (`files.rs`) → rows (`rows.rs`, `open.rs`) with their values (`content.rs`, `joints.rs`, `timing.rs`,
//! `statistics.rs`) → ranges and totals (`ranges.rs`) → video indices (`videos.rs`, `pts.rs`) →
//! pictures (`pictures.rs`). The kinds of findings are one table in `code.rs`. Thresholds are
//! constants at the head of the file that uses them.
//!
//! Time grows linearly with files and rows. Memory holds the episode table with its statistics, the
//! values of one episode, and bounded lists of findings.

mod code;
mod columns;
mod content;
mod episodes;
mod files;
mod finding;
mod head;
mod joints;
mod open;
mod pictures;
mod pts;
mod ranges;
mod rows;
mod statistics;
pub(crate) mod stored;
mod tasks;
mod timing;
mod videos;

pub use code::Code;
pub use finding::{Checked, Finding, Place, Report, Severity};

use content::Content;
use episodes::Table;
use files::{Inventory, Named};
use finding::Findings;
use head::Head;
use pictures::Look;
use ranges::Ranges;
use rows::Scan;
use statistics::Layout;
use std::path::Path;
use tasks::TaskTable;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Pictures to decode in all videos together; 0 for none, [`u64::MAX`] for all.
    pub pictures: u64,
    /// Pictures to decode at most from the start of one video file.
    pub pictures_per_video: u64,
    /// Findings of one code to list; the others are counted.
    pub per_code: usize,
}

impl Default for Options {
    /// 3000 pictures, 300 of a file: some seconds of decoding.
    fn default() -> Self {
        Self {
            pictures: 3000,
            pictures_per_video: 300,
            per_code: 20,
        }
    }
}

impl Options {
    /// Looks at every picture.
    pub fn thorough() -> Self {
        Self {
            pictures: u64::MAX,
            pictures_per_video: u64::MAX,
            ..Self::default()
        }
    }
}

/// Examines the dataset in the folder `root`. Nothing in it is changed, and no damage is an error:
/// whatever is wrong is in the report.
pub fn examine(root: &Path, options: &Options) -> Report {
    let mut out = Findings::new(options.per_code);
    let inventory = Inventory::of(root);
    out.checked.bytes = inventory.bytes;
    inventory.leftovers(root, &mut out);
    match Head::read(root, &mut out) {
        Some(head) => examine_with(root, &head, &inventory, options, &mut out),
        None => inventory.check_each(root, &mut out),
    }
    out.report()
}

fn examine_with(
    root: &Path,
    head: &Head,
    inventory: &Inventory,
    options: &Options,
    out: &mut Findings,
) {
    let needed = head.total_episodes != Some(0);
    let layout = Layout::of(head);
    let tasks = TaskTable::read(root, needed, out);
    let table = Table::read(root, head, &layout, inventory, out);
    let named = Named::check(root, head, &table, out);
    let chosen = pictures::choose(&named, options);
    let filmed = pictures::episodes_in(&chosen, &named, &table);
    let stored = statistics::read_dataset(root, &layout, needed, out);
    let content = Content::new(head, &layout, stored, filmed);
    let scan = Scan::new(root, head, &table, &named, &tasks, content);
    let scanned = scan.run(inventory, out);
    if table.complete {
        named.report_unnamed(head, inventory, &scanned.strays, out);
    }
    let ranges = Ranges::check(head, &table, &named, &scanned.counted, &tasks, out);
    let mut content = scanned.content;
    if ranges.uncommitted > 0 || !table.complete {
        content.spoil();
    }
    let motion = content.finish(out);
    let films = videos::check(root, head, &table, &named, &ranges.lengths, out);
    let look = Look {
        root,
        head,
        table: &table,
        motion: &motion,
        per_video: options.pictures_per_video,
    };
    look.run(&films, &chosen, out);
}

/// Reads the index of a video as [`examine`] does; for `fuzz/`.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_index(path: &Path, file: &dyn crate::files::ReadAt) {
    let _ = pts::track_in(path, file);
}

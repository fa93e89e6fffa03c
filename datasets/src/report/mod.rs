//! A page that shows a dataset: one HTML file with everything in it, no script and no network.
//!
//! `sections.rs` has what is said of the whole, `episode.rs` one episode, `timing.rs` true times,
//! `pictures.rs` the film strips, `plot.rs` the drawings, `html.rs` the escaping of everything that the
//! dataset says. The page's size is bounded: episodes beyond it are listed without details, and the
//! page says so.

mod episode;
mod html;
mod pictures;
mod plot;
mod sections;
mod timing;

use crate::doctor::{self, examine};
use crate::error::{Error, Result};
use crate::fsio;
use crate::journal::marks::EpisodeMarks;
use crate::reader::Dataset;
use html::{escape, numbers};
use pictures::Strips;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How the page looks.
const STYLE: &str = include_str!("style.css");
/// Pictures that the examination decodes.
const EXAMINED_PICTURES: u64 = 1000;
/// Room for the style and what is said last, bytes.
const FRAME_BYTES: u64 = 64 << 10;
/// Episodes that are listed at all.
const LISTED: usize = 5000;

/// What to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Episodes to show; empty for all.
    pub episodes: Vec<u64>,
    /// Most bytes that the page may have.
    pub limit_bytes: u64,
}

impl Default for Options {
    /// All episodes in at most 24 MB.
    fn default() -> Self {
        Self {
            episodes: Vec::new(),
            limit_bytes: 24_000_000,
        }
    }
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    /// The page.
    pub path: PathBuf,
    /// Its size, bytes.
    pub bytes: u64,
    /// Episodes that it shows with pictures and plots.
    pub episodes: u64,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

/// Writes a page about the dataset in `root` to the file `out`. `progress` is told how many episodes of
/// how many are drawn.
///
/// # Errors
/// If the dataset cannot be opened, has not the episodes asked for, or the page cannot be written. What
/// cannot be read of single episodes is said on the page.
pub fn write(
    root: &Path,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Made> {
    let dataset = Dataset::open(root)?;
    let shown = shown(&dataset, options)?;
    let examined = doctor::Options {
        pictures: EXAMINED_PICTURES,
        ..doctor::Options::default()
    };
    let findings = examine(root, &examined);
    let marks = EpisodeMarks::read(root)?;
    let mut left_out = Vec::new();
    let before = [
        sections::overview(&dataset, &findings, &marks),
        sections::findings(&findings),
        sections::tasks(&dataset, &mut left_out),
        sections::lengths(&dataset, &shown),
        timing::section(&dataset, &mut left_out),
    ]
    .concat();
    let after = sections::statistics(&dataset, &mut left_out);
    let spent = FRAME_BYTES + before.len() as u64 + after.len() as u64;
    let mut episodes = Episodes {
        dataset: &dataset,
        strips: Strips::of(&dataset, shown.len())?,
        marks: &marks,
        room: options.limit_bytes.saturating_sub(spent),
        html: String::new(),
        detailed: 0,
    };
    let bare = episodes.draw(&shown, &mut left_out, progress);
    left_out.extend(episodes.strips.problem.take());
    if !bare.is_empty() {
        left_out.push(format!(
            "Details of {} {}: the page would be larger than {} MB. Name the episodes to show with --episode, or allow more with --max-mb.",
            if bare.len() == 1 { "episode" } else { "episodes" },
            numbers(&bare),
            options.limit_bytes / 1_000_000
        ));
    }
    let list = format!(
        "<section><h2>Episodes</h2>{}{}</section>",
        legend(&dataset),
        episodes.html
    );
    let body = [before, list, after, sections::left_out(&left_out)].concat();
    let page = page(&name(dataset.root()), &body);
    fsio::replace(out, page.as_bytes())?;
    Ok(Made {
        path: out.to_owned(),
        bytes: page.len() as u64,
        episodes: episodes.detailed,
        left_out,
    })
}

/// The episodes to show, in order.
fn shown(dataset: &Dataset, options: &Options) -> Result<Vec<u64>> {
    if options.episodes.is_empty() {
        return Ok(dataset.episodes().iter().map(|e| e.index).collect());
    }
    let mut shown = options.episodes.clone();
    shown.sort_unstable();
    shown.dedup();
    shown
        .iter()
        .try_for_each(|e| dataset.episode(*e).map(|_| ()))?;
    Ok(shown)
}

/// The list of episodes in progress.
struct Episodes<'a> {
    dataset: &'a Dataset,
    strips: Strips,
    marks: &'a EpisodeMarks,
    /// Bytes that may still be spent.
    room: u64,
    html: String,
    detailed: u64,
}

impl Episodes<'_> {
    /// Draws the episodes and gives those for whose details there was no room.
    fn draw(
        &mut self,
        shown: &[u64],
        left_out: &mut Vec<String>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Vec<u64> {
        let dataset = self.dataset;
        // Every episode is listed, before any gets details.
        let mut listed = Vec::new();
        let mut names_bytes = 0;
        for entry in shown.iter().filter_map(|n| dataset.episode(*n).ok()) {
            let page = episode::Page {
                dataset,
                entry,
                mark: self.marks.episodes.get(&entry.index),
            };
            let bare = page.bare();
            names_bytes += bare.len() as u64;
            if listed.len() == LISTED || names_bytes > self.room / 2 {
                let beyond = shown.len() - listed.len();
                left_out.push(format!("{beyond} episodes that are not even listed."));
                break;
            }
            self.room -= bare.len() as u64;
            listed.push((page, bare));
        }
        let total = listed.len() as u64;
        let mut without = Vec::new();
        for (done, (page, bare)) in listed.iter().enumerate() {
            progress(done as u64, total);
            // Once the room is used up, no later episode gets any, so that the page has one cut.
            let whole = without
                .is_empty()
                .then(|| page.whole(&mut self.strips, done == 0));
            let more = |whole: &String| (whole.len() as u64).saturating_sub(bare.len() as u64);
            match whole.filter(|whole| more(whole) <= self.room) {
                Some(whole) => {
                    self.room -= more(&whole);
                    self.html.push_str(&whole);
                    self.detailed += 1;
                }
                None => {
                    without.push(page.entry.index);
                    self.html.push_str(bare);
                }
            }
        }
        progress(total, total);
        without
    }
}

/// The whole page around its body.
fn page(name: &str, body: &str) -> String {
    let title = escape(name);
    // No script, no network: whatever a dataset's text tries, the browser refuses.
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><main>{body}\
         <footer>Made by sinew {} from the dataset {title}. Values are in the dataset's own units.</footer>\
         </main></body></html>\n",
        env!("CARGO_PKG_VERSION"),
    )
}

fn legend(dataset: &Dataset) -> String {
    let features = &dataset.info().features;
    let has = |name: &str| features.get(name).is_some();
    if has(crate::STATE) && has(crate::ACTION) {
        "<p class=\"legend\"><span class=\"k0\">state</span> as measured, <span class=\"k1\">action</span> as commanded</p>".into()
    } else {
        String::new()
    }
}

/// What the dataset is called: its folder's name.
fn name(root: &Path) -> String {
    let whole = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let name = whole.file_name().unwrap_or(whole.as_os_str());
    name.to_string_lossy().into_owned()
}

/// What went wrong with a part of the page, for the reader of the page.
fn problem(error: &Error) -> String {
    format!("<p class=\"problem\">{}</p>", escape(&error.to_string()))
}

//! The pictures themselves, a bounded sample: black, or standing still while the robot moved.
//!
//! Of evenly chosen files the first pictures are decoded and compared on a coarse grid. Pictures
//! are the same when no point of the grid differs by more than [`SAME`]: a live camera's noise and
//! the encoder's alternating key frames make a larger difference.

use super::Options;
use super::code::Code;
use super::episodes::Table;
use super::files::{Named, problem_of};
use super::finding::{Findings, Place};
use super::head::Head;
use super::videos::Film;
use crate::Error;
use crate::video::{Picture, VideoReader};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Points of the grid, across and down.
const GRID: (u32, u32) = (32, 24);
/// Largest difference between equal pictures, of 255.
const SAME: u8 = 2;
/// A picture without a brighter point is black, of 255.
const BLACK: u8 = 24;
/// Time that a picture must stand still or be black, s.
const LEAST_S: f64 = 1.0;
/// Fewer pictures than this say nothing.
const LEAST_PICTURES: u64 = 10;
/// The camera is frozen if meanwhile the robot moved at this part of its mean speed.
const MOVING: f32 = 0.25;

/// Files to look into: every n-th, so that as many pictures come together as wanted.
pub(super) fn choose(named: &Named, options: &Options) -> HashSet<PathBuf> {
    let all = named.videos.len();
    let films = options.pictures.div_ceil(options.pictures_per_video.max(1));
    // Without a limit the quotient means nothing.
    let wanted = match options.pictures {
        u64::MAX => all,
        _ => usize::try_from(films).unwrap_or(all).min(all),
    };
    let places: HashSet<usize> = (0..wanted).map(|i| i * all / wanted).collect();
    let files = named.videos.keys().enumerate();
    files
        .filter(|(place, _)| places.contains(place))
        .map(|(_, file)| file.clone())
        .collect()
}

/// Numbers of the episodes in these files.
pub(super) fn episodes_in(files: &HashSet<PathBuf>, named: &Named, table: &Table) -> HashSet<u64> {
    named
        .videos
        .iter()
        .filter(|(file, _)| files.contains(*file))
        .flat_map(|(_, (_, positions))| positions.iter().map(|p| table.number(*p)))
        .collect()
}

/// What is needed to judge pictures.
pub(super) struct Look<'a> {
    pub(super) root: &'a Path,
    pub(super) head: &'a Head,
    pub(super) table: &'a Table,
    /// How far the joints had moved at each row, by episode.
    pub(super) motion: &'a HashMap<u64, Vec<f32>>,
    pub(super) per_video: u64,
}

impl Look<'_> {
    /// Decodes the chosen films; stops at the first that shows that this build or machine cannot.
    pub(super) fn run(&self, films: &[Film], chosen: &HashSet<PathBuf>, out: &mut Findings) {
        let wanted = |f: &&Film| chosen.contains(&f.file) && !self.is_depth(f);
        for film in films.iter().filter(wanted) {
            match self.film(film, out) {
                Err(error) if is_ours(&error) => {
                    let message = problem_of(&error);
                    out.add(Code::PicturesUnchecked, Place::file(&film.file), message);
                    return;
                }
                Err(error) => {
                    let place = self.place(film, film.episodes.first().map_or(0, |(p, _)| *p));
                    out.add(Code::VideoDamaged, place, problem_of(&error));
                }
                Ok(()) => {}
            }
        }
    }

    /// Of distances, darkness means nothing, and noise that shows life is below a code.
    fn is_depth(&self, film: &Film) -> bool {
        let name = &self.head.cameras[film.camera];
        let mut features = self.head.features.iter();
        features.any(|f| f.name == *name && f.shape.last() == Some(&1))
    }

    fn place(&self, film: &Film, position: usize) -> Place {
        Place::file(&film.file)
            .episode(self.table.number(position))
            .feature(&self.head.cameras[film.camera])
    }

    fn film(&self, film: &Film, out: &mut Findings) -> crate::Result<()> {
        let mut reader = VideoReader::open(&self.root.join(&film.file))?;
        let (mut decoded, mut ended) = (0, false);
        for (position, rows) in &film.episodes {
            let mut run = Run::default();
            let mut told = HashSet::new();
            for row in 0..*rows {
                if ended || decoded == self.per_video {
                    break;
                }
                let Some(picture) = reader.next_picture()? else {
                    ended = true;
                    break;
                };
                decoded += 1;
                out.checked.pictures += 1;
                let grid = grid(&picture);
                if !run.goes_on(&grid) {
                    self.judge(film, *position, &run, &mut told, out);
                    run = Run::starting(row, grid);
                }
                run.length += 1;
            }
            self.judge(film, *position, &run, &mut told, out);
        }
        if ended && decoded < film.frames {
            let problem = format!(
                "only {decoded} pictures can be decoded of the {} in its index",
                film.frames
            );
            return Err(Error::Corrupt {
                path: film.file.clone(),
                problem,
            });
        }
        Ok(())
    }

    /// Reports a run of equal pictures if it is long and has no good reason.
    fn judge(
        &self,
        film: &Film,
        position: usize,
        run: &Run,
        told: &mut HashSet<Code>,
        out: &mut Findings,
    ) {
        let least = (LEAST_S * self.head.fps.unwrap_or(30.0)).ceil() as u64;
        if run.length < least.max(LEAST_PICTURES) {
            return;
        }
        let code = if run.brightest() <= BLACK {
            Code::CameraBlack
        } else {
            Code::CameraFrozen
        };
        if code == Code::CameraFrozen && !self.moved(self.table.number(position), run) {
            return;
        }
        if told.insert(code) {
            let what = if code == Code::CameraBlack {
                "black"
            } else {
                "the same picture while the robot moved"
            };
            let message = format!("{} frames in a row are {what}", run.length);
            let place = self.place(film, position).frame(run.start);
            out.add(code, place, message);
        }
    }

    /// Whether the robot moved during a run. Of a robot that is not known to stand, it is assumed.
    fn moved(&self, episode: u64, run: &Run) -> bool {
        let Some(motion) = self.motion.get(&episode) else {
            return true;
        };
        let at = |row: u64| {
            motion
                .get(row as usize)
                .or(motion.last())
                .copied()
                .unwrap_or(0.0)
        };
        let all = at(motion.len() as u64);
        let meanwhile = at(run.start + run.length - 1) - at(run.start);
        let time = (run.length - 1) as f32 / motion.len().saturating_sub(1).max(1) as f32;
        all > 0.0 && meanwhile / all >= MOVING * time
    }
}

/// Whether the trouble is this machine's and not the file's.
fn is_ours(error: &Error) -> bool {
    match error {
        Error::NoVideo => true,
        Error::Video { problem, .. } => {
            problem.contains("missing a plug-in") || problem.starts_with("no decoder")
        }
        _ => false,
    }
}

/// Equal pictures in a row.
#[derive(Debug, Default)]
struct Run {
    start: u64,
    length: u64,
    grid: Vec<u8>,
}

impl Run {
    fn starting(start: u64, grid: Vec<u8>) -> Self {
        Self {
            start,
            length: 0,
            grid,
        }
    }

    fn goes_on(&self, grid: &[u8]) -> bool {
        self.grid.len() == grid.len()
            && self
                .grid
                .iter()
                .zip(grid)
                .all(|(a, b)| a.abs_diff(*b) <= SAME)
    }

    fn brightest(&self) -> u8 {
        self.grid.iter().copied().max().unwrap_or(0)
    }
}

/// The colours at the points of the grid.
fn grid(picture: &Picture) -> Vec<u8> {
    let mut points = Vec::with_capacity(3 * (GRID.0 * GRID.1) as usize);
    for row in 0..GRID.1 {
        for column in 0..GRID.0 {
            let (x, y) = (
                (2 * column + 1) * picture.width / (2 * GRID.0),
                (2 * row + 1) * picture.height / (2 * GRID.1),
            );
            let at = 3 * (y as usize * picture.width as usize + x as usize);
            points.extend(picture.rgb.get(at..at + 3).unwrap_or(&[0; 3]));
        }
    }
    points
}

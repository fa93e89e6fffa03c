//! The video files against the episode table, without decoding them.

use super::code::Code;
use super::episodes::Table;
use super::files::Named;
use super::finding::{Findings, Place};
use super::head::Head;
use super::pts::{self, Track, Trouble};
use std::path::{Path, PathBuf};

/// LeRobot's tolerance between the wanted time and that of the frame, s.
const TIME_TOLERANCE_S: f64 = 1e-4;

/// A video file and the episodes in it.
#[derive(Debug, Clone)]
pub(super) struct Film {
    pub(super) file: PathBuf,
    /// Position among the cameras.
    pub(super) camera: usize,
    /// Positions of the episodes in the table, in the order of their frames, with their rows.
    pub(super) episodes: Vec<(usize, u64)>,
    /// Frames in its index.
    pub(super) frames: u64,
}

/// Checks all video files; gives those that can be looked at.
pub(super) fn check(
    root: &Path,
    head: &Head,
    table: &Table,
    named: &Named,
    lengths: &[u64],
    out: &mut Findings,
) -> Vec<Film> {
    let mut films = Vec::new();
    for (file, (camera, positions)) in &named.videos {
        let mut episodes: Vec<(usize, u64)> = positions.iter().map(|p| (*p, lengths[*p])).collect();
        let from = |position: usize| span(table, position, *camera).map_or(0.0, |s| s.from_s);
        episodes.sort_by(|a, b| from(a.0).total_cmp(&from(b.0)));
        let mut film = Film {
            file: file.clone(),
            camera: *camera,
            episodes,
            frames: 0,
        };
        let checker = Checker { head, table };
        if let Some(track) = checker.track(root, &film, out) {
            film.frames = track.shown_s.len() as u64;
            checker.check(&film, &track, out);
            films.push(film);
        } else {
            checker.spans(&film, out);
        }
    }
    films
}

fn span(table: &Table, position: usize, camera: usize) -> Option<super::episodes::Span> {
    table.entries.get(position)?.videos.get(camera).copied()?
}

struct Checker<'a> {
    head: &'a Head,
    table: &'a Table,
}

impl Checker<'_> {
    /// The place of a finding about the whole file; its episode if there is but one.
    fn place(&self, film: &Film) -> Place {
        let place = Place::file(&film.file).feature(&self.head.cameras[film.camera]);
        match film.episodes.as_slice() {
            [(only, _)] => place.episode(self.table.number(*only)),
            _ => place,
        }
    }

    fn track(&self, root: &Path, film: &Film, out: &mut Findings) -> Option<Track> {
        let path = root.join(&film.file);
        if !path.is_file() {
            let episodes = super::files::of_episodes(film.episodes.len() as u64);
            let message = format!("the video of {episodes} is absent");
            out.add(Code::FileMissing, self.place(film), message);
            return None;
        }
        out.checked.video_files += 1;
        match pts::track(&path) {
            Ok(track) => Some(track),
            Err(Trouble::NoIndex(problem)) => {
                out.add(Code::VideoIndex, self.place(film), problem);
                None
            }
            Err(Trouble::Damaged(problem)) => {
                out.add(Code::VideoDamaged, self.place(film), problem);
                None
            }
        }
    }

    fn check(&self, film: &Film, track: &Track, out: &mut Findings) {
        self.size(film, track, out);
        self.times(film, track, out);
        self.count(film, track, out);
        self.spans(film, out);
    }

    fn size(&self, film: &Film, track: &Track, out: &mut Findings) {
        let (width, height) = track.size;
        let shape = self.head.camera(film.camera).map_or(&[][..], |c| &c.shape);
        // LeRobot also reads channels first.
        let fits = |sides: &[u64]| sides == [height, width];
        if shape.len() != 3 || fits(&shape[..2]) || fits(&shape[1..]) {
            return;
        }
        let message =
            format!("the video is {width}×{height}, but the feature's shape is {shape:?}");
        out.add(Code::VideoSize, self.place(film), message);
    }

    fn times(&self, film: &Film, track: &Track, out: &mut Findings) {
        let shown = &track.shown_s;
        if let Some(at) = shown.windows(2).position(|w| w[1] - w[0] <= 0.0) {
            let message = format!(
                "frames {at} and {} of the file are both shown at {:.4} s",
                at + 1,
                shown[at]
            );
            let place = self.place(film).frame(at as u64 + 1);
            out.add(Code::VideoPts, place, message);
            return;
        }
        let Some(fps) = self.head.fps else { return };
        let off = |(at, time): (usize, &f64)| (time - at as f64 / fps).abs() >= TIME_TOLERANCE_S;
        let wrong = shown.iter().enumerate().filter(|(at, t)| off((*at, t)));
        let count = wrong.clone().count();
        if let Some((at, time)) = wrong.into_iter().next() {
            let message = format!(
                "frame {at} of the file is shown at {time:.4} s instead of {:.4} s; {count} such frames",
                at as f64 / fps
            );
            out.add(Code::VideoRate, self.place(film).frame(at as u64), message);
        }
    }

    fn count(&self, film: &Film, track: &Track, out: &mut Findings) {
        let rows = film
            .episodes
            .iter()
            .fold(0_u64, |sum, (_, n)| sum.saturating_add(*n));
        let frames = track.shown_s.len() as u64;
        // With a part of the table unreadable, other episodes may be in the file.
        if rows != frames && self.table.complete {
            let message = format!("{frames} frames for {rows} rows");
            out.add(Code::VideoFrames, self.place(film), message);
        }
    }

    fn spans(&self, film: &Film, out: &mut Findings) {
        let Some(fps) = self.head.fps.filter(|_| self.table.complete) else {
            return;
        };
        let mut rows = 0_u64;
        for (position, length) in &film.episodes {
            let Some(said) = span(self.table, *position, film.camera) else {
                continue;
            };
            let (from, to) = (rows as f64 / fps, rows.saturating_add(*length) as f64 / fps);
            rows = rows.saturating_add(*length);
            // The start decides which frame is found; of the end only its frame matters. Written
            // so that not-a-number is wrong.
            let right =
                (said.from_s - from).abs() < TIME_TOLERANCE_S && (said.to_s - to).abs() < 0.5 / fps;
            if !right {
                let message = format!(
                    "its frames are at {from:.4} to {to:.4} s of {}, the episode table says {:.4} to {:.4} s",
                    film.file.display(),
                    said.from_s,
                    said.to_s
                );
                let key = &self.head.cameras[film.camera];
                out.add(
                    Code::VideoSpan,
                    self.table.place(*position).feature(key),
                    message,
                );
            }
        }
    }
}

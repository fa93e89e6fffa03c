//! What a result is made of.

use super::add::Added;
use super::pack::Limits;
use super::reencode::Reencode;
use super::relabel::Relabel;
use crate::episodes::{self, Episode, VideoSpan};
use crate::error::{Error, Result};
use crate::features::{DEFAULT_FEATURES, Feature, Features};
use crate::info::{DATA_PATH, Info, VIDEO_PATH};
use crate::journal::marks::EpisodeMarks;
use crate::tasks::Tasks;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A dataset that is read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) root: PathBuf,
    pub(crate) info: Info,
    pub(crate) tasks: Tasks,
    pub(crate) episodes: Vec<Episode>,
    pub(crate) marks: EpisodeMarks,
}

impl Source {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let info = Info::read(root)?;
        if info.total_episodes == 0 {
            return Err(Error::edit(root, "it has no episodes"));
        }
        Ok(Self {
            root: root.to_owned(),
            tasks: Tasks::read(root)?,
            episodes: episodes::read_all(root, &info, true)?,
            marks: EpisodeMarks::read(root)?,
            info,
        })
    }

    pub(super) fn data_file(&self, episode: &Episode) -> Result<PathBuf> {
        Ok(self.root.join(self.info.data_file(episode.data)?))
    }

    pub(super) fn video_file(&self, span: &VideoSpan) -> Result<PathBuf> {
        Ok(self.root.join(self.info.video_file(&span.key, span.file)?))
    }

    /// Where the episode's frames of a camera are.
    pub(super) fn span(&self, episode: usize, key: &str) -> Result<&VideoSpan> {
        let spans = &self.episodes[episode].videos;
        spans.iter().find(|s| s.key == key).ok_or_else(|| {
            Error::corrupt(&self.root, format!("episode {episode} has no video {key}"))
        })
    }

    /// Checks that the episodes exist.
    pub(super) fn check_episodes<'a>(
        &self,
        wanted: impl IntoIterator<Item = &'a u64>,
    ) -> Result<()> {
        let count = self.episodes.len() as u64;
        match wanted.into_iter().find(|e| **e >= count) {
            Some(episode) => Err(Error::edit(
                &self.root,
                format!(
                    "there is no episode {episode}; it has episodes 0 to {}",
                    count - 1
                ),
            )),
            None => Ok(()),
        }
    }

    /// Checks that the feature exists and is not one of LeRobot's own.
    pub(super) fn check_feature(&self, name: &str) -> Result<&Feature> {
        if DEFAULT_FEATURES.iter().any(|(n, _)| *n == name) {
            return Err(Error::edit(
                &self.root,
                format!("{name} belongs to every LeRobot dataset and cannot be changed"),
            ));
        }
        self.info.features.get(name).ok_or_else(|| {
            Error::edit(
                &self.root,
                format!(
                    "there is no feature {name}; it has {}",
                    self.info.features.listing()
                ),
            )
        })
    }
}

/// Rows of a source's episode that become an episode of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) source: usize,
    pub(super) episode: usize,
    /// First row.
    pub(super) from: u64,
    /// Row after the last.
    pub(super) to: u64,
}

impl Segment {
    pub(super) fn rows(&self) -> u64 {
        self.to - self.from
    }
}

/// Where a feature's values come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The feature of this name in the sources.
    Source(String),
    /// The entry of [`Plan::added`].
    Added(usize),
}

/// A feature of the result.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) feature: Feature,
    pub(super) origin: Origin,
}

/// A result, before it exists.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(super) sources: Vec<Source>,
    pub(super) segments: Vec<Segment>,
    pub(super) features: Vec<Planned>,
    pub(super) added: Vec<Added<'a>>,
    pub(super) relabel: Option<&'a Relabel>,
    pub(super) reencode: Option<&'a Reencode>,
    pub(super) robot_type: Option<String>,
    /// Set to join small files into large ones.
    pub(crate) pack: Option<Limits>,
    /// Whether statistics of pictures that the sources lack are computed.
    pub(crate) complete_pictures: bool,
    pub(crate) notes: Vec<String>,
}

impl<'a> Plan<'a> {
    /// All of one dataset, as it is.
    pub(crate) fn of(root: &Path) -> Result<Self> {
        Ok(Self::of_sources(vec![Source::open(root)?]))
    }

    /// All episodes of the sources, with the features of the first.
    pub(crate) fn of_sources(sources: Vec<Source>) -> Self {
        let mut segments = Vec::new();
        for (source, opened) in sources.iter().enumerate() {
            segments.extend(
                opened
                    .episodes
                    .iter()
                    .enumerate()
                    .map(|(episode, e)| Segment {
                        source,
                        episode,
                        from: 0,
                        to: e.length,
                    }),
            );
        }
        let first = sources.first().map(|s| &s.info);
        let features = first
            .iter()
            .flat_map(|info| info.features.iter())
            .map(|(name, feature)| Planned {
                name: name.to_owned(),
                feature: feature.clone(),
                origin: Origin::Source(name.to_owned()),
            })
            .collect();
        Self {
            robot_type: first.and_then(|i| i.robot_type.clone()),
            sources,
            segments,
            features,
            added: Vec::new(),
            relabel: None,
            reencode: None,
            pack: None,
            complete_pictures: false,
            notes: Vec::new(),
        }
    }

    /// The only source of all operations but merging.
    pub(crate) fn source(&self) -> &Source {
        &self.sources[0]
    }

    /// Leaves only the episodes of the set.
    pub(super) fn keep(&mut self, episodes: &BTreeSet<u64>) {
        self.segments
            .retain(|s| episodes.contains(&(s.episode as u64)));
    }

    /// The cameras whose frames are in videos: the feature's name in the result and in the sources.
    pub(super) fn videos(&self) -> impl Iterator<Item = (&Planned, &str)> {
        self.features.iter().filter_map(|f| match &f.origin {
            Origin::Source(name) if f.feature.is_video() => Some((f, name.as_str())),
            _ => None,
        })
    }

    /// The head of the result, without its totals.
    pub(super) fn info(&self) -> Info {
        let mut info = self.source().info.clone();
        info.features = Features(
            self.features
                .iter()
                .map(|f| (f.name.clone(), f.feature.clone()))
                .collect(),
        );
        info.robot_type.clone_from(&self.robot_type);
        info.data_path = DATA_PATH.into();
        info.video_path = self.videos().next().is_some().then(|| VIDEO_PATH.into());
        // Ranges over the old episodes would be wrong.
        info.splits.clear();
        info
    }
}

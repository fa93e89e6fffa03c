//! What a recorder needs to begin or to go on with a dataset: the claim on its folder, the encoder,
//! the check that the robot is the same, and the numbers of the next files.

use crate::episodes::Episode;
use crate::error::{Error, Result};
use crate::features::Features;
use crate::fsio;
use crate::info::{FileIndex, Info};
use crate::journal::plan::Plan;
use crate::journal::replay::replay;
use crate::spec::{CameraSpec, Codec, DatasetSpec};
use crate::video::{Choice, Encoder, Quality, VideoSpec, choose, depth};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// Where an episode is put together; hidden, so that no reader takes it for data.
pub(crate) const STAGING: &str = ".recording";
/// The file in it whose lock claims the dataset.
const LOCK: &str = "lock";

/// Numbers of the files that the next episode will get.
#[derive(Debug, Clone, Default)]
pub(crate) struct NextFiles {
    pub(crate) data: FileIndex,
    pub(crate) meta: FileIndex,
    /// One a camera.
    pub(crate) videos: Vec<FileIndex>,
}

impl NextFiles {
    pub(crate) fn after(episodes: &[Episode], spec: &DatasetSpec, chunks_size: u64) -> Self {
        let next = |files: &mut dyn Iterator<Item = FileIndex>| {
            files
                .max()
                .map_or(FileIndex::default(), |f| f.next(chunks_size))
        };
        Self {
            data: next(&mut episodes.iter().map(|e| e.data)),
            meta: next(&mut episodes.iter().map(|e| e.meta)),
            videos: spec
                .cameras
                .iter()
                .map(|camera| {
                    let key = camera.key();
                    next(
                        &mut episodes
                            .iter()
                            .flat_map(|e| &e.videos)
                            .filter(|v| v.key == key)
                            .map(|v| v.file),
                    )
                })
                .collect(),
        }
    }

    pub(crate) fn advanced(&self, chunks_size: u64) -> Self {
        Self {
            data: self.data.next(chunks_size),
            meta: self.meta.next(chunks_size),
            videos: self.videos.iter().map(|v| v.next(chunks_size)).collect(),
        }
    }
}

pub(crate) fn features(spec: &DatasetSpec, encoder: Option<Encoder>, quality: Quality) -> Features {
    spec.features(|camera| {
        if camera.depth {
            return depth::video_info(camera, spec.fps);
        }
        let encoder = encoder.unwrap_or_default();
        VideoSpec::recording(camera.width, camera.height, spec.fps, encoder)
            .with(quality)
            .lerobot_info()
    })
}

/// How to encode colour video; a dataset that is resumed keeps its codec.
pub(crate) fn choose_encoder(
    spec: &DatasetSpec,
    recorded: Option<Codec>,
    quality: Quality,
) -> Result<Option<Choice>> {
    let cameras: Vec<&CameraSpec> = spec
        .cameras
        .iter()
        .filter(|camera| camera.is_colour_video())
        .collect();
    if cameras.is_empty() {
        return Ok(None);
    }
    let codec = match spec.codec {
        Codec::Auto => recorded.unwrap_or_default(),
        named => named,
    };
    choose(codec, &cameras, spec.fps, quality).map(Some)
}

pub(crate) fn recorded_codec(info: &Info) -> Option<Codec> {
    let videos = info.features.iter().map(|(_, feature)| feature);
    let mut colour = videos.filter(|f| f.is_video() && !depth::is_depth(f));
    let facts = colour.next()?.info.as_ref()?;
    match facts.get("video.codec")?.as_str()? {
        "h264" => Some(Codec::H264),
        "hevc" => Some(Codec::Hevc),
        "av1" => Some(Codec::Av1),
        _ => None,
    }
}

pub(crate) fn check_compatible(
    root: &Path,
    info: &Info,
    spec: &DatasetSpec,
    wanted: &Features,
) -> Result<()> {
    let refuse = |problem: String| {
        Err(Error::Incompatible {
            root: root.to_owned(),
            problem,
        })
    };
    if info.fps != spec.fps {
        return refuse(format!("it has {} fps, not {}", info.fps, spec.fps));
    }
    if info.features.0.len() != wanted.0.len() {
        return refuse(format!(
            "it has the features {}, not {}",
            info.features.listing(),
            wanted.listing()
        ));
    }
    for ((had, feature), (want, new)) in info.features.0.iter().zip(&wanted.0) {
        if had != want || feature.dtype != new.dtype || feature.shape != new.shape {
            return refuse(format!(
                "its feature {had} ({} {:?}) is not {want} ({} {:?})",
                feature.dtype, feature.shape, new.dtype, new.shape
            ));
        }
        let unit = feature.info.as_ref().and_then(|i| i.get("depth_unit"));
        if unit.is_some_and(|unit| unit == "m") {
            return refuse(format!(
                "{had} keeps distances in m; they are recorded in mm"
            ));
        }
        if !feature.is_camera() && feature.entry_names() != new.entry_names() {
            return refuse(format!(
                "the entries of {had} are {}, not {}",
                feature.names, new.names
            ));
        }
    }
    Ok(())
}

/// The error that says what a crash left, if it left an episode that could be recovered.
pub(crate) fn unsaved(root: &Path, info: &Info) -> Result<Option<Error>> {
    let staging = root.join(STAGING);
    let unrepaired = |rows, task: String| {
        Some(Error::Unrepaired {
            root: root.to_owned(),
            rows,
            task,
        })
    };
    if let Some(plan) = Plan::read(&staging)? {
        return Ok(unrepaired(plan.rows, plan.task));
    }
    let found = replay(&staging)?.filter(|replay| replay.is_of(info));
    Ok(found.and_then(|replay| unrepaired(replay.rows.len(), replay.rows.task().to_owned())))
}

/// Makes the staging folder and claims the dataset for this process.
pub(crate) fn lock(root: &Path) -> Result<File> {
    let staging = root.join(STAGING);
    fsio::create_dir(&staging)?;
    let path = staging.join(LOCK);
    let file = File::create(&path).map_err(Error::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked {
            root: root.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(Error::Io {
            action: "lock",
            path,
            source,
        }),
    }
}

/// A dataset that nobody may record into while its files are replaced.
#[derive(Debug)]
pub(crate) struct Claim {
    folder: PathBuf,
    _lock: File,
}

impl Claim {
    /// Claims the dataset in `root`.
    ///
    /// # Errors
    /// [`Error::Locked`] while somebody records into it; [`Error::Edit`] if it holds an unfinished
    /// recording.
    pub(crate) fn take(root: &Path) -> Result<Self> {
        let folder = root.join(STAGING);
        if let Ok(entries) = fs::read_dir(&folder)
            && entries.flatten().any(|e| e.file_name() != LOCK)
        {
            return Err(Error::edit(
                root,
                "it holds an unfinished recording, which would get lost; repair it first",
            ));
        }
        let lock = lock(root)?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Leaves the dataset as it was; fails harmlessly when the folder went with the old dataset.
        let _ = fs::remove_file(self.folder.join(LOCK));
        let _ = fs::remove_dir(&self.folder);
    }
}

//! Where a robot's MJCF is.

use super::load::built_in_model;
use super::{Blueprint, Origin};
use crate::error::HardwareError;
use std::path::PathBuf;

/// A model, ready to be compiled by MuJoCo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The whole MJCF, which needs no other file.
    Xml(&'static str),
    /// A file; meshes are found relative to it.
    File(PathBuf),
}

impl Blueprint {
    /// Finds the robot's MJCF.
    ///
    /// A built-in robot's own model is compiled in. Others are looked for in the blueprint's
    /// folder, then in the working directory and the program's folder and all folders above these.
    ///
    /// # Errors
    /// [`HardwareError::MissingSection`] where the blueprint has no model,
    /// [`HardwareError::ModelMissing`], with how to get it, where the file is not there.
    pub fn model_source(&self) -> Result<ModelSource, HardwareError> {
        let Some(model) = &self.model else {
            return Err(HardwareError::MissingSection {
                robot: self.name.clone(),
                section: "[model]".to_owned(),
            });
        };
        if self.origin == Origin::BuiltIn
            && let Some(xml) = built_in_model(&self.name)
        {
            return Ok(ModelSource::Xml(xml));
        }
        let folders = self.model_folders();
        if let Some(file) = folders
            .iter()
            .map(|folder| folder.join(&model.file))
            .find(|file| file.is_file())
        {
            return Ok(ModelSource::File(file));
        }
        Err(HardwareError::ModelMissing {
            robot: self.name.clone(),
            file: model.file.clone(),
            searched: folders
                .iter()
                .map(|f| f.display().to_string())
                .collect::<Vec<_>>()
                .join(", "),
            hint: model
                .hint
                .clone()
                .unwrap_or_else(|| "put it beside robot.toml".to_owned()),
        })
    }

    fn model_folders(&self) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        if let Origin::Folder(folder) = &self.origin {
            folders.push(folder.clone());
        }
        let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
        for start in starts.into_iter().flatten() {
            folders.extend(start.ancestors().map(PathBuf::from));
        }
        folders
    }
}

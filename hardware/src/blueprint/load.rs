//! Finding a robot.toml and turning it into a checked [`Blueprint`].

use super::check::Checker;
use super::schema::File;
use super::{Blueprint, Origin};
use crate::error::HardwareError;
use std::path::{Path, PathBuf};

/// A robot that is compiled in.
struct BuiltIn {
    name: &'static str,
    toml: &'static str,
    model: Option<&'static str>,
}

const BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        name: "so101",
        toml: include_str!("../../so101/robot.toml"),
        model: Some(include_str!("../../so101/so101.xml")),
    },
    BuiltIn {
        name: "go2",
        toml: include_str!("../../go2/robot.toml"),
        model: None,
    },
];

/// The model that is compiled in for a built-in robot.
pub(super) fn built_in_model(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|robot| robot.name == name)?.model
}

impl Blueprint {
    /// Names of the robots that are compiled in.
    pub fn built_in_names() -> Vec<&'static str> {
        BUILT_IN.iter().map(|robot| robot.name).collect()
    }

    /// Finds a robot by name, or by the path of its folder or of its robot.toml.
    ///
    /// A bare name means a robot that is compiled in, or else a folder `hardware/<name>` or
    /// `<name>` under the working directory.
    ///
    /// # Errors
    /// [`HardwareError::UnknownRobot`] lists the names that would work; a file that is there but
    /// wrong gives [`HardwareError::Schema`] or [`HardwareError::Invalid`].
    pub fn load(name_or_path: impl AsRef<Path>) -> Result<Self, HardwareError> {
        let path = name_or_path.as_ref();
        if let Some(robot) = BUILT_IN.iter().find(|robot| path == Path::new(robot.name)) {
            return Self::parse(
                robot.toml,
                &format!("built-in {}", robot.name),
                Origin::BuiltIn,
            );
        }
        match candidates(path).into_iter().find(|file| file.is_file()) {
            Some(file) => Self::load_file(&file),
            None => Err(HardwareError::UnknownRobot {
                name: path.display().to_string(),
                known: Self::built_in_names().join(", "),
            }),
        }
    }

    fn load_file(file: &Path) -> Result<Self, HardwareError> {
        let text = crate::read_text(file).map_err(|source| HardwareError::Read {
            path: file.to_owned(),
            source,
        })?;
        let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
        Self::parse(&text, &file.display().to_string(), Origin::Folder(folder))
    }

    /// Reads the text of a robot.toml. `file` is what errors call it.
    ///
    /// # Errors
    /// [`HardwareError::Schema`] for text that does not follow the schema,
    /// [`HardwareError::Invalid`] for values that contradict each other.
    pub fn parse(text: &str, file: &str, origin: Origin) -> Result<Self, HardwareError> {
        let raw: File = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let (line, column) = position(text, start);
            HardwareError::Schema {
                file: file.to_owned(),
                line,
                column,
                problem: match key_at(text, start) {
                    Some(key) => format!("`{key}`: {}", error.message()),
                    None => error.message().to_owned(),
                },
            }
        })?;
        Checker { text, file }.check(&raw)?;
        Ok(raw.into_blueprint(origin))
    }
}

fn candidates(path: &Path) -> Vec<PathBuf> {
    let mut files = vec![path.join("robot.toml")];
    if path
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        files.push(path.to_owned());
    }
    if path.components().count() == 1 {
        files.push(Path::new("hardware").join(path).join("robot.toml"));
    }
    files
}

/// The key whose value a byte offset lies in: what stands before `=` on its line.
fn key_at(text: &str, offset: usize) -> Option<&str> {
    let line_start = text
        .get(..offset)?
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let (key, _) = text.get(line_start..offset)?.split_once('=')?;
    Some(key.trim())
}

/// Line and column, from 1, of a byte offset.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

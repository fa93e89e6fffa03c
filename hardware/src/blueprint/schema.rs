//! The schema of robot.toml: what may be written, with the place of each table kept for errors.

use super::{
    Blueprint, Bus, Camera, Joint, KeyBinding, Kinematics, Link, Model, Origin, Safety, Teleop,
    Tool,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// A robot.toml as it stands, before it is checked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) schema: Spanned<u32>,
    pub(super) name: Spanned<String>,
    pub(super) title: String,
    pub(super) maker: String,
    pub(super) licence: String,
    pub(super) robot_type: Spanned<String>,
    #[serde(default)]
    pub(super) links: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) model: Option<Model>,
    pub(super) buses: Vec<Spanned<Bus>>,
    pub(super) joints: Vec<Spanned<Joint>>,
    #[serde(default)]
    pub(super) cameras: Vec<Spanned<Camera>>,
    #[serde(default)]
    pub(super) teleop: TeleopFile,
    pub(super) safety: Spanned<Safety>,
    #[serde(default)]
    pub(super) kinematics: Option<KinematicsFile>,
}

/// `[teleop]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TeleopFile {
    #[serde(default)]
    pub(super) keyboard: Vec<Spanned<KeyBinding>>,
}

/// `[kinematics]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KinematicsFile {
    pub(super) links: Vec<Spanned<Link>>,
    pub(super) tools: Vec<Spanned<Tool>>,
}

impl File {
    /// Drops the places. Call it once the file is checked.
    pub(super) fn into_blueprint(self, origin: Origin) -> Blueprint {
        Blueprint {
            name: self.name.into_inner(),
            title: self.title,
            maker: self.maker,
            licence: self.licence,
            robot_type: self.robot_type.into_inner(),
            links: self.links,
            buses: plain(self.buses),
            joints: plain(self.joints),
            cameras: plain(self.cameras),
            teleop: Teleop {
                keyboard: plain(self.teleop.keyboard),
            },
            safety: self.safety.into_inner(),
            model: self.model,
            kinematics: self.kinematics.map(|table| Kinematics {
                links: plain(table.links),
                tools: plain(table.tools),
            }),
            origin,
        }
    }
}

fn plain<T>(items: Vec<Spanned<T>>) -> Vec<T> {
    items.into_iter().map(Spanned::into_inner).collect()
}

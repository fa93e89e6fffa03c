//! LeRobot's calibration files: where a joint's range lies on its servo's scale of ticks.
//!
//! The servo itself applies `homing_offset` (it reports encoder − offset), so everything here is
//! in ticks as reported. Files are byte for byte what LeRobot writes, and live where it puts them.

use crate::blueprint::{Blueprint, BusKind, Joint};
use crate::error::HardwareError;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Ticks of one turn of a servo's encoder (STS3215 and the Dynamixel X series alike).
pub const TICKS_PER_TURN: i32 = 4096;
/// LeRobot's angle of one tick, rad: it spreads a turn over 4095 steps, not 4096.
pub const RAD_PER_TICK: f64 = std::f64::consts::TAU / (TICKS_PER_TURN - 1) as f64;
/// Largest homing offset that a Feetech servo's 12-bit sign-magnitude register holds.
const MAX_HOMING_OFFSET: i32 = 2047;

/// One joint's calibration, in ticks; the fields of LeRobot's `MotorCalibration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointCalibration {
    /// Bus id.
    pub id: u8,
    /// 1 flips the direction of the `range_*` units; degrees ignore it, as in LeRobot.
    pub drive_mode: i32,
    /// Ticks that the servo subtracts from what its encoder says.
    pub homing_offset: i32,
    /// Lowest position, ticks.
    pub range_min: i32,
    /// Highest position, ticks.
    pub range_max: i32,
}

impl JointCalibration {
    /// The middle of the range, ticks: where LeRobot's degrees are 0.
    pub fn middle(&self) -> f64 {
        (f64::from(self.range_min) + f64::from(self.range_max)) / 2.0
    }

    /// Half the length of the range, rad.
    pub fn half_range_rad(&self) -> f64 {
        (f64::from(self.range_max) - f64::from(self.range_min)) / 2.0 * RAD_PER_TICK
    }

    fn check(&self, joint: &str) -> Result<(), HardwareError> {
        let problem = if self.range_min >= self.range_max {
            format!(
                "range_min {} is not below range_max {}",
                self.range_min, self.range_max
            )
        } else if !matches!(self.drive_mode, 0 | 1) {
            format!("drive_mode {} is neither 0 nor 1", self.drive_mode)
        } else {
            return Ok(());
        };
        Err(HardwareError::Calibration {
            joint: joint.to_owned(),
            problem,
        })
    }
}

/// The calibration of one robot: joints by name, in file order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calibration {
    joints: Vec<(String, JointCalibration)>,
}

impl Calibration {
    /// A calibration from joints by name.
    ///
    /// # Errors
    /// [`HardwareError::Calibration`] for an empty range, an unknown drive mode, or a name or id
    /// that occurs twice.
    pub fn new(joints: Vec<(String, JointCalibration)>) -> Result<Self, HardwareError> {
        for (index, (name, joint)) in joints.iter().enumerate() {
            joint.check(name)?;
            for (other_name, other) in &joints[..index] {
                if name == other_name || joint.id == other.id {
                    let problem = format!(
                        "its name or its id {} is also that of {other_name}",
                        joint.id
                    );
                    return Err(HardwareError::Calibration {
                        joint: name.clone(),
                        problem,
                    });
                }
            }
        }
        Ok(Self { joints })
    }

    /// Joints by name, in file order.
    pub fn joints(&self) -> impl Iterator<Item = (&str, &JointCalibration)> {
        self.joints
            .iter()
            .map(|(name, joint)| (name.as_str(), joint))
    }

    /// The calibration of the joint called `name`.
    pub fn get(&self, name: &str) -> Option<&JointCalibration> {
        self.joints
            .iter()
            .find(|(joint, _)| joint == name)
            .map(|(_, calibration)| calibration)
    }

    /// Reads calibration JSON. `file` is what errors call it.
    ///
    /// # Errors
    /// [`HardwareError::CalibrationSyntax`] with line and column, or
    /// [`HardwareError::Calibration`] for values that no servo can have.
    pub fn parse(json: &str, file: &str) -> Result<Self, HardwareError> {
        let entries: Entries =
            serde_json::from_str(json).map_err(|error| HardwareError::CalibrationSyntax {
                file: file.to_owned(),
                line: error.line(),
                column: error.column(),
                problem: error.to_string(),
            })?;
        Self::new(entries.0)
    }

    /// Reads a calibration file.
    ///
    /// # Errors
    /// As [`Calibration::parse`], and [`HardwareError::Read`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, HardwareError> {
        let path = path.as_ref();
        let json = crate::read_text(path).map_err(|source| HardwareError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&json, &path.display().to_string())
    }

    /// The JSON that LeRobot writes: indented by 4, no newline at the end.
    pub fn to_json(&self) -> String {
        let mut json = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut json, formatter);
        // Plain integers and strings into memory: neither serde nor the writer can fail.
        let _ = EntriesRef(&self.joints).serialize(&mut serializer);
        String::from_utf8(json).unwrap_or_default()
    }

    /// Writes a calibration file so that a reader, or a crash, sees the old file or the new one.
    ///
    /// # Errors
    /// [`HardwareError::Write`]; the old file is then still there.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), HardwareError> {
        let path = path.as_ref();
        write_atomically(path, self.to_json().as_bytes()).map_err(|source| HardwareError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// The calibration that the blueprint itself carries: exact for the emulator.
    ///
    /// # Errors
    /// [`HardwareError::MissingSection`] if a joint has none.
    pub fn from_blueprint(blueprint: &Blueprint) -> Result<Self, HardwareError> {
        let joints: Result<Vec<_>, _> = blueprint
            .joints
            .iter()
            .map(|j| default_of(blueprint, j))
            .collect();
        Self::new(joints?)
    }

    /// Checks that this calibration is one of this robot: the same joints with the same ids, and
    /// ranges that its servos can hold.
    ///
    /// # Errors
    /// [`HardwareError::Calibration`] naming the first joint that does not fit.
    pub fn check(&self, blueprint: &Blueprint) -> Result<(), HardwareError> {
        let fail = |joint: &str, problem: String| {
            Err(HardwareError::Calibration {
                joint: joint.to_owned(),
                problem,
            })
        };
        for joint in &blueprint.joints {
            let Some(calibration) = self.get(&joint.name) else {
                return fail(
                    &joint.name,
                    format!("the file lacks this joint of {}", blueprint.name),
                );
            };
            if joint.id.is_some_and(|id| id != calibration.id) {
                let ids = (calibration.id, joint.id.unwrap_or_default());
                return fail(
                    &joint.name,
                    format!(
                        "the file says id {}, {} says {}",
                        ids.0, blueprint.name, ids.1
                    ),
                );
            }
            let feetech = blueprint
                .bus(&joint.bus)
                .is_some_and(|bus| bus.kind == BusKind::Feetech);
            if feetech && (calibration.range_min < 0 || calibration.range_max >= TICKS_PER_TURN) {
                let (min, max) = (calibration.range_min, calibration.range_max);
                return fail(
                    &joint.name,
                    format!("range {min}..{max} exceeds the servo's 0..4095"),
                );
            }
            if feetech && calibration.homing_offset.abs() > MAX_HOMING_OFFSET {
                let offset = calibration.homing_offset;
                return fail(
                    &joint.name,
                    format!(
                        "homing_offset {offset} does not fit the servo's ±{MAX_HOMING_OFFSET}; centre the joint before calibrating"
                    ),
                );
            }
        }
        match self
            .joints
            .iter()
            .find(|(name, _)| blueprint.joint(name).is_none())
        {
            Some((name, _)) => fail(
                name,
                format!(
                    "{} has no such joint; is this another robot's file?",
                    blueprint.name
                ),
            ),
            None => Ok(()),
        }
    }

    /// Where LeRobot keeps the calibration of the robot `id`:
    /// `$HF_LEROBOT_CALIBRATION/robots/<robot_type>/<id>.json`.
    ///
    /// # Errors
    /// [`HardwareError::BadId`] for an id that would leave the folder, [`HardwareError::NoHome`].
    pub fn default_path(robot_type: &str, id: &str) -> Result<PathBuf, HardwareError> {
        default_path_in(robot_type, id, |name| std::env::var_os(name))
    }
}

fn default_of(
    blueprint: &Blueprint,
    joint: &Joint,
) -> Result<(String, JointCalibration), HardwareError> {
    let (Some(id), Some(ticks)) = (joint.id, &joint.calibration) else {
        return Err(HardwareError::MissingSection {
            robot: blueprint.name.clone(),
            section: format!("id and calibration of joint {}", joint.name),
        });
    };
    let calibration = JointCalibration {
        id,
        drive_mode: ticks.drive_mode,
        homing_offset: ticks.homing_offset,
        range_min: ticks.range_min,
        range_max: ticks.range_max,
    };
    Ok((joint.name.clone(), calibration))
}

/// LeRobot's and huggingface_hub's chain of environment variables.
fn default_path_in(
    robot_type: &str,
    id: &str,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, HardwareError> {
    for word in [robot_type, id] {
        let plain = word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if !plain || !word.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(HardwareError::BadId {
                id: word.to_owned(),
            });
        }
    }
    let dir = |name: &str| {
        env(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = || dir("XDG_CACHE_HOME").or_else(|| Some(dir("HOME")?.join(".cache")));
    let hub = || dir("HF_HOME").or_else(|| Some(cache()?.join("huggingface")));
    let lerobot = || dir("HF_LEROBOT_HOME").or_else(|| Some(hub()?.join("lerobot")));
    let root = dir("HF_LEROBOT_CALIBRATION").or_else(|| Some(lerobot()?.join("calibration")));
    let root = root.ok_or(HardwareError::NoHome)?;
    Ok(root
        .join("robots")
        .join(robot_type)
        .join(format!("{id}.json")))
}

fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = folder.join(name);
    let written = write_synced(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    // Without this the rename itself may be lost with the power.
    std::fs::File::open(folder)?.sync_all()
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Joints in file order; a plain map would lose the order, and drop a joint that occurs twice.
struct Entries(Vec<(String, JointCalibration)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("joints by name, as LeRobot's calibration writes them")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut joints = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    joints.push(entry);
                }
                Ok(Entries(joints))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesRef<'a>(&'a [(String, JointCalibration)]);

impl Serialize for EntriesRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, joint) in self.0 {
            map.serialize_entry(name, joint)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests;

//! The checks that a schema cannot express: references, duplicates, ranges.

use super::load::position;
use super::schema::File;
use super::{Bus, BusKind, Camera, Control, DefaultCalibration, Joint};
use crate::calibration::TICKS_PER_TURN;
use crate::error::HardwareError;
use sinew_runtime::MAX_JOINTS;
use std::collections::HashSet;
use std::ops::Range;
use toml::Spanned;

/// Keys that mean the same with every robot: next episode, redo, quit.
const RESERVED_KEYS: [char; 3] = ['n', 'r', 'q'];
/// The version of the schema that this program reads.
const SCHEMA: u32 = 1;
/// The highest id on a Feetech or Dynamixel bus.
const MAX_ID: u8 = 252;
/// More than any camera has, pixels or frames per second.
const MAX_CAMERA: u32 = 16_384;

type Checked = Result<(), HardwareError>;

/// Checks one file, and knows how to point into it.
pub(super) struct Checker<'a> {
    pub(super) text: &'a str,
    pub(super) file: &'a str,
}

/// One table of the file, to which complaints are tied.
struct Table<'a> {
    text: &'a str,
    file: &'a str,
    span: Range<usize>,
    path: String,
}

impl<'a> Checker<'a> {
    pub(super) fn check(&self, file: &File) -> Checked {
        let schema = *file.schema.get_ref();
        let top = self.table(&file.schema, String::new());
        top.require(schema == SCHEMA, "schema", || {
            format!("version {schema} is not known; this program reads version {SCHEMA}")
        })?;
        for (name, key) in [(&file.name, "name"), (&file.robot_type, "robot_type")] {
            self.table(name, String::new())
                .require_word(name.get_ref(), key)?;
        }
        self.check_buses(&file.buses)?;
        self.check_joints(file)?;
        self.check_cameras(&file.cameras)?;
        self.check_keys(file)?;
        self.table(&file.safety, "safety".to_owned()).require(
            file.safety.get_ref().watchdog_ms > 0,
            "watchdog_ms",
            || "must be more than 0 ms".to_owned(),
        )?;
        self.check_kinematics(file)
    }

    fn table<T>(&self, spanned: &Spanned<T>, path: String) -> Table<'a> {
        Table {
            text: self.text,
            file: self.file,
            span: spanned.span(),
            path,
        }
    }

    fn check_buses(&self, buses: &[Spanned<Bus>]) -> Checked {
        let mut seen = HashSet::new();
        for spanned in buses {
            let bus = spanned.get_ref();
            let table = self.table(spanned, format!("buses.{}", bus.name));
            table.require_word(&bus.name, "name")?;
            table.require(seen.insert(&bus.name), "name", || {
                "there are two buses of this name; rename one".to_owned()
            })?;
            let has_baud = bus.baud.is_some_and(|baud| baud > 0);
            table.require(has_baud || !is_wired(bus), "baud", || {
                format!(
                    "a {} bus needs a baud rate, e.g. `baud = 1000000`",
                    bus.kind
                )
            })?;
        }
        Ok(())
    }

    fn check_joints(&self, file: &File) -> Checked {
        let count = file.joints.len();
        let top = self.table(&file.name, String::new());
        top.require((1..=MAX_JOINTS).contains(&count), "joints", || {
            format!("there are {count}; a robot has 1 to {MAX_JOINTS}")
        })?;
        let (mut names, mut ids) = (HashSet::new(), HashSet::new());
        for spanned in &file.joints {
            let joint = spanned.get_ref();
            let table = self.table(spanned, format!("joints.{}", joint.name));
            table.require_word(&joint.name, "name")?;
            table.require(names.insert(&joint.name), "name", || {
                "there are two joints of this name; rename one".to_owned()
            })?;
            if let Some(id) = joint.id {
                table.require(ids.insert((&joint.bus, id)), "id", || {
                    format!(
                        "id {id} is taken by another joint on bus `{}`; ids on a bus differ",
                        joint.bus
                    )
                })?;
            }
            let bus = file
                .buses
                .iter()
                .map(Spanned::get_ref)
                .find(|bus| bus.name == joint.bus);
            match bus {
                Some(bus) => check_wiring(&table, joint, bus)?,
                None => {
                    return Err(table.invalid("bus", format!("no bus is named `{}`", joint.bus)));
                }
            }
            check_numbers(&table, joint)?;
            if let Some(calibration) = &joint.calibration {
                check_calibration(&table, calibration)?;
            }
        }
        Ok(())
    }

    fn check_cameras(&self, cameras: &[Spanned<Camera>]) -> Checked {
        let mut seen = HashSet::new();
        for spanned in cameras {
            let camera = spanned.get_ref();
            let table = self.table(spanned, format!("cameras.{}", camera.name));
            table.require_word(&camera.name, "name")?;
            table.require(seen.insert(&camera.name), "name", || {
                "there are two cameras of this name; rename one".to_owned()
            })?;
            for (key, value) in [
                ("width", camera.width),
                ("height", camera.height),
                ("fps", camera.fps),
            ] {
                table.require((1..=MAX_CAMERA).contains(&value), key, || {
                    format!("{value} is not from 1 to {MAX_CAMERA}")
                })?;
            }
        }
        Ok(())
    }

    fn check_keys(&self, file: &File) -> Checked {
        let mut seen = HashSet::new();
        for spanned in &file.teleop.keyboard {
            let binding = spanned.get_ref();
            let table = self.table(spanned, format!("teleop.keyboard.{}", binding.key));
            table.require(seen.insert(&binding.key), "key", || {
                "this key is bound twice".to_owned()
            })?;
            let free = |c: char| {
                (c.is_ascii_lowercase() || c.is_ascii_digit()) && !RESERVED_KEYS.contains(&c)
            };
            let mut letters = binding.key.chars();
            let usable = letters.next().is_some_and(free) && letters.next().is_none();
            table.require(usable, "key", || {
                "must be one lower-case letter or digit, other than n, r and q (next, redo, quit)"
                    .to_owned()
            })?;
            table.require_joint(file, &binding.joint)?;
            let step = binding.step_rad;
            table.require(step.is_finite() && step != 0.0, "step_rad", || {
                "must be a finite number other than 0".to_owned()
            })?;
        }
        Ok(())
    }

    fn check_kinematics(&self, file: &File) -> Checked {
        let Some(kinematics) = &file.kinematics else {
            return Ok(());
        };
        let mut seen = HashSet::new();
        for spanned in &kinematics.links {
            let link = spanned.get_ref();
            let table = self.table(spanned, format!("kinematics.links.{}", link.joint));
            table.require_joint(file, &link.joint)?;
            table.require(seen.insert(&link.joint), "joint", || {
                "this joint turns two links; a chain has each once".to_owned()
            })?;
            check_frame(&table, &link.pos, &link.quat)?;
            table.require_direction(&link.axis, "axis")?;
        }
        let mut seen = HashSet::new();
        for spanned in &kinematics.tools {
            let tool = spanned.get_ref();
            let table = self.table(spanned, format!("kinematics.tools.{}", tool.name));
            table.require(seen.insert(&tool.name), "name", || {
                "there are two tools of this name; rename one".to_owned()
            })?;
            check_frame(&table, &tool.pos, &tool.quat)?;
            table.require_direction(&tool.approach, "approach")?;
        }
        Ok(())
    }
}

fn is_wired(bus: &Bus) -> bool {
    matches!(bus.kind, BusKind::Feetech | BusKind::Dynamixel)
}

fn check_wiring(table: &Table<'_>, joint: &Joint, bus: &Bus) -> Checked {
    if is_wired(bus) {
        table.require(joint.id.is_some_and(|id| id <= MAX_ID), "id", || {
            format!(
                "a joint on a {} bus needs an id from 0 to {MAX_ID}",
                bus.kind
            )
        })?;
        table.require(joint.model.is_some(), "model", || {
            format!(
                "a joint on a {} bus needs its servo model, e.g. `model = \"sts3215\"`",
                bus.kind
            )
        })?;
    }
    if bus.control == Control::Torque {
        for (key, value) in [
            ("kp", joint.kp),
            ("kd", joint.kd),
            ("max_torque_nm", joint.max_torque_nm),
        ] {
            table.require(value.is_some(), key, || {
                format!("is missing; bus `{}` is under torque control", bus.name)
            })?;
        }
    }
    Ok(())
}

fn check_numbers(table: &Table<'_>, joint: &Joint) -> Checked {
    let [low, high] = joint.limits_rad;
    table.require(
        low.is_finite() && high.is_finite() && low < high,
        "limits_rad",
        || format!("[{low}, {high}] is not lowest first; write [lowest, highest], in rad"),
    )?;
    let positive = [
        ("max_velocity_rad_s", Some(joint.max_velocity_rad_s)),
        ("max_step_rad", Some(joint.max_step_rad)),
        ("max_torque_nm", joint.max_torque_nm),
    ];
    for (key, value) in positive {
        table.require(value.is_none_or(|v| v.is_finite() && v > 0.0), key, || {
            "must be a finite number above 0".to_owned()
        })?;
    }
    for (key, value) in [("kp", joint.kp), ("kd", joint.kd)] {
        table.require(value.is_none_or(|v| v.is_finite() && v >= 0.0), key, || {
            "must be a finite number, 0 or more".to_owned()
        })?;
    }
    table.require(joint.center_rad.is_finite(), "center_rad", || {
        "must be a finite number, rad".to_owned()
    })?;
    for (key, value) in [("home_rad", joint.home_rad), ("rest_rad", joint.rest_rad)] {
        table.require((low..=high).contains(&value), key, || {
            format!("{value} lies outside limits_rad [{low}, {high}]")
        })?;
    }
    Ok(())
}

fn check_calibration(table: &Table<'_>, calibration: &DefaultCalibration) -> Checked {
    let &DefaultCalibration {
        range_min: min,
        range_max: max,
        drive_mode,
        ..
    } = calibration;
    table.require(
        0 <= min && min < max && max < TICKS_PER_TURN,
        "calibration",
        || {
            format!(
                "range {min}..{max} must rise and lie within 0..{}",
                TICKS_PER_TURN - 1
            )
        },
    )?;
    table.require(matches!(drive_mode, 0 | 1), "calibration", || {
        format!("drive_mode {drive_mode} must be 0 or 1")
    })
}

fn check_frame(table: &Table<'_>, pos: &[f64; 3], quat: &[f64; 4]) -> Checked {
    table.require(pos.iter().all(|v| v.is_finite()), "pos", || {
        "must be three finite numbers, m".to_owned()
    })?;
    table.require_direction(quat, "quat")
}

impl Table<'_> {
    fn require(&self, holds: bool, key: &str, problem: impl FnOnce() -> String) -> Checked {
        if holds {
            Ok(())
        } else {
            Err(self.invalid(key, problem()))
        }
    }

    /// Names become file names, topic names and feature keys, so they are plain words.
    fn require_word(&self, name: &str, key: &str) -> Checked {
        let plain = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        self.require(plain && !name.is_empty(), key, || {
            "must be letters, digits, `_` and `-`".to_owned()
        })
    }

    fn require_joint(&self, file: &File, joint: &str) -> Checked {
        let known = file
            .joints
            .iter()
            .any(|spanned| spanned.get_ref().name == joint);
        self.require(known, "joint", || format!("no joint is named `{joint}`"))
    }

    fn require_direction(&self, vector: &[f64], key: &str) -> Checked {
        let square: f64 = vector.iter().map(|v| v * v).sum();
        self.require(square.is_finite() && square > 1e-12, key, || {
            "must be finite numbers, not all 0".to_owned()
        })
    }

    fn invalid(&self, key: &str, problem: String) -> HardwareError {
        let key_path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        HardwareError::Invalid {
            file: self.file.to_owned(),
            line: position(self.text, self.key_offset(key)).0,
            key: key_path,
            problem,
        }
    }

    /// Where `key` stands in the table; the start of the table if it is not there.
    fn key_offset(&self, key: &str) -> usize {
        let mut offset = self.span.start;
        for line in self.own_text().split_inclusive('\n') {
            let rest = line.trim_start();
            if rest
                .strip_prefix(key)
                .is_some_and(|after| after.trim_start().starts_with('='))
            {
                return offset + (line.len() - rest.len());
            }
            offset += line.len();
        }
        self.span.start
    }

    /// The table's text. The span of a `[table]` is only its header: its keys end where the next
    /// header begins.
    fn own_text(&self) -> &str {
        let text = self.text.get(self.span.start..).unwrap_or_default();
        if !text.starts_with('[') {
            return self.text.get(self.span.clone()).unwrap_or_default();
        }
        text.find("\n[").map_or(text, |end| &text[..end])
    }
}

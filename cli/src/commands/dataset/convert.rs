//! `sinew dataset convert`: from older versions, and from and to bags.

use super::args::{Convert, FromFormat, Import, Pictures, Time, ToFormat, Unit};
use super::text::cut;
use crate::commands::dataset_edit::{episodes, explained, pair, print, tell};
use crate::failure::usage;
use anyhow::{Context, Result};
use sinew_datasets::convert::{
    self, Cameras, Container, DEFAULT_START_NS, ExportOptions, Exported, Format, Imported,
    JointUnit, Mapping, TimeSource,
};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Runs the command.
pub(super) fn run(args: &Convert) -> Result<()> {
    let format = match args.from {
        Some(FromFormat::LerobotV2) => Format::LeRobotV2,
        Some(FromFormat::LerobotV3) => Format::LeRobotV3,
        Some(FromFormat::Mcap) => Format::Mcap,
        None => convert::format_of(&args.input).map_err(explained)?,
    };
    check_options(args, format)?;
    match format {
        Format::LeRobotV2 => tell(convert::from_v2(&args.input, &args.out), args.json),
        Format::LeRobotV3 => export(args),
        Format::Mcap => import(args),
    }
}

/// Refuses options that this direction does not know: silence would be taken for consent.
fn check_options(args: &Convert, format: Format) -> Result<()> {
    let to_bag = format == Format::LeRobotV3;
    let fits = match args.to {
        None => true,
        Some(ToFormat::Lerobot) => !to_bag,
        Some(ToFormat::Mcap | ToFormat::Rosbag2) => to_bag,
    };
    if !fits {
        return Err(usage(format!(
            "{} is {}; it becomes {}",
            args.input.display(),
            match format {
                Format::LeRobotV2 => "a LeRobot v2 dataset",
                Format::LeRobotV3 => "a LeRobot v3.0 dataset",
                Format::Mcap => "a bag",
            },
            if to_bag {
                "a bag (--to mcap or rosbag2)"
            } else {
                "a v3.0 dataset (--to lerobot), which can be converted further"
            }
        )));
    }
    let (export, import) = (&args.export, &args.import);
    let bags = [("--unit", args.unit.is_some())];
    let for_bags = [
        ("--episodes", export.episodes.is_some()),
        ("--pictures", export.pictures.is_some()),
        ("--start", export.start.is_some()),
    ];
    let from_bags = [
        ("--map", import.map.is_some()),
        ("--state", import.state.is_some()),
        ("--action", import.action.is_some()),
        ("--camera", !import.camera.is_empty()),
        ("--fps", import.fps.is_some()),
        ("--task", import.task.is_some()),
        ("--task-topic", import.task_topic.is_some()),
        ("--robot", import.robot.is_some()),
        ("--time", import.time.is_some()),
    ];
    let strange = for_bags.iter().filter(|_| !to_bag);
    let strange = strange.chain(from_bags.iter().filter(|_| format != Format::Mcap));
    let strange = strange.chain(bags.iter().filter(|_| format == Format::LeRobotV2));
    match strange.into_iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(usage(format!(
            "{option} has no meaning for {}",
            args.input.display()
        ))),
        None => Ok(()),
    }
}

fn joints(unit: Option<Unit>) -> JointUnit {
    match unit {
        None | Some(Unit::Degrees) => JointUnit::Degrees,
        Some(Unit::Radians) => JointUnit::Radians,
        Some(Unit::Percent) => JointUnit::Percent,
    }
}

fn export(args: &Convert) -> Result<()> {
    let is_file = args.out.extension().is_some_and(|e| e == "mcap");
    let container = match args.to {
        Some(ToFormat::Mcap) => Container::File,
        Some(_) => Container::Bag,
        None if is_file => Container::File,
        None => Container::Bag,
    };
    let options = ExportOptions {
        episodes: args.export.episodes.as_deref().map(episodes).transpose()?,
        cameras: match args.export.pictures.unwrap_or_default() {
            Pictures::Video => Cameras::Video,
            Pictures::Png => Cameras::Png,
            Pictures::None => Cameras::None,
        },
        joints: joints(args.unit),
        start_ns: match args.export.start {
            None => DEFAULT_START_NS,
            Some(seconds) => seconds
                .checked_mul(1_000_000_000)
                .filter(|_| i32::try_from(seconds).is_ok())
                .ok_or_else(|| usage("--start: ROS has no times after 2038"))?,
        },
    };
    let mut progress = Progress::new("episodes", args.json);
    let made = convert::export(&args.input, &args.out, container, &options, &mut |n| {
        progress.add(n);
    });
    progress.end();
    let made = made.map_err(explained)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&made)?);
    } else {
        print_export(&made);
    }
    Ok(())
}

fn print_export(made: &Exported) {
    println!(
        "{}: {} episodes, {} frames",
        made.path.display(),
        made.episodes,
        made.frames
    );
    for topic in &made.topics {
        println!(
            "  {:<44}{:<40}{:>9}",
            cut(&topic.topic, 43),
            cut(&topic.ros_type, 39),
            topic.messages
        );
    }
    print_notes(&made.notes);
}

fn print_notes(notes: &[String]) {
    for note in notes {
        println!("  note: {note}");
    }
}

fn import(args: &Convert) -> Result<()> {
    let mapping = mapping(&args.import, args.unit)?;
    let mut progress = Progress::new("frames", args.json);
    let made = convert::import(&args.input, &args.out, &mapping, &mut |n| progress.add(n));
    progress.end();
    let made = made.map_err(explained)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&made)?);
    } else {
        print_import(&made);
    }
    Ok(())
}

fn mapping(args: &Import, unit: Option<Unit>) -> Result<Mapping> {
    let mut mapping = match &args.map {
        None => Mapping::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))
                .map_err(|e| usage(format!("{e:#}")))?;
            Mapping::parse(path, &text).map_err(explained)?
        }
    };
    let given = [
        (&mut mapping.state, &args.state),
        (&mut mapping.action, &args.action),
        (&mut mapping.task, &args.task),
        (&mut mapping.task_topic, &args.task_topic),
        (&mut mapping.robot, &args.robot),
    ];
    for (slot, value) in given {
        if value.is_some() {
            slot.clone_from(value);
        }
    }
    if !args.camera.is_empty() {
        let cameras = args
            .camera
            .iter()
            .map(|c| pair("--camera", c, "NAME=TOPIC"));
        mapping.cameras = cameras.collect::<Result<_>>()?;
    }
    mapping.fps = args.fps.or(mapping.fps);
    if unit.is_some() {
        mapping.unit = joints(unit);
    }
    match args.time {
        Some(Time::Log) => mapping.time = TimeSource::Log,
        Some(Time::Header) => mapping.time = TimeSource::Header,
        None => {}
    }
    Ok(mapping)
}

fn print_import(made: &Imported) {
    print(&made.dataset);
    if made.restored {
        let but = if made.dataset.notes.is_empty() {
            ""
        } else {
            ", but for what the notes say"
        };
        println!("  restored as it was exported{but}");
        return;
    }
    println!(
        "  {:<32}{:<32}{:>8}{:>11}{:>7}",
        "feature", "topic", "Hz", "oldest ms", "stale"
    );
    for topic in &made.topics {
        println!(
            "  {:<32}{:<32}{:>8.1}{:>11.1}{:>7}",
            cut(&topic.feature, 31),
            cut(&topic.topic, 31),
            topic.rate_hz,
            topic.max_age_ms,
            topic.stale_rows
        );
    }
}

/// How far the work is, once a second, where a person looks.
struct Progress {
    what: &'static str,
    shown: bool,
    done: u64,
    last: Instant,
}

impl Progress {
    fn new(what: &'static str, quiet: bool) -> Self {
        Self {
            what,
            shown: !quiet && std::io::stderr().is_terminal(),
            done: 0,
            last: Instant::now(),
        }
    }

    fn add(&mut self, count: u64) {
        self.done += count;
        if self.shown && self.last.elapsed() > Duration::from_secs(1) {
            self.last = Instant::now();
            eprint!("\r{} {}", self.done, self.what);
            let _ = std::io::stderr().flush();
        }
    }

    fn end(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

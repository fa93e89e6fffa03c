//! `sinew policy check`: whether a policy fits a robot.

use super::Stored;
use super::args::Check;
use crate::commands::dataset::text::{cut, wrap};
use crate::failure::{Verdict, usage};
use crate::player::features_of;
use anyhow::Result;
use serde::Serialize;
use sinew_hardware::blueprint::Camera;
use sinew_hardware::{Blueprint, Norm, Units};
use sinew_policies::lerobot::{Checkpoint, Feature};
use sinew_policies::manifest::Unit;
use sinew_policies::{Channel, Features, LoadOptions, Policy, PolicyError};
use sinew_runtime::JointNames;

/// Share of a joint's range by which a mean may lie outside of it.
const SLACK: f64 = 0.1;
/// Rates that differ by less are the same, Hz.
const SAME_RATE: f64 = 0.5;

/// Everything that was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    policy: String,
    robot: String,
    fits: bool,
    /// What does not fit.
    problems: Vec<String>,
    /// What may be wrong, and what was assumed.
    warnings: Vec<String>,
}

/// What a robot offers.
struct Robot {
    blueprint: Blueprint,
    units: Units,
    cameras: Vec<Camera>,
    surroundings: Vec<String>,
}

/// Runs the command.
pub(super) fn check(args: &Check) -> Result<()> {
    let stored = Stored::open(&args.path)?;
    let robot = Robot::find(args)?;
    let mut report = Report {
        policy: args.path.display().to_string(),
        robot: robot.blueprint.name.clone(),
        ..Report::default()
    };
    robot.check_renames(args, &mut report);
    match &stored {
        Stored::Onnx(file) => {
            return Err(usage(format!(
                "{} is a file; give the folder with its policy.toml, or one with this file alone if its metadata name the joints",
                file.display()
            )));
        }
        Stored::Checkpoint(checkpoint) => {
            check_units(checkpoint, &robot, args, &mut report);
            check_assumptions(checkpoint, &robot, args, &mut report);
            let images = checkpoint.config.images();
            images.for_each(|image| check_camera(checkpoint, image, &robot, args, &mut report));
        }
        Stored::Manifest(..) => {}
    }
    load(args, &robot, &mut report);
    report.fits = report.problems.is_empty();
    tell(args, &report)
}

fn tell(args: &Check, report: &Report) -> Result<()> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        let verdict = match (report.fits, report.warnings.is_empty()) {
            (true, true) => "fits",
            (true, false) => "fits, with reservations",
            (false, _) => "does not fit",
        };
        println!(
            "{} {verdict} the robot {}",
            cut(&report.policy, 60),
            report.robot
        );
        let listed = |label: &str, texts: &[String]| {
            for text in texts {
                for (number, line) in wrap(&cut(text, 4000), 10).iter().enumerate() {
                    println!("{:<10}{line}", if number == 0 { label } else { "" });
                }
            }
        };
        listed("problem", &report.problems);
        listed("warning", &report.warnings);
    }
    match (report.fits, report.warnings.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(Verdict(3).into()),
        (false, _) => Err(Verdict(4).into()),
    }
}

impl Robot {
    fn find(args: &Check) -> Result<Self> {
        let blueprint = Blueprint::load(&args.robot).map_err(usage)?;
        let units = Units::default_of(&blueprint).map_err(usage)?;
        let (cameras, surroundings) = match args.task.as_deref() {
            None => (blueprint.cameras.clone(), Vec::new()),
            Some(task) => simulated(task)?,
        };
        Ok(Self {
            blueprint,
            units,
            cameras,
            surroundings,
        })
    }

    /// The policy's name for what the robot calls `name`.
    fn renamed<'a>(&'a self, name: &'a str, args: &'a Check) -> &'a str {
        let mut pairs = args.rename.iter();
        let found = pairs.find(|(_, robot)| robot == name);
        found.map_or(name, |(policy, _)| {
            policy.strip_prefix(IMAGES).unwrap_or(policy)
        })
    }

    fn check_renames(&self, args: &Check, report: &mut Report) {
        let joints = self
            .blueprint
            .joints
            .iter()
            .map(|joint| joint.name.as_str());
        let cameras = self.cameras.iter().map(|camera| camera.name.as_str());
        let values = self.surroundings.iter().map(String::as_str);
        let all: Vec<&str> = joints.chain(cameras).chain(values).collect();
        for (policy, robot) in &args.rename {
            if !all.contains(&robot.as_str()) {
                report.problems.push(format!(
                    "--rename {policy}={robot}: the robot has no `{robot}`; it has {}",
                    all.join(", ")
                ));
            }
        }
    }

    /// What it offers, under the policy's names.
    fn features(&self, args: &Check, named: bool) -> Features {
        let own = features_of(&self.blueprint, &self.units);
        let joints = own.joints().iter().map(|joint| self.renamed(joint, args));
        let ranges = own.ranges().iter();
        let ranges = ranges.map(|(joint, range)| (self.renamed(joint, args).to_owned(), *range));
        let cameras = self
            .cameras
            .iter()
            .map(|camera| self.renamed(&camera.name, args));
        let values = self
            .surroundings
            .iter()
            .map(|value| self.renamed(value, args));
        let features = Features::new(&JointNames::new(joints))
            .with_ranges(ranges.collect::<Vec<_>>())
            .with_cameras(cameras)
            .with_values(Channel::Environment, values);
        match named {
            true => features.of_robot(&self.blueprint.name),
            false => features,
        }
    }

    fn camera(&self, name: &str, args: &Check) -> Option<&Camera> {
        let mut cameras = self.cameras.iter();
        cameras.find(|camera| self.renamed(&camera.name, args) == name)
    }
}

/// Before LeRobot's names of cameras.
const IMAGES: &str = sinew_policies::lerobot::features::IMAGES;

#[cfg(feature = "sim")]
fn simulated(task: &str) -> Result<(Vec<Camera>, Vec<String>)> {
    use sinew_sim::pick::{CAMERA_SIZE, CAMERAS, ENVIRONMENT};
    if task != "so101-pick" {
        return Err(usage(format!(
            "there is no task `{task}`; there is so101-pick"
        )));
    }
    // Rendered at whatever size and rate the policy wants.
    let camera = |name: &str| Camera {
        name: name.to_owned(),
        width: CAMERA_SIZE.0,
        height: CAMERA_SIZE.1,
        fps: 1000,
    };
    Ok((
        CAMERAS.into_iter().map(camera).collect(),
        ENVIRONMENT.into_iter().map(str::to_owned).collect(),
    ))
}

#[cfg(not(feature = "sim"))]
fn simulated(task: &str) -> Result<(Vec<Camera>, Vec<String>)> {
    Err(usage(format!(
        "--task {task}: this build has no simulation; build it with the feature `sim`"
    )))
}

/// Binds it for real, with the network and its weights.
fn load(args: &Check, robot: &Robot, report: &mut Report) {
    let options = || LoadOptions {
        rate_hz: args.fps,
        ..LoadOptions::from(args.engine)
    };
    let mut loaded = Policy::load(&args.path, options(), robot.features(args, true));
    if let Err(error @ PolicyError::OtherRobot { .. }) = &loaded {
        report.problems.push(error.to_string());
        loaded = Policy::load(&args.path, options(), robot.features(args, false));
    }
    match loaded {
        Ok(mut policy) => {
            check_pictures(&policy, robot, args.task.is_some(), report);
            if let Err(error) = policy.warmup() {
                report.problems.push(error.to_string());
            }
        }
        Err(PolicyError::DoesNotFit { problems, .. } | PolicyError::Weights { problems, .. }) => {
            report.problems.extend(problems);
        }
        Err(error) => report.problems.push(error.to_string()),
    }
}

/// Whether cameras are as fast as the policy, and their pictures as large; simulated ones are drawn at
/// whatever size is wanted.
fn check_pictures(policy: &Policy, robot: &Robot, simulated: bool, report: &mut Report) {
    let rate = policy.info().rate_hz;
    for picture in policy.pictures() {
        let Some(camera) = robot.cameras.get(picture.camera) else {
            continue;
        };
        if f64::from(camera.fps) + SAME_RATE < rate {
            report.problems.push(format!(
                "camera `{}` gives {} pictures a second and the policy takes {rate}",
                camera.name, camera.fps
            ));
        }
        if simulated {
            continue;
        }
        let same = |a: u32, b: u32, c: u32, d: u32| {
            u64::from(a) * u64::from(d) == u64::from(b) * u64::from(c)
        };
        let (wide, high) = (picture.width, picture.height);
        if !same(wide, high, camera.width, camera.height) {
            report.problems.push(format!(
                "camera `{}` gives {}×{} and the policy takes {wide}×{high}: another aspect ratio, so pictures would be distorted or cut",
                camera.name, camera.width, camera.height
            ));
        } else if (wide, high) != (camera.width, camera.height) {
            report.warnings.push(format!(
                "camera `{}` gives {}×{} and the policy takes {wide}×{high}; set it to that size",
                camera.name, camera.width, camera.height
            ));
        }
    }
}

/// What nothing says and is assumed.
fn check_assumptions(checkpoint: &Checkpoint, robot: &Robot, args: &Check, report: &mut Report) {
    let names = &checkpoint.names;
    match (names.rate_hz, args.fps) {
        (None, None) => report.warnings.push(
            "nothing says how many steps a second it was trained at; 30 are assumed (`rate_hz` in sinew.toml says otherwise)"
                .to_owned(),
        ),
        (Some(own), Some(fps)) if (own - fps).abs() > SAME_RATE => report.warnings.push(format!(
            "it was trained at {own} steps a second and is to run at {fps}: it will move {} than its demonstrations",
            if fps > own { "faster" } else { "slower" }
        )),
        _ => {}
    }
    let joints = robot.blueprint.joints.len();
    for (feature, named) in [
        (checkpoint.config.state(), &names.state),
        (checkpoint.config.action(), &names.action),
    ] {
        let Some(feature) = feature else { continue };
        if named.is_none() && feature.len() == joints {
            report.warnings.push(format!(
                "nothing names the joints of `{}`: they are taken as the robot's, in order (`state` and `action` in \
                 sinew.toml name them)",
                feature.name
            ));
        }
    }
}

/// Whether the statistics of joints lie where the robot's joints do, in the policy's unit.
fn check_units(checkpoint: &Checkpoint, robot: &Robot, args: &Check, report: &mut Report) {
    let config = &checkpoint.config;
    let relative = config
        .action()
        .map(|action| checkpoint.processors.relative(action.len()));
    let relative = relative.unwrap_or_default().contains(&true);
    let state = config
        .state()
        .and_then(|f| checkpoint.processors.input(&f.name));
    let action = checkpoint.processors.action().filter(|_| !relative);
    let sides = [
        (state, &checkpoint.names.state),
        (action, &checkpoint.names.action),
    ];
    for (scaling, named) in sides {
        let Some(scaling) = scaling else { continue };
        for channel in 0..scaling.channels() {
            let joints = &robot.blueprint.joints;
            let place = match named {
                Some(names) => names.get(channel).and_then(|name| {
                    let mut joints = joints.iter();
                    joints.position(|joint| robot.renamed(&joint.name, args) == name)
                }),
                None => (channel < joints.len() && scaling.channels() == joints.len())
                    .then_some(channel),
            };
            let Some(place) = place else { continue };
            let (middle, _) = scaling.centre(channel);
            if let Some(problem) = outside(checkpoint, robot, place, f64::from(middle)) {
                let feature = &scaling.feature.name;
                report.warnings.push(format!("`{feature}`: {problem}"));
            }
        }
    }
}

/// What is odd about a joint whose values have this mean.
fn outside(checkpoint: &Checkpoint, robot: &Robot, place: usize, mean: f64) -> Option<String> {
    let joint = &robot.blueprint.joints[place];
    let limits = joint
        .limits_rad
        .map(|rad| match checkpoint.names.units.unit {
            Unit::Rad => rad,
            Unit::Degrees => rad.to_degrees(),
            Unit::Lerobot if joint.norm == Norm::Range0To100 => {
                robot.units.joints()[place].to_lerobot(rad)
            }
            Unit::Lerobot => rad.to_degrees(),
        });
    let (low, high) = (limits[0].min(limits[1]), limits[0].max(limits[1]));
    let slack = SLACK * (high - low);
    (mean < low - slack || mean > high + slack).then(|| {
        format!(
            "the values of `{}` lie around {mean:.1}, and the joint reaches from {low:.1} to {high:.1}: trained in other \
             units (`units` in sinew.toml), or on another arm",
            joint.name
        )
    })
}

/// What the robot's camera for an image says against it, beside its size.
fn check_camera(
    checkpoint: &Checkpoint,
    image: &Feature,
    robot: &Robot,
    args: &Check,
    report: &mut Report,
) {
    let camera = checkpoint.names.camera(image);
    // A camera that is missing is a problem that binding reports.
    if robot.camera(camera, args).is_some() && checkpoint.processors.input(&image.name).is_none() {
        report.warnings.push(format!(
            "pictures of `{}` are not normalised; most policies were trained with ImageNet's statistics",
            image.name
        ));
    }
}

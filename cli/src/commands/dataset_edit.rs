//! `sinew dataset edit`: new datasets from old ones. The source stays as it is unless `--in-place`
//! is given, and even then until the result is complete.

use crate::failure::usage;
use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use sinew_datasets::edit::{self, Cut, Part, Reencode, Relabel, Report, Share, Target};
use sinew_datasets::{Codec, Error};
use std::path::PathBuf;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum EditCommand {
    /// Leave episodes out; those that stay are numbered anew.
    ///
    /// Example: sinew dataset edit delete out/pick --episodes 3,7-9 --out out/pick-clean
    Delete(Delete),
    /// Make several datasets from one, by fractions or by episodes.
    ///
    /// Example: sinew dataset edit split out/pick --part train=0.8 --part val=0.2 --out out/parts
    Split(Split),
    /// Append datasets of the same robot, rate and features to each other.
    ///
    /// Example: sinew dataset edit merge out/monday out/tuesday --out out/week
    Merge(Merge),
    /// Rename features, cameras included.
    ///
    /// Example: sinew dataset edit rename out/pick --feature observation.images.cam0=observation.images.front --in-place
    Rename(Rename),
    /// Change task sentences: of episodes, by replacement, or of all others.
    ///
    /// Example: sinew dataset edit relabel out/pick --replace "pick=pick up the cube" --episode "4=place the cube" --in-place
    Relabel(RelabelArgs),
    /// Leave features out, with their videos.
    ///
    /// Example: sinew dataset edit drop out/pick --feature observation.images.wrist --out out/one-camera
    Drop(Drop),
    /// Cut frames off the beginnings and ends of episodes.
    ///
    /// Example: sinew dataset edit trim out/pick --cut 0:10-250 --cut 3:30- --out out/pick-short
    Trim(Trim),
    /// Encode cameras with another codec or quality.
    ///
    /// Example: sinew dataset edit reencode out/pick --codec h264 --camera observation.images.front --out out/pick-h264
    Reencode(ReencodeArgs),
}

/// Where the result goes, and how it is told.
#[derive(Debug, Args)]
pub(crate) struct Outcome {
    /// New folder for the result.
    #[arg(long, value_name = "FOLDER", required_unless_present = "in_place")]
    out: Option<PathBuf>,
    /// Replace the dataset by the result, once that is complete.
    #[arg(long, conflicts_with = "out")]
    in_place: bool,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Outcome {
    pub(crate) fn target(&self) -> Target {
        self.out.clone().map_or(Target::InPlace, Target::Folder)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The dataset.
    dataset: PathBuf,
    /// Episodes to leave out, such as 3,7-9 (both ends included).
    #[arg(long)]
    episodes: String,
    #[command(flatten)]
    result: Outcome,
}

#[derive(Debug, Args)]
pub(crate) struct Split {
    /// The dataset.
    dataset: PathBuf,
    /// NAME=FRACTION or NAME=EPISODES, such as train=0.8 or val=3,7-9; repeatable.
    #[arg(long, required = true)]
    part: Vec<String>,
    /// New folder; each part becomes a dataset in it.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Merge {
    /// The datasets, in order.
    #[arg(required = true, num_args = 1..)]
    datasets: Vec<PathBuf>,
    /// New folder for the result.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Name of the robot, for datasets that name the same robot differently.
    #[arg(long)]
    robot_type: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rename {
    /// The dataset.
    dataset: PathBuf,
    /// OLD=NEW; repeatable.
    #[arg(long, required = true)]
    feature: Vec<String>,
    #[command(flatten)]
    result: Outcome,
}

#[derive(Debug, Args)]
pub(crate) struct RelabelArgs {
    /// The dataset.
    dataset: PathBuf,
    /// NUMBER=TASK: the task of one episode; repeatable.
    #[arg(long)]
    episode: Vec<String>,
    /// OLD=NEW: another sentence for a task; repeatable.
    #[arg(long)]
    replace: Vec<String>,
    /// The task of everything that the other options leave.
    #[arg(long)]
    task: Option<String>,
    #[command(flatten)]
    result: Outcome,
}

#[derive(Debug, Args)]
pub(crate) struct Drop {
    /// The dataset.
    dataset: PathBuf,
    /// Feature to leave out; repeatable.
    #[arg(long, required = true)]
    feature: Vec<String>,
    #[command(flatten)]
    result: Outcome,
}

#[derive(Debug, Args)]
pub(crate) struct Trim {
    /// The dataset.
    dataset: PathBuf,
    /// EPISODE:FROM-TO, the frames that stay, from FROM to before TO; either may be left out;
    /// repeatable.
    #[arg(long, required = true)]
    cut: Vec<String>,
    #[command(flatten)]
    result: Outcome,
}

/// Codec choices of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CodecChoice {
    /// H.264: plays everywhere, least work.
    H264,
    /// AV1: LeRobot's default, smaller files.
    Av1,
    /// H.264 if an encoder is installed, else AV1.
    Auto,
}

#[derive(Debug, Args)]
pub(crate) struct ReencodeArgs {
    /// The dataset.
    dataset: PathBuf,
    /// The new codec.
    #[arg(long, value_enum, default_value = "auto")]
    codec: CodecChoice,
    /// Feature name of a camera; repeatable. Default: all RGB cameras.
    #[arg(long)]
    camera: Vec<String>,
    /// Frames from one key frame to the next.
    #[arg(long, default_value_t = Reencode::default().gop)]
    gop: u32,
    /// Constant quality; higher is coarser.
    #[arg(long, default_value_t = Reencode::default().crf)]
    crf: u32,
    #[command(flatten)]
    result: Outcome,
}

/// Runs the command.
pub(crate) fn run(command: &EditCommand) -> Result<()> {
    match command {
        EditCommand::Delete(a) => {
            let episodes = episodes(&a.episodes)?;
            tell(
                edit::delete(&a.dataset, &episodes, &a.result.target()),
                a.result.json,
            )
        }
        EditCommand::Split(a) => split(a),
        EditCommand::Merge(a) => tell(
            edit::merge(&a.datasets, &a.out, a.robot_type.as_deref()),
            a.json,
        ),
        EditCommand::Rename(a) => {
            let names = a
                .feature
                .iter()
                .map(|f| pair("--feature", f, "OLD=NEW"))
                .collect::<Result<Vec<_>>>()?;
            tell(
                edit::rename(&a.dataset, &names, &a.result.target()),
                a.result.json,
            )
        }
        EditCommand::Relabel(a) => tell(
            edit::relabel(&a.dataset, &labels(a)?, &a.result.target()),
            a.result.json,
        ),
        EditCommand::Drop(a) => tell(
            edit::drop_features(&a.dataset, &a.feature, &a.result.target()),
            a.result.json,
        ),
        EditCommand::Trim(a) => {
            let cuts = a.cut.iter().map(|c| cut(c)).collect::<Result<Vec<_>>>()?;
            tell(
                edit::trim(&a.dataset, &cuts, &a.result.target()),
                a.result.json,
            )
        }
        EditCommand::Reencode(a) => {
            let how = Reencode {
                cameras: a.camera.clone(),
                codec: match a.codec {
                    CodecChoice::H264 => Codec::H264,
                    CodecChoice::Av1 => Codec::Av1,
                    CodecChoice::Auto => Codec::Auto,
                },
                gop: a.gop,
                crf: a.crf,
            };
            tell(
                edit::reencode(&a.dataset, &how, &a.result.target()),
                a.result.json,
            )
        }
    }
}

fn split(args: &Split) -> Result<()> {
    let parts = args
        .part
        .iter()
        .map(|p| part(p))
        .collect::<Result<Vec<_>>>()?;
    let reports = edit::split(&args.dataset, &parts, &args.out).map_err(explained)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        reports.iter().for_each(print);
    }
    Ok(())
}

/// Prints what an edit made, or explains why it made nothing.
pub(crate) fn tell(made: sinew_datasets::Result<Report>, json: bool) -> Result<()> {
    let report = made.map_err(explained)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

/// Requests that cannot be carried out as they stand are the caller's to mend.
pub(crate) fn explained(error: Error) -> anyhow::Error {
    let missing =
        matches!(&error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
    match error {
        Error::Edit { .. }
        | Error::Convert { .. }
        | Error::Mcap { .. }
        | Error::NotFound { .. }
        | Error::Spec { .. }
        | Error::Locked { .. }
        | Error::NoEncoder { .. }
        | Error::NoVideo => usage(error),
        Error::Io { .. } if missing => usage(error),
        error => error.into(),
    }
}

pub(crate) fn print(report: &Report) {
    let videos = report.videos;
    println!(
        "{}: {} episodes, {} frames, {} tasks; {} data files; video files: {} copied, {} moved without re-encoding, {} re-encoded ({} frames)",
        report.root.display(),
        report.episodes,
        report.frames,
        report.tasks,
        report.data_files,
        videos.copied_files,
        videos.remuxed_files,
        videos.reencoded_files,
        videos.reencoded_frames
    );
    for note in &report.notes {
        println!("  note: {note}");
    }
}

/// `A=B`, cut at the first sign; `form` says so in words.
pub(crate) fn pair(option: &str, text: &str, form: &str) -> Result<(String, String)> {
    text.split_once('=')
        .filter(|(a, b)| !a.is_empty() && !b.is_empty())
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .ok_or_else(|| usage(format!("{option} {text}: write {form}")))
}

/// Most episodes that a list may name.
const EPISODE_LIMIT: usize = 10_000_000;

/// `3,7-9` as 3, 7, 8, 9.
pub(crate) fn episodes(text: &str) -> Result<Vec<u64>> {
    let wrong = || {
        usage(format!(
            "`{text}` is no list of episodes; write one such as 3,7-9"
        ))
    };
    let mut all = Vec::new();
    for item in text.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let number = |t: &str| t.trim().parse::<u64>().map_err(|_| wrong());
        let (first, last) = (number(first)?, number(last)?);
        let fits = last
            .checked_sub(first)
            .is_some_and(|n| n < (EPISODE_LIMIT - all.len().min(EPISODE_LIMIT)) as u64);
        if !fits {
            return Err(wrong());
        }
        all.extend(first..=last);
    }
    Ok(all)
}

/// `train=0.8` or `val=3,7-9`.
fn part(text: &str) -> Result<Part> {
    let (name, share) = pair("--part", text, "NAME=EPISODES")?;
    // Episode numbers have no decimal point; fractions need one, also 1.0.
    let share = if share.contains('.') {
        let fraction = share
            .parse()
            .map_err(|_| usage(format!("--part {text}: `{share}` is no fraction")))?;
        Share::Fraction(fraction)
    } else {
        Share::Episodes(episodes(&share)?)
    };
    Ok(Part { name, share })
}

/// `3:10-250`, `3:10-` or `3:-250`.
fn cut(text: &str) -> Result<Cut> {
    let parse = || {
        let (episode, frames) = text.split_once(':')?;
        let (from, to) = frames.split_once('-')?;
        let from = if from.is_empty() {
            0
        } else {
            from.parse().ok()?
        };
        let to = if to.is_empty() {
            None
        } else {
            Some(to.parse().ok()?)
        };
        Some(Cut {
            episode: episode.parse().ok()?,
            from,
            to,
        })
    };
    parse().ok_or_else(|| {
        usage(format!(
            "--cut {text}: write EPISODE:FROM-TO, such as 3:10-250 or 3:10-"
        ))
    })
}

fn labels(args: &RelabelArgs) -> Result<Relabel> {
    let mut labels = Relabel {
        all: args.task.clone(),
        ..Relabel::default()
    };
    for text in &args.episode {
        let (number, task) = pair("--episode", text, "NUMBER=TASK")?;
        let number = number.parse().map_err(|_| {
            usage(format!(
                "--episode {text}: write NUMBER=TASK, such as \"4=place the cube\""
            ))
        })?;
        labels.episodes.insert(number, task);
    }
    for text in &args.replace {
        let (old, new) = pair("--replace", text, "OLD=NEW")?;
        labels.replace.insert(old, new);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(subcommand)]
        command: EditCommand,
    }

    /// Runs a command line; the error, and whether it is the caller's to mend.
    fn run_line(line: &[&str]) -> std::result::Result<(), (String, bool)> {
        let parsed = Only::try_parse_from([&["edit"], line].concat())
            .map_err(|e| (e.to_string(), e.exit_code() == 2))?;
        run(&parsed.command).map_err(|e| (e.to_string(), e.is::<crate::failure::Usage>()))
    }

    #[test]
    fn lists_parts_and_cuts_are_understood() {
        assert_eq!(episodes("3,7-9").unwrap(), [3, 7, 8, 9]);
        assert_eq!(part("train=0.8").unwrap().share, Share::Fraction(0.8));
        assert_eq!(part("val=1").unwrap().share, Share::Episodes(vec![1]));
        assert_eq!(
            cut("3:10-").unwrap(),
            Cut {
                episode: 3,
                from: 10,
                to: None
            }
        );
        assert_eq!(
            cut("3:-25").unwrap(),
            Cut {
                episode: 3,
                from: 0,
                to: Some(25)
            }
        );
        for wrong in ["", "a", "3-", "9-7", "0-18446744073709551615"] {
            assert!(episodes(wrong).is_err(), "{wrong}");
        }
        for wrong in ["3", "3:4", "a:1-2", "3:x-2", ":1-2"] {
            assert!(cut(wrong).is_err(), "{wrong}");
        }
        assert!(part("train").is_err() && part("=0.5").is_err() && part("a=0.x").is_err());
    }

    #[test]
    fn wrong_requests_are_the_callers_to_mend() {
        let dir = std::env::temp_dir().join(format!("sinew-edit-{}", std::process::id()));
        let missing = dir.join("none").display().to_string();
        let out = dir.join("out").display().to_string();
        for line in [
            &["delete", &missing, "--episodes", "1", "--out", &out][..],
            &["delete", &missing, "--episodes", "x", "--out", &out],
            &["delete", &missing, "--episodes", "1"],
            &[
                "delete",
                &missing,
                "--episodes",
                "1",
                "--out",
                &out,
                "--in-place",
            ],
            &["split", &missing, "--part", "train", "--out", &out],
            &["merge", "--out", &out],
            &["trim", &missing, "--cut", "1", "--in-place"],
            &["rename", &missing, "--feature", "a", "--in-place"],
            &["relabel", &missing, "--episode", "x=y", "--in-place"],
            &["reencode", &missing, "--codec", "mpeg2", "--in-place"],
        ] {
            let (message, mendable) = run_line(line).unwrap_err();
            assert!(mendable, "{line:?}: {message}");
        }
        assert!(!dir.exists());
    }

    #[test]
    fn every_verb_has_an_example() {
        use clap::CommandFactory;
        for verb in Only::command().get_subcommands() {
            let help = verb
                .get_long_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains(&format!("Example: sinew dataset edit {}", verb.get_name())),
                "{help}"
            );
        }
    }
}

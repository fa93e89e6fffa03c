//! `sinew policy`: what a policy is, and whether it fits. One file a verb.

pub(crate) mod args;
mod bench;
mod check;
mod checkpoint;
mod compare;
mod export;
mod info;
mod network;
mod quantize;
mod recorded;
mod stand_in;

use crate::failure::usage;
use anyhow::Result;
use args::{PolicyArgs, Verb};
use sinew_policies::Manifest;
use sinew_policies::lerobot::Checkpoint;
use sinew_policies::manifest::Described;
use std::path::{Path, PathBuf};

/// Runs the command.
pub(crate) fn policy(mut args: PolicyArgs) -> Result<()> {
    for place in args.verb.policies() {
        *place = crate::hub::policy(place)?;
    }
    match &args.verb {
        Verb::Info(args) => info::info(args),
        Verb::Check(args) => check::check(args),
        Verb::Export(args) => export::export(args),
        Verb::Bench(args) => bench::bench(args),
        Verb::Compare(args) => compare::compare(args),
        Verb::Quantize(args) => quantize::quantize(args),
    }
}

/// A policy on disk, of the kinds that there are.
#[derive(Debug)]
enum Stored {
    Checkpoint(Box<Checkpoint>),
    Manifest(Box<Manifest>, Described),
    Onnx(PathBuf),
}

impl Stored {
    fn open(path: &Path) -> Result<Self> {
        if path.is_file() {
            return match path.extension() {
                Some(end) if end == "onnx" => Ok(Self::Onnx(path.to_owned())),
                _ => Err(usage(format!(
                    "{} is no policy; give the folder of a LeRobot checkpoint or of a policy.toml, or an .onnx file",
                    path.display()
                ))),
            };
        }
        if !path.is_dir() {
            return Err(usage(format!(
                "{} does not exist; give the folder of a LeRobot checkpoint or of a policy.toml, or an .onnx file",
                path.display()
            )));
        }
        let described = Manifest::find(path);
        let checkpoint = Checkpoint::find(path).is_some();
        // In the order of `Policy::load`.
        match described {
            Some(how) if how == Described::Manifest || !checkpoint => {
                let manifest = Manifest::read(path).map_err(usage)?;
                Ok(Self::Manifest(Box::new(manifest), how))
            }
            _ => {
                let checkpoint = Checkpoint::open(path).map_err(usage)?;
                Ok(Self::Checkpoint(Box::new(checkpoint)))
            }
        }
    }
}

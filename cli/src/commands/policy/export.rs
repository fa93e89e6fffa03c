//! `sinew policy export`: a checkpoint's network as a portable file.

use super::Stored;
use super::args::Export;
use crate::commands::dataset::text::bytes;
use crate::failure::usage;
use anyhow::{Context, Result};
use sinew_policies::graph::Graph;
use sinew_policies::lerobot::{Architecture, Checkpoint, act, diffusion};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Runs the command.
pub(super) fn export(args: &Export) -> Result<()> {
    if args.onnx.exists() && !args.force {
        return Err(usage(format!(
            "{} exists; --force replaces it",
            args.onnx.display()
        )));
    }
    let checkpoint = match Stored::open(&args.path)? {
        Stored::Checkpoint(checkpoint) => Arc::new(*checkpoint),
        Stored::Manifest(manifest, _) => {
            return Err(usage(format!(
                "{} is an ONNX file already: {}",
                manifest.name,
                manifest.model_file.display()
            )));
        }
        Stored::Onnx(file) => {
            return Err(usage(format!("{} is an ONNX file already", file.display())));
        }
    };
    let graph = match &checkpoint.config.architecture {
        Architecture::Act(_) => {
            let network = act::Network::new(&checkpoint).map_err(usage)?;
            network.build_whole().map_err(usage)?
        }
        Architecture::Diffusion(_) => {
            let network = diffusion::Network::new(&checkpoint).map_err(usage)?;
            network.build_whole().map_err(usage)?
        }
        other => {
            return Err(usage(format!(
                "policies of type {} cannot be exported",
                other.name()
            )));
        }
    };
    let graph = described(graph, &checkpoint);
    let file = graph.to_portable().map_err(usage)?;
    write(&args.onnx, &file)?;
    println!(
        "{}: {} operators, {}",
        args.onnx.display(),
        graph.operators(),
        bytes(file.len() as u64)
    );
    for (label, ports) in [("input", graph.inputs()), ("output", graph.outputs())] {
        ports.iter().for_each(|port| println!("{label:<8}{port}"));
    }
    Ok(())
}

/// Adds what another program needs to use the file.
fn described(graph: Graph, checkpoint: &Checkpoint) -> Graph {
    let names = &checkpoint.names;
    let mut graph = graph
        .with_metadata("type", checkpoint.config.architecture.name())
        .with_metadata(
            "n_action_steps",
            &checkpoint.config.architecture.n_action_steps().to_string(),
        );
    let lists = [
        ("state", &names.state),
        ("action", &names.action),
        ("environment", &names.environment),
    ];
    for (key, list) in lists {
        if let Some(list) = list {
            graph = graph.with_metadata(key, &list.join(","));
        }
    }
    if let Some(rate) = names.rate_hz {
        graph = graph.with_metadata("rate_hz", &rate.to_string());
    }
    graph
}

/// Writes a file so that it is there as a whole or not at all.
fn write(path: &Path, contents: &[u8]) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = Path::new(&name);
    let done = std::fs::File::create(part)
        .and_then(|mut file| file.write_all(contents).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(part, path));
    if done.is_err() {
        // Nothing useful is in it, and the error is told below.
        let _ = std::fs::remove_file(part);
    }
    done.with_context(|| format!("cannot write {}", path.display()))
}

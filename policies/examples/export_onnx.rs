//! Writes a LeRobot checkpoint as one ONNX file, from pixels and joint values to actions.
//!
//! `cargo run -p sinew-policies --example export_onnx -- FOLDER FILE.onnx`

use sinew_policies::lerobot::Checkpoint;
use sinew_policies::lerobot::act::Network;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, file] = arguments.as_slice() else {
        return Err("FOLDER FILE.onnx".into());
    };
    let checkpoint = Arc::new(Checkpoint::open(Path::new(folder))?);
    let graph = Network::new(&checkpoint)?.build_whole()?;
    std::fs::write(file, graph.to_portable()?)?;
    println!(
        "{} operators, {} parameters",
        graph.operators(),
        graph.parameters()
    );
    Ok(())
}

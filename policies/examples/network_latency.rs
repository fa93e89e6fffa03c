//! Times a network on every engine that runs it, rounds interleaved:
//! `cargo run -p sinew-policies --example network_latency -- model.onnx`

use sinew_policies::engines::direct::{DirectEngine, Weights};
use sinew_policies::{EngineChoice, ModelBytes, Tensor};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

const ROUNDS: usize = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    for path in std::env::args().skip(1) {
        let open = |choice: EngineChoice| choice.open(ModelBytes::read(Path::new(&path))?, 1);
        let rten = open(EngineChoice::Rten)?;
        let bytes = std::fs::read(&path)?;
        let mut engines = vec![open(EngineChoice::Ort)?];
        for weights in [Weights::F32, Weights::Bf16] {
            let (inputs, outputs) = (rten.inputs(), rten.outputs());
            if let Some(direct) = DirectEngine::load(&bytes, weights, inputs, outputs) {
                engines.push(Box::new(direct));
            }
        }
        engines.push(rten);
        println!("{path}");
        let shapes = engines[0].inputs().to_vec();
        let mut inputs: Vec<Tensor> = shapes
            .iter()
            .map(|info| {
                Tensor::zeros(
                    &info
                        .shape
                        .iter()
                        .map(|dim| dim.unwrap_or(1))
                        .collect::<Vec<_>>(),
                )
            })
            .collect();
        for engine in &mut engines {
            let mut outputs = vec![Tensor::default(); engine.outputs().len()];
            let mut times = Vec::with_capacity(ROUNDS);
            for round in 0..ROUNDS {
                for (i, value) in inputs.iter_mut().flat_map(|t| &mut t.data).enumerate() {
                    *value = ((round * 31 + i * 17) % 64) as f32 / 64.0 - 0.5;
                }
                let begun = Instant::now();
                engine.run(&inputs, &mut outputs)?;
                times.push(begun.elapsed().as_secs_f64() * 1e6);
            }
            times.sort_by(f64::total_cmp);
            let at = |share: f64| times[((ROUNDS - 1) as f64 * share) as usize];
            let sum: f32 = outputs.iter().flat_map(|t| &t.data).sum();
            println!(
                "  {:7} min {:5.1}, p50 {:5.1}, p95 {:5.1}, p99 {:5.1} µs; sum of the last answer {sum}",
                engine.name(),
                at(0.0),
                at(0.5),
                at(0.95),
                at(0.99)
            );
        }
    }
    Ok(())
}

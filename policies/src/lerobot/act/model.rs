//! ACT on an engine.

use super::{Algebra, Network};
use crate::engine::{Engine, Tensor, TensorInfo};
use crate::error::PolicyError;
use crate::graph::Graph;
use crate::lerobot::features::{ENVIRONMENT, STATE};
use crate::lerobot::loading::Opening;
use crate::lerobot::model::{ActOptions, Model};

/// An ACT policy: one encoder for each size of image, one transformer.
#[derive(Debug)]
pub struct ActModel {
    encoders: Vec<Box<dyn Engine>>,
    /// Which encoder each camera uses.
    encoder_of: Vec<usize>,
    /// Each camera's normalised image, as the encoder's list of inputs.
    images: Vec<[Tensor; 1]>,
    tokens: [Tensor; 1],
    transformer: Box<dyn Engine>,
    inputs: Vec<Tensor>,
    outputs: [Tensor; 1],
    state: Option<usize>,
    environment: Option<usize>,
    first_image: usize,
    chunk: (usize, usize),
}

impl ActModel {
    /// Builds the network and opens its engines.
    ///
    /// # Errors
    /// When the checkpoint's weights do not fit, or the engine cannot be used.
    pub fn new(
        network: &Network,
        algebra: Algebra,
        opening: &Opening,
    ) -> Result<Self, PolicyError> {
        let (encoders, transformer) = network.build(algebra)?;
        Self::with_graphs(network, encoders, transformer, opening)
    }

    /// Opens graphs that [`Network::build`] gave, rewritten or not.
    ///
    /// # Errors
    /// When the engine cannot be used.
    pub fn with_graphs(
        network: &Network,
        encoders: Vec<Graph>,
        transformer: Graph,
        opening: &Opening,
    ) -> Result<Self, PolicyError> {
        let encoders = encoders.into_iter().map(|graph| opening.open(graph));
        let encoders = encoders.collect::<Result<Vec<_>, _>>()?;
        let transformer = opening.open(transformer)?;
        let sizes = network.sizes();
        let images = network.images();
        let encoder_of = images
            .iter()
            .filter_map(|image| sizes.iter().position(|size| *size == image.shape))
            .collect();
        let infos = transformer.inputs();
        let place = |name: &str| infos.iter().position(|info| info.name == name);
        let first_image = images.first().and_then(|image| place(&image.name));
        Ok(Self {
            encoder_of,
            images: images
                .iter()
                .map(|image| [Tensor::zeros(&[&[1], image.shape.as_slice()].concat())])
                .collect(),
            tokens: [Tensor::default()],
            inputs: infos.iter().map(zeros).collect(),
            outputs: [Tensor::default()],
            state: place(STATE),
            environment: place(ENVIRONMENT),
            first_image: first_image.unwrap_or(infos.len()),
            chunk: (network.act.chunk_size, network.action),
            encoders,
            transformer,
        })
    }

    /// A camera's tokens, `[cells, width]`, as they were encoded last.
    pub fn tokens(&self, camera: usize) -> &[f32] {
        &self.inputs[self.first_image + camera].data
    }
}

fn zeros(info: &TensorInfo) -> Tensor {
    let shape: Vec<usize> = info.shape.iter().map(|dim| dim.unwrap_or(1)).collect();
    Tensor::zeros(&shape)
}

impl Model for ActModel {
    fn engine(&self) -> &'static str {
        self.transformer.name()
    }

    fn images(&self) -> usize {
        self.images.len()
    }

    fn image_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.images[index][0].data
    }

    fn encode(&mut self, index: usize) -> Result<(), String> {
        let encoder = &mut self.encoders[self.encoder_of[index]];
        encoder.run(&self.images[index], &mut self.tokens)?;
        let slot = &mut self.inputs[self.first_image + index];
        if slot.data.len() != self.tokens[0].data.len() {
            let (got, wanted) = (&self.tokens[0].shape, &slot.shape);
            return Err(format!(
                "an encoder gave {got:?} where {wanted:?} was agreed on"
            ));
        }
        // Both buffers stay in use: no copy, no allocation.
        std::mem::swap(&mut slot.data, &mut self.tokens[0].data);
        Ok(())
    }

    fn observe(&mut self, state: &[f32], environment: &[f32]) {
        for (place, values) in [(self.state, state), (self.environment, environment)] {
            if let Some(place) = place {
                self.inputs[place].data.copy_from_slice(values);
            }
        }
    }

    fn chunk(&self) -> (usize, usize) {
        self.chunk
    }

    fn act(&mut self, _options: &ActOptions<'_>) -> Result<&[f32], String> {
        self.transformer.run(&self.inputs, &mut self.outputs)?;
        let (steps, width) = self.chunk;
        let data = &self.outputs[0].data;
        if data.len() != steps * width {
            return Err(format!("the network gave {:?}", self.outputs[0].shape));
        }
        Ok(data)
    }

    fn reset(&mut self) {}
}

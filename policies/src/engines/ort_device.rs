//! ONNX Runtime on a GPU: inputs and outputs that stay on the device between runs.
//!
//! CUDA graphs replay the same kernels on the same addresses, so every tensor is allocated once and
//! bound once; a run copies the inputs into place, replays, and copies the outputs back. On machines
//! without a GPU the tests see only that asking for one is refused in clear words.

use crate::engine::{Tensor, TensorInfo};

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session};
use ort::value::{Tensor as OrtTensor, TensorRef, TensorRefMut};

/// A session's tensors on the device.
#[derive(Debug)]
pub(super) struct DeviceTensors {
    binding: IoBinding,
    inputs: Vec<OrtTensor<f32>>,
    outputs: Vec<String>,
}

impl DeviceTensors {
    /// Allocates and binds everything; all shapes must be known.
    pub(super) fn new(
        session: &Session,
        inputs: &[TensorInfo],
        outputs: &[TensorInfo],
    ) -> ort::Result<Self> {
        let memory = MemoryInfo::new(
            AllocationDevice::CUDA,
            0,
            AllocatorType::Device,
            MemoryType::Default,
        )?;
        let allocator = Allocator::new(session, memory)?;
        let mut binding = session.create_binding()?;
        let mut device = Vec::with_capacity(inputs.len());
        for info in inputs {
            let tensor = OrtTensor::<f32>::new(&allocator, shape(info))?;
            binding.bind_input(&info.name, &tensor)?;
            device.push(tensor);
        }
        for info in outputs {
            let tensor = OrtTensor::<f32>::new(&allocator, shape(info))?;
            binding.bind_output(&info.name, tensor)?;
        }
        Ok(Self {
            binding,
            inputs: device,
            outputs: outputs.iter().map(|info| info.name.clone()).collect(),
        })
    }

    /// Copies in, runs, copies out. `outputs` are resized to what the session gives.
    pub(super) fn run(
        &mut self,
        session: &mut Session,
        inputs: &[Tensor],
        outputs: &mut [Tensor],
        infos: &[TensorInfo],
    ) -> ort::Result<()> {
        for (host, device) in inputs.iter().zip(&mut self.inputs) {
            let view = TensorRef::from_array_view((host.shape.as_slice(), host.data.as_slice()))?;
            view.copy_into(device)?;
        }
        let results = session.run_binding(&self.binding)?;
        for ((name, output), info) in self.outputs.iter().zip(outputs).zip(infos) {
            let Some(value) = results.get(name) else {
                return Err(ort::Error::new(format!("output `{name}` did not come")));
            };
            let device = value
                .view()
                .downcast::<ort::value::TensorValueType<f32>>()?;
            output.shape.clear();
            output.shape.extend(shape(info));
            output.data.resize(output.shape.iter().product(), 0.0);
            let host = (output.shape.as_slice(), output.data.as_mut_slice());
            device.copy_into(TensorRefMut::from_array_view_mut(host)?)?;
        }
        Ok(())
    }
}

fn shape(info: &TensorInfo) -> Vec<usize> {
    info.shape.iter().map(|dim| dim.unwrap_or(1)).collect()
}

//! ONNX Runtime through `ort`, from a shared library that is looked for when it is needed.

use crate::engine::{Engine, EngineOptions, Provider, Tensor, TensorInfo, guarded};
use crate::engines::ort_device::DeviceTensors;
use crate::error::PolicyError;
use crate::graph::{External, Graph};
use ort::AsPointer;
use ort::environment::Environment;
use ort::ep;
use ort::logging::LogLevel;
use ort::memory::{Allocator, MemoryInfo};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, TensorElementType, TensorRef, ValueType};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Mutex;

/// The engine's name.
pub const NAME: &str = "ort";

/// Where the set-up script puts the library, from the repository's root.
const BUNDLED: &str = "third_party/lib/libonnxruntime.so";

/// ONNX Runtime allows one environment a process, and the first library stays loaded for good.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// Whether somebody named the library: then it is that one or none.
pub fn is_named() -> bool {
    ["SINEW_ORT_LIB", "ORT_DYLIB_PATH"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Finds the library: `SINEW_ORT_LIB`, then `ORT_DYLIB_PATH`, then `third_party/lib` in the working
/// directory, beside the program, in the checkout that it was built from, or in a folder above one
/// of these.
pub fn find_library() -> Result<PathBuf, PolicyError> {
    let places = [
        std::env::current_dir().ok(),
        std::env::current_exe().ok(),
        Some(PathBuf::from(env!("CARGO_MANIFEST_DIR"))),
    ];
    let places: Vec<PathBuf> = places.into_iter().flatten().collect();
    find_in(
        std::env::var_os("SINEW_ORT_LIB"),
        std::env::var_os("ORT_DYLIB_PATH"),
        &places,
    )
}

fn find_in(
    ours: Option<OsString>,
    orts: Option<OsString>,
    places: &[PathBuf],
) -> Result<PathBuf, PolicyError> {
    let chosen = [ours, orts]
        .into_iter()
        .flatten()
        .find(|value| !value.is_empty());
    if let Some(chosen) = chosen.map(PathBuf::from) {
        // An explicit choice is obeyed or refused, never passed over.
        return match chosen.is_file() {
            true => Ok(chosen),
            false => {
                let problem = "no such file".to_owned();
                Err(PolicyError::OrtLibrary {
                    path: chosen,
                    problem,
                })
            }
        };
    }
    let mut candidates = places
        .iter()
        .flat_map(|place| place.ancestors())
        .map(|folder| folder.join(BUNDLED));
    match candidates.find(|path| path.is_file()) {
        // The dynamic loader takes a bare relative path as a name to search for.
        Some(path) => Ok(path.canonicalize().unwrap_or(path)),
        None => {
            let mut looked = vec!["$SINEW_ORT_LIB".to_owned(), "$ORT_DYLIB_PATH".to_owned()];
            looked.push(format!(
                "{BUNDLED} here, beside the program, and above both"
            ));
            Err(PolicyError::NoOrtLibrary { looked })
        }
    }
}

/// The process's ONNX Runtime environment; the first call loads `library`.
pub fn environment(library: &Path) -> Result<Environment, PolicyError> {
    let failed = |problem: String| PolicyError::OrtLibrary {
        path: library.to_owned(),
        problem,
    };
    let mut slot = ENVIRONMENT
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(environment) = slot.as_ref() {
        return Ok(environment.clone());
    }
    let environment = guarded(|| {
        let builder = ort::init_from(library).map_err(|e| e.to_string())?;
        builder
            .with_name("sinew")
            .with_telemetry(false)
            .build()
            .map_err(|e| e.to_string())
    })
    .map_err(failed)?;
    // Failures come back as errors; the library's own lines on stderr would say them twice.
    environment.set_log_level(LogLevel::Fatal);
    Ok(slot.insert(environment).clone())
}

/// A network loaded by ONNX Runtime.
#[derive(Debug)]
pub struct OrtEngine {
    /// On a GPU: tensors that stay there. Declared before `session`, so dropped before it.
    device: Option<DeviceTensors>,
    session: Session,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    /// What the session's weights lie in. Declared after `session`, so dropped after it.
    _graph: Option<Box<Graph>>,
}

impl OrtEngine {
    /// Loads an ONNX model. The error is the library's message.
    pub fn load(
        environment: &Environment,
        bytes: &[u8],
        how: &EngineOptions,
    ) -> Result<Self, String> {
        let session = session(environment, bytes, how).map_err(|e| e.to_string())?;
        Ok(Self::with_session(session, None))
    }

    /// Takes a graph, whose large weights stay where they are. The error is the library's message.
    pub fn load_graph(
        environment: &Environment,
        graph: Graph,
        how: &EngineOptions,
    ) -> Result<Self, String> {
        let graph = Box::new(graph);
        let session = graph_session(environment, &graph, how).map_err(|e| e.to_string())?;
        let mut engine = Self::with_session(session, Some(graph));
        if how.provider != Provider::Cpu {
            let device = DeviceTensors::new(&engine.session, &engine.inputs, &engine.outputs);
            engine.device = Some(device.map_err(|e| e.to_string())?);
        }
        Ok(engine)
    }

    fn with_session(session: Session, graph: Option<Box<Graph>>) -> Self {
        let inputs = session
            .inputs()
            .iter()
            .map(|o| info(o.name(), o.dtype()))
            .collect();
        let outputs = session
            .outputs()
            .iter()
            .map(|o| info(o.name(), o.dtype()))
            .collect();
        Self {
            device: None,
            session,
            inputs,
            outputs,
            _graph: graph,
        }
    }

    fn run_unguarded(&mut self, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), String> {
        if let Some(device) = &mut self.device {
            let done = device.run(&mut self.session, inputs, outputs, &self.outputs);
            return done.map_err(|e| e.to_string());
        }
        let values = inputs
            .iter()
            .map(view)
            .collect::<ort::Result<Vec<_>>>()
            .map_err(|e| e.to_string())?;
        let results = self
            .session
            .run(values.as_slice())
            .map_err(|e| e.to_string())?;
        for (result, output) in results.values().zip(outputs) {
            let (shape, data) = result
                .try_extract_tensor::<f32>()
                .map_err(|e| e.to_string())?;
            output.shape.clear();
            output
                .shape
                .extend(shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)));
            output.data.clear();
            output.data.extend_from_slice(data);
        }
        Ok(())
    }
}

fn session(environment: &Environment, bytes: &[u8], how: &EngineOptions) -> ort::Result<Session> {
    let builder = || {
        on_provider(
            builder(environment, how.threads)?,
            how.provider,
            Tensors::Host,
        )
    };
    // Without VNNI instructions the fast int8 kernels saturate in between, without a word; this
    // entry asks for exact ones, and does nothing elsewhere. The rewriting that it needs fails on
    // weights that are used twice. Such a network is computed as it is written, in floats.
    builder()?
        .with_config_entry("session.x64quantprecision", "1")?
        .commit_from_memory(bytes)
        .or_else(|error| {
            builder()?
                .with_optimization_level(GraphOptimizationLevel::Level1)?
                .commit_from_memory(bytes)
                .map_err(|_| error)
        })
}

fn graph_session(
    environment: &Environment,
    graph: &Graph,
    how: &EngineOptions,
) -> ort::Result<Session> {
    let mut builder = builder(environment, how.threads)?.with_prepacking(how.prepack)?;
    if graph.needs_wide_sums() {
        builder = builder.with_config_entry("session.x64quantprecision", "1")?;
    }
    if !how.optimise {
        builder = builder.with_optimization_level(GraphOptimizationLevel::Disable)?;
    }
    builder = on_provider(builder, how.provider, Tensors::Device)?;
    for (_, constant) in graph.large_constants() {
        let info = graph.constant_info(constant);
        // SAFETY: the bytes are a mapped file's or an `Arc`'s, neither of which moves; the caller
        // keeps `graph`, which holds both, until the session is gone.
        let value = unsafe { borrowed(graph.in_place(constant), &info.shape, info.dtype) }?;
        builder = builder.with_external_initializer(&info.name, value)?;
    }
    let bytes = graph.to_onnx(&|_, _| {
        Some(External {
            location: "weights".to_owned(),
            offset: 0,
        })
    });
    builder.commit_from_memory(&bytes)
}

/// Where a session's inputs and outputs lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tensors {
    /// In the processor's memory: the library copies them.
    Host,
    /// Always in the same places on the device ([`DeviceTensors`]).
    Device,
}

/// Asks for a provider; one that cannot be had is an error.
fn on_provider(
    builder: SessionBuilder,
    provider: Provider,
    tensors: Tensors,
) -> ort::Result<SessionBuilder> {
    let providers = providers(provider, tensors);
    if providers.is_empty() {
        return Ok(builder);
    }
    Ok(builder.with_execution_providers(providers)?)
}

/// The providers to ask for, most wanted first. Each must be there: none is passed over.
fn providers(provider: Provider, tensors: Tensors) -> Vec<ep::ExecutionProviderDispatch> {
    // A whole graph is replayed in one launch: policies are small, and most of their time on a GPU
    // would be spent on starting kernels. That needs tensors that never move, and every operator on
    // the provider that replays: TensorRT, which leaves some to CUDA, cannot.
    let replayed = tensors == Tensors::Device && provider == Provider::Cuda;
    // TF32 keeps ten bits of each factor: less than the single precision that was asked for.
    let cuda = || {
        let cuda = ep::CUDA::default()
            .with_tf32(false)
            .with_cuda_graph(replayed);
        cuda.build().error_on_failure()
    };
    match provider {
        Provider::Cpu => Vec::new(),
        Provider::Cuda => vec![cuda()],
        Provider::TensorRt => vec![ep::TensorRT::default().build().error_on_failure(), cuda()],
    }
}

/// A tensor over memory that is not copied.
///
/// # Safety
/// `data` must stay valid and unchanged until the value, and every session that was given it, are
/// gone.
unsafe fn borrowed(
    data: &[u8],
    shape: &[usize],
    dtype: crate::graph::DataType,
) -> ort::Result<DynValue> {
    let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    let info = MemoryInfo::default();
    let mut value = std::ptr::null_mut();
    // SAFETY: all pointers are valid for the call; the library only keeps `data`, which the caller
    // vouches for. It is never written to: initialisers are constants.
    let status = unsafe {
        (ort::api().CreateTensorWithDataAsOrtValue)(
            info.ptr(),
            data.as_ptr().cast_mut().cast(),
            data.len(),
            shape.as_ptr(),
            shape.len(),
            element_type(dtype),
            &mut value,
        )
    };
    // SAFETY: the status came from the call above and is used once.
    unsafe { ort::Error::result_from_status(status) }?;
    let Some(value) = NonNull::new(value) else {
        return Err(ort::Error::new("the library made no tensor"));
    };
    // SAFETY: the pointer is a new tensor that nobody else owns.
    Ok(unsafe { DynValue::from_ptr(value, Some(&Allocator::default())) })
}

fn element_type(dtype: crate::graph::DataType) -> ort::sys::ONNXTensorElementDataType {
    use crate::graph::DataType;
    use ort::sys::ONNXTensorElementDataType as Element;
    match dtype {
        DataType::F32 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        DataType::F16 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        DataType::U8 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        DataType::I8 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
        DataType::I32 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        DataType::I64 => Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
    }
}

fn builder(environment: &Environment, threads: usize) -> ort::Result<SessionBuilder> {
    let builder = Session::builder(environment)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        // Within a run threads wait for one another by spinning, which saves the time of waking up. A policy
        // runs once a period: threads that went on spinning in between would steal the loop's core.
        .with_intra_op_spinning(true)?
        .with_config_entry("session.force_spinning_stop", "1")?;
    Ok(builder)
}

fn view(tensor: &Tensor) -> ort::Result<SessionInputValue<'_>> {
    Ok(TensorRef::from_array_view((tensor.shape.as_slice(), tensor.data.as_slice()))?.into())
}

fn info(name: &str, kind: &ValueType) -> TensorInfo {
    let shape = kind
        .tensor_shape()
        .map(|shape| shape.iter().map(|&dim| usize::try_from(dim).ok()).collect());
    TensorInfo {
        name: name.to_owned(),
        is_f32: kind.tensor_type() == Some(TensorElementType::Float32),
        shape: shape.unwrap_or_default(),
    }
}

impl Engine for OrtEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    fn run(&mut self, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), String> {
        guarded(|| self.run_unguarded(inputs, outputs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_library_that_is_missing_is_named() {
        let error = find_in(Some("/nowhere/libonnxruntime.so".into()), None, &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nowhere/libonnxruntime.so"), "{error}");
        assert!(error.contains("--engine rten"), "{error}");
    }

    #[test]
    fn without_a_library_the_error_says_what_to_type() {
        let error = find_in(None, Some("".into()), &["/nowhere/bin/sinew".into()])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("scripts/setup") && error.contains("--engine rten"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_no_library_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let fake = folder.path().join("libonnxruntime.so");
        std::fs::write(&fake, b"not an ELF file").unwrap();
        // Only meaningful while no real library is loaded, which holds: each test is a process
        // of its own under nextest, and this is the only unit test that gets this far.
        let error = environment(&fake).unwrap_err().to_string();
        assert!(
            error.contains("libonnxruntime.so") && error.contains("scripts/setup"),
            "{error}"
        );
    }
}

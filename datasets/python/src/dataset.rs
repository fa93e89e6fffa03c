//! An open dataset: its metadata, and readers of it.

use crate::errors::exception;
use crate::pack::Form;
use crate::reader::Reader;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use sinew_datasets::{DepthUnit, Episode, ReaderOptions};
use std::path::PathBuf;

/// A LeRobot v3.0 dataset in a folder or on a hub.
#[pyclass(frozen, module = "sinew_datasets._native")]
pub(crate) struct Dataset(sinew_datasets::Dataset);

#[pymethods]
impl Dataset {
    #[new]
    fn new(py: Python<'_>, root: PathBuf) -> PyResult<Self> {
        let opened = py.detach(|| sinew_datasets::Dataset::open_from(&root));
        opened.map(Self).map_err(exception)
    }

    /// The contents of a file of the folder `meta`; `None` if there is none of that name.
    fn metadata_file(&self, py: Python<'_>, name: &str) -> PyResult<Option<Vec<u8>>> {
        py.detach(|| self.0.metadata_file(name)).map_err(exception)
    }

    /// Number of frames.
    fn __len__(&self) -> usize {
        usize::try_from(self.0.len()).unwrap_or(usize::MAX)
    }

    /// The task sentences, by number.
    fn tasks(&self) -> Vec<String> {
        self.0.tasks().to_vec()
    }

    /// The columns of the episode table but for the statistics, by their names in the files.
    fn episodes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let table = PyDict::new(py);
        let episodes = self.0.episodes();
        let count = |of: fn(&Episode) -> u64| episodes.iter().map(of).collect::<Vec<_>>();
        table.set_item("episode_index", count(|e| e.index))?;
        let tasks = episodes.iter().map(|e| e.tasks.clone());
        table.set_item("tasks", tasks.collect::<Vec<_>>())?;
        table.set_item("length", count(|e| e.length))?;
        table.set_item("data/chunk_index", count(|e| e.data.chunk))?;
        table.set_item("data/file_index", count(|e| e.data.file))?;
        table.set_item("dataset_from_index", count(|e| e.from_index))?;
        table.set_item("dataset_to_index", count(|e| e.to_index))?;
        for (place, key) in self.0.info().features.video_keys().enumerate() {
            let spans = || episodes.iter().filter_map(|e| e.videos.get(place));
            let chunks: Vec<u64> = spans().map(|v| v.file.chunk).collect();
            let files: Vec<u64> = spans().map(|v| v.file.file).collect();
            let from_s: Vec<f64> = spans().map(|v| v.from_s).collect();
            let to_s: Vec<f64> = spans().map(|v| v.to_s).collect();
            table.set_item(format!("videos/{key}/chunk_index"), chunks)?;
            table.set_item(format!("videos/{key}/file_index"), files)?;
            table.set_item(format!("videos/{key}/from_timestamp"), from_s)?;
            table.set_item(format!("videos/{key}/to_timestamp"), to_s)?;
        }
        table.set_item("meta/episodes/chunk_index", count(|e| e.meta.chunk))?;
        table.set_item("meta/episodes/file_index", count(|e| e.meta.file))?;
        Ok(table)
    }

    /// A reader; `_native.pyi` says what the arguments mean.
    #[allow(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    #[pyo3(signature = (*, features, delta_timestamps, tolerance_s, depth_unit,
        cache_bytes, parallel_cameras, uint8, exact))]
    fn reader(
        &self,
        py: Python<'_>,
        features: Option<Vec<String>>,
        delta_timestamps: Vec<(String, Vec<f64>)>,
        tolerance_s: f64,
        depth_unit: &str,
        cache_bytes: u64,
        parallel_cameras: bool,
        uint8: bool,
        exact: bool,
    ) -> PyResult<Reader> {
        let depth_unit = match depth_unit {
            "mm" => DepthUnit::Millimetres,
            "m" => DepthUnit::Metres,
            other => {
                let problem = format!("depth_output_unit is \"mm\" or \"m\", not {other:?}");
                return Err(PyValueError::new_err(problem));
            }
        };
        let options = ReaderOptions {
            features,
            delta_timestamps,
            tolerance_s,
            depth_unit,
            picture_cache_bytes: cache_bytes,
            parallel_cameras,
        };
        let reader = py.detach(|| self.0.reader(&options)).map_err(exception)?;
        let videos = self.0.info().features.video_keys();
        let form = Form {
            videos: videos.map(String::from).collect(),
            uint8,
            exact,
        };
        Ok(Reader::new(reader, form))
    }
}

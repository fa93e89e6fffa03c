//! Frames and batches of them, without Python's lock while they are read.

use crate::errors::exception;
use crate::pack::{Entry, Form, Packed};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use sinew_datasets::{Item, LoaderOptions, Order};
use std::sync::{Arc, Mutex};

/// Reads frames by number.
#[pyclass(frozen, module = "sinew_datasets._native")]
pub(crate) struct Reader {
    reader: sinew_datasets::Reader,
    form: Arc<Form>,
}

impl Reader {
    pub(crate) fn new(reader: sinew_datasets::Reader, form: Form) -> Self {
        let form = Arc::new(form);
        Self { reader, form }
    }
}

#[pymethods]
impl Reader {
    /// One frame.
    fn get(&self, py: Python<'_>, index: u64) -> PyResult<Vec<Entry>> {
        let packed = py.detach(|| {
            let item = self.reader.get(index).map_err(exception)?;
            Packed::single(&self.form, &item)
        })?;
        packed.into_entries(py)
    }

    /// Several frames, each for itself, read by up to `threads` threads.
    fn get_many(
        &self,
        py: Python<'_>,
        indices: Vec<u64>,
        threads: usize,
    ) -> PyResult<Vec<Vec<Entry>>> {
        let packed: Vec<Packed> = py.detach(|| {
            let items = self.reader.get_many(&indices, threads).map_err(exception)?;
            let packed = items.iter().map(|item| Packed::single(&self.form, item));
            packed.collect::<PyResult<_>>()
        })?;
        packed.into_iter().map(|p| p.into_entries(py)).collect()
    }

    /// Starts to read ahead; `seed` `None` means in sequence.
    #[allow(clippy::too_many_arguments, reason = "keyword arguments in Python")]
    #[pyo3(signature = (*, seed, epoch, threads, ahead, episodes, drop_last_frames, start))]
    fn load(
        &self,
        py: Python<'_>,
        seed: Option<u64>,
        epoch: u64,
        threads: usize,
        ahead: usize,
        episodes: Option<Vec<u64>>,
        drop_last_frames: u64,
        start: u64,
    ) -> PyResult<Loader> {
        let order = seed.map_or(Order::Sequential, |seed| Order::Shuffled { seed, epoch });
        let options = LoaderOptions {
            order,
            threads,
            ahead,
            episodes,
            drop_last: drop_last_frames,
            start,
        };
        let loader = py
            .detach(|| self.reader.load(&options))
            .map_err(exception)?;
        Ok(Loader {
            loader: Mutex::new(loader),
            form: self.form.clone(),
        })
    }
}

/// Gives frames that were read ahead.
#[pyclass(frozen, module = "sinew_datasets._native")]
pub(crate) struct Loader {
    loader: Mutex<sinew_datasets::Loader>,
    form: Arc<Form>,
}

impl Loader {
    fn locked<T>(&self, work: impl FnOnce(&mut sinew_datasets::Loader) -> T) -> PyResult<T> {
        let mut loader = self.loader.lock().map_err(|_| {
            PyRuntimeError::new_err("the loader failed before; make a new one from the dataset")
        })?;
        Ok(work(&mut loader))
    }
}

#[pymethods]
impl Loader {
    /// Frames that are still to come.
    fn remaining(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| self.locked(|loader| loader.remaining()))
    }

    /// The next frame; `None` after the last.
    fn next(&self, py: Python<'_>) -> PyResult<Option<Vec<Entry>>> {
        let packed = py.detach(|| {
            let item = self
                .locked(Iterator::next)?
                .transpose()
                .map_err(exception)?;
            item.map(|item| Packed::single(&self.form, &item))
                .transpose()
        })?;
        packed.map(|p| p.into_entries(py)).transpose()
    }

    /// The next up to `count` frames as one batch; `None` after the last.
    fn next_batch(&self, py: Python<'_>, count: usize) -> PyResult<Option<Vec<Entry>>> {
        let packed = py.detach(|| {
            let items: Vec<Item> = self
                .locked(|loader| loader.take(count).collect::<Result<_, _>>())?
                .map_err(exception)?;
            (!items.is_empty())
                .then(|| Packed::batch(&self.form, &items))
                .transpose()
        })?;
        packed.map(|p| p.into_entries(py)).transpose()
    }
}
